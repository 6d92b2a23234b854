"""What can be ordered from the screen: each order as circusd takes it, and as circusctl would be told. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from circus.errors import CircusError

#: What a name may have in it that circusctl would read as a pattern.
_PATTERN = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Action:
    """``word`` is that of circusctl; ``asks``: what has to be said besides, and ``usual`` what is mostly said."""

    word: str
    key: str
    about: str
    asks: str = ""
    usual: str = ""


ACTIONS = (
    Action("restart", "r", "stop the processes, then start them"),
    Action("reload", "R", "replace the processes gracefully"),
    Action("stop", "s", "stop the watcher, and keep it down"),
    Action("start", "S", "start the watcher"),
    Action("numprocesses", "c", "scale: have so many processes", asks="how many processes"),
    Action("incr", "plus", "one process more"),
    Action("decr", "minus", "one process less"),
    Action("signal", "k", "send a signal", asks="which signal", usual="HUP"),
    Action("kill", "K", "end processes; others follow"),
)

BY_WORD = {action.word: action for action in ACTIONS}


@dataclass(frozen=True, slots=True)
class Target:
    """A watcher; with ``pid`` one of its processes, for orders that can concern one."""

    watcher: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """``line`` is the command of circusctl that does the same."""

    line: str
    path: tuple[str, ...]
    body: dict[str, object]


def order(action: Action, target: Target, *, said: str = "", endpoint: str = "") -> Order:
    """``said`` is the answer to what the action asks; ``endpoint`` as circusctl takes it.

    Raises: CircusError usage, when that is none.
    """
    words = ["circusctl", *(["--endpoint", endpoint] if endpoint else []), action.word, target.watcher]
    body: dict[str, object] = {"wait": False}
    verb = action.word
    match action.word:
        case "numprocesses":
            verb, body["count"] = "count", _count(said)
            words.append(said.strip())
        case "incr" | "decr":
            verb, body["delta"] = "count", 1 if action.word == "incr" else -1
        case "signal" | "kill":
            words += [] if target.pid is None else [str(target.pid)]
            body["pid"] = target.pid
            if action.word == "signal":
                del body["wait"]  # it is done at once
                body["signum"] = _signal(said)
                words.append(said.strip().upper())
        case _:
            body["match"] = "simple"
            if _PATTERN & set(target.watcher):
                words += ["--match", "simple"]
    return Order(shlex.join(words), ("watchers", target.watcher, verb), body)


def _count(said: str) -> int:
    if not _is_number(said.strip()):
        raise CircusError("usage", f"{said!r} is no number of processes", "0 or more")
    return int(said)


def _signal(said: str) -> int | str:
    word = said.strip().upper()
    if not word or not word.isascii():
        raise CircusError("usage", "a signal has a name or a number", "HUP, SIGUSR1, 15")
    return int(word) if _is_number(word) else word


def _is_number(word: str) -> bool:
    """One that circusd can take: Python itself refuses some thousand digits."""
    return word.isascii() and word.isdecimal() and len(word) < 10
