"""The checks by which a process shows that it is ready, or healthy: one grammar, a word and what belongs to it.

``notify``, ``exec COMMAND``, ``http URL``, ``tcp HOST:PORT`` or ``tcp unix:/path``, ``line REGEX``, ``delay SECONDS``,
``watchdog SECONDS``. A check travels as text; `of` reads it. Variables are put in for each process when it is asked,
so that what they are in is read once with something in their place, for the errors' sake. Pure.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from circus.config import expand
from circus.config.model import WatcherConfig

#: A regular expression is tried on each line until one matches.
MAX_REGEX = 1000

READY = ("notify", "exec", "http", "tcp", "line", "delay")
HEALTH = ("exec", "http", "tcp", "watchdog")

_FORMS = {
    "notify": "notify",
    "exec": "exec COMMAND",
    "http": "http URL",
    "tcp": "tcp HOST:PORT",
    "line": "line REGEX",
    "delay": "delay SECONDS",
    "watchdog": "watchdog SECONDS",
}
_PORT = re.compile(r"(?P<bracket>\[(?P<v6>[^\]]+)\]|(?P<host>[^\s:/]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Check:
    """``target``: a command, the part of a URL from the path on, a regular expression, or the path of a socket."""

    kind: str
    target: str = ""
    host: str = ""
    port: int = 0
    is_tls: bool = False
    seconds: float = 0.0

    @property
    def is_asked(self) -> bool:
        """circusd has to ask, again and again."""
        return self.kind in ("exec", "http", "tcp")

    @property
    def place(self) -> str:
        """Whom it asks, for people."""
        if self.kind == "tcp" and self.target:
            return self.target
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def of(text: str) -> Check:
    """Raises: ValueError, with what is wrong and a hint behind a semicolon."""
    kind, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    match kind:
        case "notify":
            if rest:
                raise ValueError("has something behind notify; write notify alone")
            return Check(kind)
        case "exec":
            _words(rest)
            return Check(kind, rest)
        case "http":
            return _url(rest)
        case "tcp":
            return _address(rest)
        case "line":
            return Check(kind, _regex(rest))
        case "delay" | "watchdog":
            return Check(kind, seconds=float(rest))
    raise ValueError(f"is no check; write {_one_of(_FORMS)}")


def parse(text: str, kinds: tuple[str, ...], parse_seconds: Callable[[str], float]) -> str:
    """The check as it travels. Raises: ValueError."""
    kind, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if kind not in kinds:
        raise ValueError(f"is no check; write {_one_of(kinds)}")
    if kind != "notify" and not rest:
        raise ValueError(f"has nothing behind {kind}; write {_FORMS[kind]}")
    if kind in ("delay", "watchdog"):
        seconds = parse_seconds(rest)
        if not 0 < seconds < float("inf"):
            raise ValueError(f"has no time behind {kind}; write {_FORMS[kind]}")
        return f"{kind} {seconds:g}"
    of(expand.replace_variables(text, lambda _: "1"))
    return f"{kind} {rest}".strip()


def expanded(text: str, config: WatcherConfig, *, wid: int, env: Mapping[str, str], ports: Mapping[str, int]) -> Check:
    """The check of the process in slot ``wid``. ``ports`` are those of the sockets, lower case.

    Raises:
        ValueError: what comes out is no check.
    """
    names = expand.Names(env)

    def value(name: str) -> str | None:
        folded = name.lower()
        if folded == "wid":
            return str(wid)
        if folded.startswith("env."):
            return names.get(name[4:])
        if folded.startswith("sockets."):
            port = ports.get(folded.removeprefix("sockets.").removesuffix(".port"))
            return None if port is None else str(port)
        return expand.option_value(config, folded)

    return of(expand.replace_variables(text, value))


def sockets_in(text: str) -> list[str]:
    """The sockets whose ports it names."""
    names = [name.lower() for name in expand.variables_in(text)]
    return [name.removeprefix("sockets.").removesuffix(".port") for name in names if name.startswith("sockets.")]


def program(text: str) -> str:
    """The program of an exec check as far as it is known before a process runs; nothing of another one."""
    kind, _, rest = text.partition(" ")
    first = shlex.split(rest)[0] if kind == "exec" else ""
    return "" if expand.variables_in(first) else first


def words(check: Check) -> list[str]:
    """Of an exec check."""
    return shlex.split(check.target)


def _words(text: str) -> None:
    try:
        found = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot be split into words ({str(error).lower()}); close the quotes") from None
    if not found:
        raise ValueError("has no command; write exec COMMAND")


def _url(text: str) -> Check:
    hint = "write http://HOST[:PORT]/PATH"
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise ValueError(f"has no URL behind http; {hint}") from None
    if url.scheme not in ("http", "https") or not host or url.username or any(ord(each) <= 32 for each in text):
        raise ValueError(f"has no URL behind http; {hint}")
    is_tls = url.scheme == "https"
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return Check("http", path, host, port or (443 if is_tls else 80), is_tls)


def _address(text: str) -> Check:
    path = text.removeprefix("unix:")
    if path != text:
        if not path.startswith("/"):
            raise ValueError("has no path behind unix:; write tcp unix:/PATH")
        return Check("tcp", path)
    match = _PORT.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ValueError("has no address behind tcp; write HOST:PORT, [IPV6]:PORT or unix:/PATH")
    return Check("tcp", "", match["v6"] or match["host"], int(match["port"]))


def _regex(text: str) -> str:
    if len(text) > MAX_REGEX:
        raise ValueError(f"is longer than {MAX_REGEX} characters; write a shorter expression")
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression ({error}); correct it") from None
    return text


def _one_of(kinds: Mapping[str, str] | tuple[str, ...]) -> str:
    forms = [_FORMS[kind] for kind in kinds]
    return f"{', '.join(forms[:-1])} or {forms[-1]}"
