"""TAB for the shells: answers their questions, by what the running circusd has.

It is asked at each TAB, so it imports no more than circusctl does, is never an error, and does not wait: a circusd
that does not answer at once has no names. `circusctl __complete SHELL ...` is what the scripts of ``completion`` ask,
AUTO_COMPLETE=1 what those of the ancestors do.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from circus.cli import completion, quoting
from circus.cli.parser import ASK
from circus.control import endpoints
from circus.control.client import Client, target
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from circus.cli.completion import Candidate

#: A person at a TAB waits no longer; for a circusd that is far away the environment may say more.
PATIENCE_S = 0.5
PATIENCE = "CIRCUSCTL_COMPLETION_TIMEOUT"

#: The last part of it is for what no time-out bounds, as to look a host up.
SHARE = 0.8

#: Who has more to choose from types on.
MAX_NAMES = 1000


def answer(argv: list[str], environ: Mapping[str, str]) -> int:
    """Prints what may stand there. The ancestors end with 1 then."""
    is_ancestors = argv[:1] != [ASK]
    try:
        signal.setitimer(signal.ITIMER_REAL, patience_s())
        lines = _ancestors(environ) if is_ancestors else _ANSWERS[argv[1]](argv[2:])
        text = "".join(f"{line}\n" for line in lines)
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.write(text)
        sys.stdout.flush()
    except (LookupError, OSError, ValueError):
        pass  # there is nobody who could read why
    return 1 if is_ancestors else 0


def patience_s() -> float:
    """Raises: ValueError."""
    return float(os.environ.get(PATIENCE) or PATIENCE_S)


def _bash(argv: list[str]) -> Iterable[str]:
    """Asked with the line up to the cursor, and the letters that part words; told what takes the place of a part."""
    line, breaks = argv
    before, begun = quoting.split(line)
    start = len(begun.quote) if begun.quote else _behind_breaks(begun.raw, breaks)
    found = completion.complete(before[1:], begun.value, Names(before[1:]))
    rests = (quoting.rest(word, begun, start) for word in found.words)
    return [_kind(found), *(rest for rest in rests if rest is not None)]


def _behind_breaks(raw: str, breaks: str) -> int:
    """bash replaces what stands behind the last of them only."""
    at = [index + 1 for index, letter in enumerate(raw) if letter in breaks and raw[index - 1 : index] != "\\"]
    return at[-1] if at else 0


def _fish(argv: list[str]) -> Iterable[str]:
    """As zsh, but the word that is begun comes as it is typed."""
    return _zsh([*argv[:-1], quoting.split(argv[-1])[1].value])


def _zsh(argv: list[str]) -> Iterable[str]:
    """Asked with words, of which the last one is begun; it quotes by itself, and shows what words mean."""
    before, begun = argv[:-1], argv[-1]
    found = completion.complete(before, begun, Names(before))
    return [_kind(found), *(f"{word}\t{' '.join(what.split())}" for word, what in found.words.items())]


def _kind(found: completion.Found) -> str:
    return "files" if found.is_files and not found.words else "words"


def _ancestors(environ: Mapping[str, str]) -> Iterable[str]:
    words, at = environ.get("COMP_WORDS", "").split(), int(environ.get("COMP_CWORD", "1"))
    begun = words[at] if at < len(words) else ""
    found = completion.complete(words[1:at], begun, Names(words[1:at]))
    return [" ".join(word for word in found.words if " " not in word)]


_ANSWERS: dict[str, Callable[[list[str]], Iterable[str]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}


class Names:
    """Names of a kind, as ``completion`` asks for them; none where the circusd that ``words`` mean does not say them.

    ``ask`` puts a question to it, and raises CircusError.
    """

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._deadline = time.monotonic() + SHARE * patience_s()

    def __call__(self, kind: str, given: list[str]) -> list[Candidate]:
        try:
            found = _NAMES[kind](self, given)
            return [(name, what) for name, what in found if name.isprintable()][:MAX_NAMES]
        except (CircusError, LookupError, TypeError, AttributeError):
            return []  # also where another version answers in other words

    def ask(self, *path: str) -> dict[str, Any]:
        return self._client().get(target(*path))

    def _client(self) -> Client:
        left_s = max(self._deadline - time.monotonic(), 0.001)
        args = self._globals()
        endpoint = args.endpoint or os.environ.get("CIRCUSCTL_ENDPOINT") or ""
        if endpoint.startswith(("https://", "http://")):
            # TLS is large, and most ask over the unix socket.
            from circus.cli import remotely

            return remotely.client(endpoint, args, left_s)
        return Client(endpoints.resolve(endpoint), timeout_s=left_s)

    def _globals(self) -> argparse.Namespace:
        """Options of circusctl wherever they stand; the rest of the line is nobody's business here."""
        from circus.cli.words import global_parser

        return global_parser().parse_known_args(self._words)[0]


def _watchers(names: Names, _given: list[str]) -> Iterable[Candidate]:
    return ((each["name"], each["state"]) for each in names.ask("status")["watchers"])


def _pids(names: Names, given: list[str]) -> Iterable[Candidate]:
    slots = names.ask("status", given[0])["slots"]
    return ((str(each["pid"]), f"{given[0]}.{each['wid']}") for each in slots if each["pid"] is not None)


def _signals(_names: Names, _given: list[str]) -> Iterable[Candidate]:
    return ((each.name.removeprefix("SIG"), str(each.value)) for each in signal.Signals)


def _options(names: Names, given: list[str]) -> Iterable[Candidate]:
    told = names.ask("watchers", given[0], "options")["options"]
    return ((name, "") for name in told if name not in given)


def _settings(_names: Names, given: list[str]) -> Iterable[Candidate]:
    from circus.config import options  # large, and for this command alone

    known = options.WATCHER
    return ((name, known[name].doc if name in known else "") for name in options.watcher_names() if name not in given)


def _values(_names: Names, given: list[str]) -> Iterable[Candidate]:
    from circus.config import options

    kind = options.WATCHER[given[-1]].type
    if kind == "flag":
        return (("true", ""), ("false", ""))
    return _signals(_names, given) if kind == "signal" else ()


def _sections(names: Names, given: list[str]) -> Iterable[Candidate]:
    yield "circus", "circusd itself"
    yield from _watchers(names, given)
    yield from ((each["name"], "socket") for each in names.ask("sockets")["sockets"])


def _operations(names: Names, _given: list[str]) -> Iterable[Candidate]:
    for each in names.ask("operations")["operations"]:
        yield each["id"], f"{each['what']} {' '.join(each['watchers'] or ())}, {each['state']}"


def _topics(names: Names, _given: list[str]) -> Iterable[Candidate]:
    yield "watcher.", "all watchers"
    yield from ((f"watcher.{name.lower().replace(' ', '_')}.", "") for name in names.ask("watchers")["watchers"])


_NAMES: dict[str, Callable[[Names, list[str]], Iterable[Candidate]]] = {
    "watchers": _watchers,
    "pids": _pids,
    "signals": _signals,
    "options": _options,
    "settings": _settings,
    "values": _values,
    "sections": _sections,
    "operations": _operations,
    "topics": _topics,
    "globals": lambda names, _: ((name, "") for name in names.ask("options")["options"]),
    "sockets": lambda names, _: ((each["name"], "") for each in names.ask("sockets")["sockets"]),
    "notifiers": lambda names, _: ((name, each["target"]) for name, each in names.ask("status")["notifiers"].items()),
    "tokens": lambda names, _: ((each["name"], each["role"]) for each in names.ask("tokens")["tokens"]),
    "endpoints": lambda _names, _given: ((name, "") for name in endpoints.known_names()),
}
