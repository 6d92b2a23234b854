"""The text language, read: a line of a person (or of a papa 1.x client) becomes a request as in frames.

``parse_line`` is the whole of it. The grammar is the one of papa 1.x: words at single spaces, commands and
their second words shortened at will, options ``key=value`` before the program. It cannot carry every string
(a line break, an empty argument), which is why programs speak frames.

Written answers are in ``text_reply``, help in ``text_help``, the state of a connection in ``session``.
"""

from __future__ import annotations

from papa import model
from papa.errors import PapaError
from papa.wire import text_help
from papa.wire.messages import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: In alphabetical order: of several commands that begin with the typed word, the first is meant.
COMMANDS = ("exit-if-idle", "frames", "get", "help", "list", "make", "quit", "remove", "set", "watch")
#: What may follow, in alphabetical order; the singular is understood wherever the plural is, and the other way round.
SUBJECTS = {
    "list": ("processes", "sockets", "values"),
    "make": ("process", "socket"),
    "remove": ("processes", "sockets", "values"),
    "watch": ("lines", "processes"),
}
_PLURALS = {"process": "processes", "socket": "sockets"}
_SUFFIXES = {"k": 1024, "m": 1024**2, "g": 1024**3}
#: Methods that a browser or a careless tool sends; others are known by the version at the line's end.
_HTTP_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
#: Of a word that nobody knows, in the error that repeats it: enough to recognise it.
MAX_SHOWN_WORD = 64
#: What a socket that was asked for in text gets when no backlog is named: the value that papa 1.x documents.
TEXT_BACKLOG = 5


class Help:
    """The person asked for help: *text* is the answer."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def parse_line(line: str) -> Request | Help | None:
    """What a line asks for; None for a blank one. Raises PapaError with the text for the person.

    Besides the operations of frames there are ``quit`` and ``watch {names}``; a ``make process`` with
    ``watch=1`` sets ``watch`` in the request.
    """
    words = split_words(line)
    if not words:
        return None
    command = find_command(words[0])
    rest = words[1:]
    if command == "help":
        return Help(text_help.find(rest))
    if command == "frames":
        raise PapaError('"frames 1" must be the first line of a connection')
    if command == "quit":
        return Request("quit", {}, line=line)
    if command == "exit-if-idle":
        return Request("exit", {}, line=line)
    if command in ("get", "set"):
        request = _value_command(command, rest)
    else:
        subject = find_subject(command, rest)
        request = _subject_command(command, subject, rest[1:])
    request.line = line
    return request


def split_words(line: str) -> list[str]:
    r"""Words at spaces; a word that ends in ``\`` goes on with the next, joined by one space."""
    words: list[str] = []
    joins = False
    for part in line.strip().split(" "):
        if not part:
            continue
        if joins:
            words[-1] += " " + part
        else:
            words.append(part)
        joins = words[-1].endswith("\\")
        if joins:
            words[-1] = words[-1][:-1]
    return [word.strip() for word in words]


def looks_like_http(line: str) -> bool:
    """True for the first line of an HTTP request: no web page may reach the kernel."""
    words = line.split()
    if len(words) < 2 or not words[0].isupper():
        return False
    target = words[1].startswith(("/", "*")) or "://" in words[1]
    return words[-1].startswith("HTTP/") or (words[0] in _HTTP_METHODS and target)


def find_command(word: str) -> str:
    """The command that a word means. Raises PapaError."""
    typed = word.lower()
    for command in COMMANDS:
        if typed and command.startswith(typed):
            if command == "exit-if-idle" and typed != command:
                raise PapaError('You cannot abbreviate "exit-if-idle"')
            return command
    shown = word if len(word) <= MAX_SHOWN_WORD else word[:MAX_SHOWN_WORD] + "..."
    raise PapaError(f'Unknown command "{shown}"')


def find_subject(command: str, rest: list[str]) -> str:
    """The second word, in the plural, of a command that has one. Raises PapaError."""
    subjects = SUBJECTS[command]
    if not rest:
        raise PapaError(f'"{command}" must be followed by one of: {", ".join(subjects)}')
    typed = rest[0].lower()
    for subject in subjects:
        plural = _PLURALS.get(subject, subject)
        if typed and plural.startswith(typed):
            return plural
    raise PapaError(f'Bad "{command}" command. The following word must be one of: {", ".join(subjects)}')


def _value_command(command: str, rest: list[str]) -> Request:
    if not rest:
        raise PapaError("Value requires a name")
    if command == "get":
        return Request("get", {"name": rest[0]})
    return Request("set", {"name": rest[0], "value": " ".join(rest[1:]) or None})


def _subject_command(command: str, subject: str, rest: list[str]) -> Request:
    if command == "list":
        return Request("list", {"what": subject, "patterns": rest})
    if command == "watch":
        if not rest:
            raise PapaError("Process requires a name")
        return Request("watch", {"names": rest, "lines": subject == "lines"})
    if command == "remove":
        if subject == "values" and (not rest or "*" in rest):
            raise PapaError("You cannot remove all variables")
        if not rest:
            raise PapaError("Nothing is named", hint=f'"remove {subject} *" removes all')
        return Request("remove", {"what": subject, "names": rest})
    if not rest:
        raise PapaError("Process requires a name" if subject == "processes" else "Socket requires a name")
    return _make_process(rest) if subject == "processes" else _make_socket(rest)


def _make_socket(rest: list[str]) -> Request:
    args: dict[str, Any] = {"name": rest[0], "backlog": TEXT_BACKLOG, "blocking": True}
    options, words = _split_options(rest[1:])
    if words:
        raise PapaError(f'Bad option "{words[0]}"', hint="options of a socket are key=value")
    for key, value in options:
        if key not in _SOCKET_OPTIONS:
            raise PapaError(f'Unknown option "{key}"', hint='"help make socket" names them')
        args[key] = _SOCKET_OPTIONS[key](key, value)
    return Request("listen", args)


def _make_process(rest: list[str]) -> Request:
    options, words = _split_options(rest[1:])
    # A name whose last words nobody has read is still taken, as papa 1.x clients expect.
    args: dict[str, Any] = {"name": rest[0], "env": {}, "rlimits": {}, "finds_dead": True}
    is_watched = is_shell = False
    for key, value in options:
        if key.startswith("env."):
            args["env"][key[4:]] = value
        elif key.startswith("rlimit."):
            name = key[7:].lower()
            if name not in model.RLIMITS:
                raise PapaError(f'Unknown rlimit "{name}"')
            limit = _number(key, value)
            args["rlimits"][name] = [limit, limit]
        elif key == "shell":
            is_shell = bool(value)
        elif key == "watch":
            is_watched = _truth(key, value)
        elif key in _PROCESS_OPTIONS:
            name, convert = _PROCESS_OPTIONS[key]
            args[name] = convert(key, value)
        else:
            raise PapaError(f'Unknown option "{key}"', hint='"help make process" names them')
    if not words:
        raise PapaError("No command")
    args["argv"] = words
    if is_shell:
        args["argv"] = ["/bin/sh", "-c", *words]
        # For the lists, which show the command alone.
        args["meta"] = {"shell": True}
    if args.get("bound") == 0:
        # A buffer of no bytes is how papa 1.x says that nothing is to be kept.
        del args["bound"]
        args["stdout"] = args["stderr"] = "null"
    return Request("spawn", args, watch=is_watched)


def _split_options(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The leading words with a ``=`` as pairs, and the rest."""
    options: list[tuple[str, str]] = []
    for at, word in enumerate(words):
        key, equals, value = word.partition("=")
        if not equals:
            return options, words[at:]
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        options.append((key, value))
    return options, []


def _number(key: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise PapaError(f"{key} must be a number, not {value!r}") from None


def _owner(key: str, value: str) -> int:
    if not value.isdecimal():
        raise PapaError(
            f"{key} must be a number, not {value!r}",
            hint="the kernel reads no user database; papa's Python client looks names up",
        )
    return _number(key, value)


def _mode(key: str, value: str) -> int:
    """Octal when it begins with 0, as people write it; else decimal, as papa 1.x clients send it."""
    digits = value[2:] if value[:2].lower() == "0o" else value
    try:
        return int(digits, 8 if value.startswith("0") else 10)
    except ValueError:
        raise PapaError(f"{key} must be a mode like 022, not {value!r}") from None


def _size(key: str, value: str) -> int:
    factor = _SUFFIXES.get(value[-1:].lower(), 1)
    return _number(key, value if factor == 1 else value[:-1]) * factor


def _truth(_key: str, value: str) -> bool:
    return value.lower() not in ("", "0", "false", "no")


def _stdout(key: str, value: str) -> str:
    if value not in ("0", "1"):
        raise PapaError(f"{key} must be 0 or 1, not {value!r}")
    return "capture" if value == "1" else "null"


def _stderr(key: str, value: str) -> str:
    return "stdout" if value.lower() == "stdout" else _stdout(key, value)


def _as_it_is(_key: str, value: str) -> str:
    return value


def _word(_key: str, value: str) -> str:
    return value.lower()


_PROCESS_OPTIONS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "uid": ("uid", _owner),
    "gid": ("gid", _owner),
    "working_dir": ("cwd", _as_it_is),
    "bufsize": ("bound", _size),
    "stdout": ("stdout", _stdout),
    "stderr": ("stderr", _stderr),
}
_SOCKET_OPTIONS: dict[str, Callable[[str, str], Any]] = {
    "family": _word,
    "type": _word,
    "backlog": _number,
    "path": _as_it_is,
    "umask": _mode,
    "replace": _truth,
    "host": _as_it_is,
    "port": _number,
    "interface": _as_it_is,
    "reuseport": _truth,
}
#: What may be given to ``make``; a name that ends in a dot is the beginning of many.
OPTIONS = {
    "processes": (*_PROCESS_OPTIONS, "env.", "rlimit.", "shell", "watch"),
    "sockets": tuple(_SOCKET_OPTIONS),
}
#: Options with few values, and these.
CHOICES = {
    "family": model.FAMILIES,
    "type": model.TYPES,
    "stdout": ("0", "1"),
    "stderr": ("0", "1", "stdout"),
    "shell": ("1",),
    "watch": ("1",),
    "replace": ("1",),
    "reuseport": ("1",),
}
