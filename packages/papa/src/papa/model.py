"""What kernel and clients share: what a process and a socket are asked to be, and within which bounds.

A specification arrives as a JSON object. ``ProcessSpec.parse`` and ``SocketSpec.parse`` either yield a
value whose every field is right, or raise a PapaError ``bad-request`` that names the wrong field, so that
nothing behind them has to check again. Nothing here touches the system: whether a user, a program or an
address exists is found out by who uses it.

Strings may carry any bytes of the system as lone surrogates (``surrogateescape``), so that an environment
that is no UTF-8 crosses the wire unharmed.
"""

from __future__ import annotations

# hashlib would load all of OpenSSL: 3.8 MB of the 12 MB that an idle kernel may take.
from _blake2 import blake2b

from papa import jsontext
from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: A process's streams, in the order in which rows, notices and descriptors name them.
OUT = "out"
ERR = "err"
STREAMS = (OUT, ERR)

#: Names go into file names of records, list lines and watch headers.
MAX_NAME = 255
#: Enough for what a manager must remember of a process; it is part of every row.
MAX_META = 4096
#: JSON libraries give up at some depth, and one list shows the meta of all.
MAX_META_DEPTH = 16
#: Linux takes no longer single argument or variable (MAX_ARG_STRLEN).
MAX_ARGUMENT = 128 * 1024
#: Linux takes arguments and environment up to a quarter of the stack limit, 2 MiB by default.
MAX_ARGUMENTS_TOTAL = 2 * 1024 * 1024
#: Arguments are shown in the process's row, which must fit a frame's head.
MAX_ARGV_JSON = 3 * 1024 * 1024
#: The longest path that Linux takes (PATH_MAX).
MAX_PATH = 4096
#: A process that is handed more sockets than this is a mistake; the bound keeps spawn's descriptors few.
MAX_SOCKETS = 64
#: Linux's NGROUPS_MAX is 65536; a record should stay small.
MAX_GROUPS = 1024
#: A kernel-wide bound on hosted things: each costs about five descriptors and 10 KB.
MAX_PROCESSES = 10_000
MAX_LISTENERS = 1_000

#: Values are a manager's notes, not a data base; all of them lie in the kernel's memory and in its journal.
MAX_VALUE = 1024 * 1024
MAX_VALUES = 10_000
MAX_VALUES_TOTAL = 16 * 1024 * 1024

#: What a process's output may hold while nobody acknowledges it, index included.
DEFAULT_BOUND = 2 * 1024 * 1024
#: More than this for one process would eat a small host's /run.
MAX_BOUND = 1024 * 1024 * 1024
#: How long a full buffer may slow a process down whose reader is silent.
DEFAULT_STALL_S = 1.0
MAX_STALL_S = 3600.0
DROP_OLDEST = "drop-oldest"
BLOCK = "block"
#: Never drop for the bound, whether there is a reader or not: a client asks for it, stream by stream.
HOLD = "hold"

DEFAULT_BACKLOG = 128
MAX_BACKLOG = 65_535
MAX_PORT = 65_535

FAMILIES = ("inet", "inet6", "unix")
TYPES = ("stream", "dgram", "seqpacket")
#: Where a socket without a host listens: on loopback; anywhere when an interface is the limit.
_HOSTS = {"inet": ("127.0.0.1", "0.0.0.0"), "inet6": ("::1", "::")}  # noqa: S104

#: Names of limits as getrlimit(2) has them, without RLIMIT_ and in lower case.
RLIMITS = frozenset(
    ("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "ofile",
     "rss", "rtprio", "rttime", "sigpending", "stack", "vmem")
)  # fmt: skip
#: What setpriority(2) and proc_pid_oom_score_adj(5) take.
NICE = (-20, 19)
OOM_SCORE_ADJ = (-1000, 1000)
#: Limits may be as large as the kernel's unsigned 64 bits; -1 says "no limit".
MAX_RLIMIT = 2**64 - 1
MAX_ID = 2**32 - 1
#: The largest pid_t.
MAX_PID = 2**31 - 1
#: A longer number, of some forty digits, is not repeated in an error.
MAX_SHOWN_BITS = 128
#: Offsets are unsigned 64 bits in the index; files end earlier.
MAX_OFFSET = 2**63 - 1


def bad(what: str, why: str, *, hint: str = "") -> PapaError:
    """The error for a request whose field *what* is wrong."""
    return PapaError(f"{what} {why}", code="bad-request", hint=hint)


def check_name(value: object, what: str = "name") -> str:
    """A name of a process, socket or value: printable, without white space and ``:``, not ending in ``*``.

    ``:`` separates the fields of the text language's output headers, and a ``*`` at the end makes a pattern.
    """
    if not isinstance(value, str):
        raise bad(what, "must be a string")
    if not value:
        raise bad(what, "must not be empty")
    if len(value.encode("utf-8", "surrogatepass")) > MAX_NAME:
        raise bad(what, f"{value[:40]!r}... is longer than {MAX_NAME} bytes")
    if not value.isprintable() or ":" in value or any(c.isspace() for c in value):
        raise bad(what, f"{value!r} must be printable, without white space and without ':'")
    if value.endswith("*"):
        raise bad(what, f"{value!r} must not end in '*', which makes a pattern")
    return value


def check_meta(value: object) -> dict[str, Any]:
    """What a client wants remembered with a process or socket: a JSON object of at most MAX_META bytes."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad("meta", "must be an object")
    if not _is_shallow(value, MAX_META_DEPTH):
        raise bad("meta", f"is nested deeper than {MAX_META_DEPTH} levels")
    try:
        size = len(jsontext.dumps(value, separators=(",", ":"), allow_nan=False))
    except ValueError as error:
        raise bad("meta", f"has a number that JSON cannot say: {error}") from None
    if size > MAX_META:
        raise bad("meta", f"takes {size} bytes, more than {MAX_META}", hint="keep large things in a value")
    return value


def check_stream(value: object) -> str:
    if value != OUT and value != ERR:
        raise bad("stream", "must be 'out' or 'err'")
    return str(value)


def check_integer(value: object, what: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad(what, "must be a whole number")
    if not low <= value <= high:
        # Python refuses to write a number of thousands of digits.
        shown = str(value) if value.bit_length() <= MAX_SHOWN_BITS else "a number of very many digits"
        raise bad(what, f"must be between {low} and {high}, not {shown}")
    return value


def check_id(value: object, what: str = "id") -> int:
    return check_integer(value, what, 1, MAX_ID)


def check_value(value: object) -> str | None:
    """A value as ``set`` and ``commit`` take it: text within MAX_VALUE bytes, or None, which removes it."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise bad("value", "must be a string or null")
    if len(value) > MAX_VALUE or len(value.encode("utf-8", "surrogatepass")) > MAX_VALUE:
        raise PapaError(f"value is longer than {MAX_VALUE} bytes", code="limit")
    return value


def _is_shallow(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_is_shallow(item, depth - 1) for item in value.values())
    if isinstance(value, (list, tuple)):
        return depth > 0 and all(_is_shallow(item, depth - 1) for item in value)
    return True


def _text(value: object, what: str, *, limit: int = MAX_ARGUMENT) -> str:
    """A string that can become bytes of the system: no NUL, nothing that os.fsencode refuses."""
    if not isinstance(value, str):
        raise bad(what, "must be a string")
    if "\0" in value:
        raise bad(what, "must not contain a NUL byte")
    try:
        size = len(value.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise bad(what, "contains a surrogate that stands for no byte") from None
    if size > limit:
        raise bad(what, f"is longer than {limit} bytes")
    return value


def _path(value: object, what: str) -> str:
    path = _text(value, what, limit=MAX_PATH - 1)
    if not path.startswith("/"):
        raise bad(what, f"{path!r} must be absolute", hint="the kernel's own directory is /")
    return path


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise bad(what, "must be true or false")
    return value


def _umask(value: object, what: str = "umask") -> int:
    return check_integer(value, what, 0, 0o777)


def _list(value: object, what: str, limit: int) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise bad(what, "must be a list")
    if len(value) > limit:
        raise bad(what, f"has {len(value)} items, more than {limit}")
    return list(value)


def _choice(value: object, what: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise bad(what, f"must be one of {', '.join(choices)}, not {value!r}")
    return str(value)


def _argv(value: object) -> tuple[str, ...]:
    items = _list(value, "argv", MAX_ARGUMENTS_TOTAL)
    if not items:
        raise bad("argv", "must have at least the program's name")
    words = tuple(_text(item, f"argv[{i}]") for i, item in enumerate(items))
    if not words[0]:
        raise bad("argv[0]", "must not be empty")
    return words


def _env(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise bad("env", "must be an object of strings")
    for key, item in value.items():
        _text(key, "env: the name of a variable")
        if not key or "=" in key:
            raise bad("env", f"has a variable named {key!r}: a name is not empty and has no '='")
        _text(item, f"env: {key}")
    return value


def _rlimits(value: object) -> dict[str, tuple[int, int | None]]:
    if not isinstance(value, dict):
        raise bad("rlimits", "must be an object")
    limits: dict[str, tuple[int, int | None]] = {}
    for key, pair in value.items():
        if key not in RLIMITS:
            raise bad("rlimits", f"has no limit called {key!r}", hint="names are those of getrlimit, like nofile")
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise bad(f"rlimits: {key}", "must be a pair [soft, hard]; hard may be null")
        soft = check_integer(pair[0], f"rlimits: {key} soft", -1, MAX_RLIMIT)
        hard = None if pair[1] is None else check_integer(pair[1], f"rlimits: {key} hard", -1, MAX_RLIMIT)
        limits[key] = (soft, hard)
    return limits


def _stdin(value: object) -> str | None:
    """None for /dev/null, else the name of the socket that becomes the standard input."""
    if value == "null":
        return None
    if isinstance(value, dict) and set(value) == {"socket"}:
        return check_name(value["socket"], "stdin: socket")
    raise bad("stdin", 'must be "null" or {"socket": NAME}')


def _known(data: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(set(data) - known)
    if unknown:
        raise bad("request", f"has fields that nobody knows: {', '.join(unknown)}")


def _given(data: Mapping[str, Any], key: str, default: object) -> Any:
    """What is said of *key*; null is the same as nothing."""
    value = data.get(key)
    return default if value is None else value


def _optional(data: Mapping[str, Any], key: str, check: Callable[[Any, str], Any]) -> Any:
    value = data.get(key)
    return None if value is None else check(value, key)


def _stall(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_STALL_S:
        raise bad("stall_s", f"must be a number of seconds between 0 and {MAX_STALL_S:g}")
    return float(value)


def check_bounds(value: object, what: str = "bounds") -> dict[str, list[Any]]:
    """How much of each stream is held, and what happens then: ``{"out": {"bound": ..., "overflow": ...}}``.

    Raises PapaError ``bad-request``.
    """
    if not isinstance(value, dict):
        raise bad(what, f"must be an object with a field for each of {', '.join(STREAMS)}")
    checked = {}
    for stream, fields in value.items():
        if not isinstance(fields, dict):
            raise bad(what, "must have an object for each stream")
        _known(fields, frozenset(BOUNDS_FIELDS))
        checked[check_stream(stream)] = [
            check_integer(_given(fields, "bound", DEFAULT_BOUND), "bound", 1, MAX_BOUND),
            _choice(_given(fields, "overflow", BLOCK), "overflow", (DROP_OLDEST, BLOCK, HOLD)),
            _stall(_given(fields, "stall_s", DEFAULT_STALL_S)),
        ]
    return checked


def _named(fields: list[Any]) -> dict[str, Any]:
    return dict(zip(BOUNDS_FIELDS, fields, strict=True))


BOUNDS_FIELDS = ("bound", "overflow", "stall_s")

#: Fields of a spawn request that are no part of what the process is.
_REQUEST_FIELDS = frozenset(("owner", "supersede", "fds", "finds_dead"))


class ProcessSpec:
    """What a process is asked to be: every field checked, defaults filled in."""

    __slots__ = (
        "argv", "bound", "bounds", "cwd", "env", "executable", "gid", "groups", "listen_fds", "meta", "name", "nice",
        "oom_score_adj", "overflow", "rlimits", "sockets", "stall_s", "stderr", "stdin", "stdout", "uid", "umask",
    )  # fmt: skip

    name: str
    argv: tuple[str, ...]
    executable: str | None  # None: argv[0], looked up on the PATH of env
    env: dict[str, str]  # the whole environment; nothing is inherited
    cwd: str | None  # None: /
    uid: int | None
    gid: int | None
    groups: tuple[int, ...] | None
    umask: int | None
    nice: int | None  # None, here and below: as the kernel's own
    oom_score_adj: int | None
    rlimits: dict[str, tuple[int, int | None]]
    stdin: str | None  # None: /dev/null; else a socket's name
    stdout: str  # "capture" | "null"
    stderr: str  # "capture" | "null" | "stdout"
    sockets: tuple[str, ...]
    listen_fds: bool  # they come as sd_listen_fds(3) expects them, too
    bound: int
    overflow: str
    stall_s: float
    bounds: dict[str, list[Any]] | None  # of each stream: bound, overflow, stall_s
    meta: dict[str, Any]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> ProcessSpec:
        """From the arguments of a ``spawn`` request.

        Raises PapaError ``bad-request`` naming the wrong field.
        """
        _known(data, _REQUEST_FIELDS.union(cls.__slots__))
        self = cls()
        self.name = check_name(data.get("name"))
        self.argv = _argv(data.get("argv"))
        self.executable = _optional(data, "executable", _text)
        if self.executable == "":
            raise bad("executable", "must not be empty")
        self.env = _env(_given(data, "env", {}))
        total = sum(len(w) for w in self.argv) + sum(len(k) + len(v) for k, v in self.env.items())
        if total > MAX_ARGUMENTS_TOTAL:
            raise bad("argv and env", f"take {total} characters, more than {MAX_ARGUMENTS_TOTAL}")
        if len(jsontext.dumps(self.argv)) > MAX_ARGV_JSON:
            raise bad("argv", f"takes more than {MAX_ARGV_JSON} bytes as JSON")
        self.cwd = _optional(data, "cwd", _path)
        self.uid = _optional(data, "uid", lambda v, k: check_integer(v, k, 0, MAX_ID))
        self.gid = _optional(data, "gid", lambda v, k: check_integer(v, k, 0, MAX_ID))
        groups = data.get("groups")
        self.groups = (
            None
            if groups is None
            else tuple(check_integer(g, "groups", 0, MAX_ID) for g in _list(groups, "groups", MAX_GROUPS))
        )
        self.umask = _optional(data, "umask", _umask)
        self.nice = _optional(data, "nice", lambda v, k: check_integer(v, k, *NICE))
        self.oom_score_adj = _optional(data, "oom_score_adj", lambda v, k: check_integer(v, k, *OOM_SCORE_ADJ))
        self.rlimits = _rlimits(_given(data, "rlimits", {}))
        self.stdin = _stdin(_given(data, "stdin", "null"))
        self.stdout = _choice(_given(data, "stdout", "capture"), "stdout", ("capture", "null"))
        self.stderr = _choice(_given(data, "stderr", "capture"), "stderr", ("capture", "null", "stdout"))
        names = _list(_given(data, "sockets", []), "sockets", MAX_SOCKETS)
        self.sockets = tuple(dict.fromkeys(check_name(n, "sockets") for n in names))
        self.listen_fds = _flag(_given(data, "listen_fds", False), "listen_fds")
        self.bound = check_integer(_given(data, "bound", DEFAULT_BOUND), "bound", 1, MAX_BOUND)
        self.overflow = _choice(_given(data, "overflow", BLOCK), "overflow", (DROP_OLDEST, BLOCK))
        self.stall_s = _stall(_given(data, "stall_s", DEFAULT_STALL_S))
        self.bounds = _optional(data, "bounds", check_bounds)
        self.meta = check_meta(data.get("meta"))
        if data.get("owner") is not None:
            check_name(data["owner"], "owner")
        for key in ("supersede", "fds", "finds_dead"):
            _flag(_given(data, key, False), key)
        return self

    @property
    def captured(self) -> tuple[str, ...]:
        """The streams that the kernel keeps."""
        kept = []
        if self.stdout == "capture":
            kept.append(OUT)
        if self.stderr == "capture":
            kept.append(ERR)
        return tuple(kept)

    def to_json(self, *, with_env: bool = True) -> dict[str, Any]:
        """The request's form, which ``parse`` reads back.

        Records leave the environment out: it holds secrets.
        """
        data: dict[str, Any] = {
            "name": self.name,
            "argv": list(self.argv),
            "executable": self.executable,
            "cwd": self.cwd,
            "uid": self.uid,
            "gid": self.gid,
            "groups": None if self.groups is None else list(self.groups),
            "umask": self.umask,
            "rlimits": {key: list(pair) for key, pair in sorted(self.rlimits.items())},
            "stdin": "null" if self.stdin is None else {"socket": self.stdin},
            "stdout": self.stdout,
            "stderr": self.stderr,
            "sockets": list(self.sockets),
            "bound": self.bound,
            "overflow": self.overflow,
            "stall_s": self.stall_s,
            "meta": self.meta,
        }
        # Only where they are said: the digests of processes that an older kernel started know nothing of them.
        said = {
            "nice": self.nice,
            "oom_score_adj": self.oom_score_adj,
            "listen_fds": self.listen_fds or None,
            "bounds": None if self.bounds is None else {key: _named(each) for key, each in self.bounds.items()},
        }
        data.update((key, value) for key, value in said.items() if value is not None)
        if with_env:
            data["env"] = self.env
        return data

    def digest(self, key: bytes) -> str:
        """Equal for equal specifications; says nothing of the environment to who does not have *key*.

        ``meta`` is no part of it: it is what a client remembers, not how the process runs, and a client that
        asks twice (it lost the first reply) may remember something new.
        """
        data = self.to_json()
        del data["meta"]
        data.pop("bounds", None)  # may be set anew while it runs
        text = jsontext.dumps(data, sort_keys=True, separators=(",", ":"))
        return blake2b(text.encode("ascii"), key=key, digest_size=16).hexdigest()


class SocketSpec:
    """What a listening socket is asked to be: every field checked, defaults filled in."""

    __slots__ = (
        "backlog", "blocking", "family", "gid", "host", "interface", "meta", "name", "path", "port", "replace",
        "reuseport", "type", "uid", "umask",
    )  # fmt: skip

    name: str
    family: str
    type: str
    host: str | None  # None for unix
    port: int | None  # None for unix; 0: the system chooses
    path: str | None  # None for inet and inet6
    backlog: int
    umask: int | None  # of a unix socket's file
    uid: int | None  # who shall own that file; None: who the kernel is
    gid: int | None
    interface: str | None
    reuseport: bool
    replace: bool  # unlink a unix socket's file that is in the way
    blocking: bool
    meta: dict[str, Any]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> SocketSpec:
        """From the arguments of a ``listen`` request.

        Raises PapaError ``bad-request`` naming the wrong field.
        """
        _known(data, frozenset(cls.__slots__))
        self = cls()
        self.name = check_name(data.get("name"))
        self.path = _optional(data, "path", _path)
        self.family = _choice(_given(data, "family", "inet" if self.path is None else "unix"), "family", FAMILIES)
        self.type = _choice(_given(data, "type", "stream"), "type", TYPES)
        self.interface = _optional(data, "interface", lambda v, k: _text(v, k, limit=15))
        self.reuseport = _flag(_given(data, "reuseport", False), "reuseport")
        self.replace = _flag(_given(data, "replace", False), "replace")
        self.blocking = _flag(_given(data, "blocking", False), "blocking")
        self.umask = _optional(data, "umask", _umask)
        self.uid = _optional(data, "uid", lambda v, k: check_integer(v, k, 0, MAX_ID))
        self.gid = _optional(data, "gid", lambda v, k: check_integer(v, k, 0, MAX_ID))
        self.backlog = check_integer(_given(data, "backlog", DEFAULT_BACKLOG), "backlog", 0, MAX_BACKLOG)
        self.meta = check_meta(data.get("meta"))
        self.host = self.port = None
        if self.family == "unix":
            self._parse_unix(data)
        else:
            self._parse_inet(data)
        return self

    def _parse_unix(self, data: Mapping[str, Any]) -> None:
        if self.path is None:
            raise bad("path", "is missing: a unix socket needs one")
        if self.path.endswith(("/", "\\")):
            raise bad("path", f"{self.path!r} must name a file, not a directory")
        for key in ("host", "port", "interface", "reuseport"):
            if data.get(key):
                raise bad(key, "makes no sense for a unix socket")

    def _parse_inet(self, data: Mapping[str, Any]) -> None:
        if self.type == "seqpacket":
            raise bad("type", "seqpacket exists only for unix sockets")
        for key in ("path", "umask", "uid", "gid", "replace"):
            if data.get(key) is not None and data[key] is not False:
                raise bad(key, f"makes sense for a unix socket only, not for {self.family}")
        self.port = check_integer(_given(data, "port", 0), "port", 0, MAX_PORT)
        host = _optional(data, "host", lambda v, k: _text(v, k, limit=255))
        if not host:
            host = _HOSTS[self.family][self.interface is not None]
        self.host = host

    def to_json(self) -> dict[str, Any]:
        """The request's form, which ``parse`` reads back."""
        return {key: getattr(self, key) for key in self.__slots__ if getattr(self, key) is not None}

    @property
    def is_listened_by_each(self) -> bool:
        """Whether each process has a listener of its own."""
        return self.reuseport and self.type == "stream"

    def is_met_by(self, other: SocketSpec) -> bool:
        """True when an open socket asked for as *other* is what this asks for: port 0 takes any port."""
        return all(
            getattr(self, key) == getattr(other, key)
            for key in self.__slots__
            if key not in ("meta", "replace", "port")
        ) and (not self.port or self.port == other.port)
