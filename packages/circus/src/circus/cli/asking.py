"""What every command of circusctl is made of: its table entry, the circusd that it asks, arguments that many have."""

from __future__ import annotations

from circus import nearest
from circus.control.client import target
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from circus.control.client import Client

    Answer = dict[str, Any]
    #: What an order is for (a watcher, a pid), its path and its body.
    Orders = dict[str, tuple[tuple[str, ...], dict[str, object]]]

#: As many as 64 bits hold in any case.
MAX_DIGITS = 18

#: What makes a name a pattern.
_PATTERN = frozenset("*?[")


class Daemon:
    """The circusd that a command line means; ``is_bounded``: the user gave --timeout, so it bounds orders
    too. ``program`` is circusctl with what it needs to ask this one.
    """

    def __init__(self, client: Client, *, is_bounded: bool, program: str = "circusctl") -> None:
        self._client = client
        self._is_bounded = is_bounded
        self.program = program

    def get(self, *path: str, query: dict[str, str] | None = None) -> Answer:
        return self._client.get(target(*path, query=query))

    @property
    def client(self) -> Client:
        return self._client

    @property
    def is_here(self) -> bool:
        """It is on this host, and its files are ours to read."""
        return "://" not in self._client.path

    def post(self, *path: str, body: dict[str, object]) -> Answer:
        return self._client.post(target(*path), body, is_bounded=self._is_bounded)

    def order(self, *path: str, body: dict[str, object]) -> Answer:
        """As ``post``; who waits for its end learns what it waits for, and is told the id when he gives up."""
        return self.order_each({"": (path, body)})

    def order_each(self, orders: Orders, *, are_several: bool = False) -> Answer:
        """What one answers; of several ``answers``, by what they are for. All are given before one is waited for."""
        told = {key: self.post(*path, body=body) for key, (path, body) in orders.items() if not body.get("wait")}
        waited = {key: order for key, order in orders.items() if key not in told}
        if waited:
            from circus.cli import waiting  # only for orders

            told = waiting.give(self, waited, is_bounded=self._is_bounded)
        return {"answers": told} if are_several else next(iter(told.values()))


class Command:
    """``fails`` says whether an answer, though there is one, ends circusctl with the status of a failure, or a status.

    With ``program_behind`` all behind so many words is the command line of a program, and not read.
    """

    __slots__ = ("arguments", "fails", "help", "lines", "name", "program_behind", "run")

    def warnings(self, answer: Answer, args: argparse.Namespace) -> list[str]:
        """For standard error. They stay the same for weeks, so only a verbose status lists them."""
        parts = (answer, *answer.get("answers", {}).values())
        told = [f"warning: {warning}" for each in parts for warning in each.get("warnings", ())]
        if len(told) > 1 and not getattr(args, "verbose", False):
            return [told[0], f"warning: and {len(told) - 1} more; see `circusctl status -v`"]
        return told

    def __init__(
        self,
        name: str,
        help: str,
        run: Callable[[Daemon, argparse.Namespace], Answer | Iterator[Answer]],
        lines: Callable[[Answer, argparse.Namespace], Iterable[str]],
        arguments: Callable[[argparse.ArgumentParser], None],
        fails: Callable[[Answer], int] = lambda _answer: False,
        program_behind: int | None = None,
    ) -> None:
        self.name, self.help, self.run, self.lines, self.arguments = name, help, run, lines, arguments
        self.fails, self.program_behind = fails, program_behind


# Arguments ---------------------------------------------------------------------------------------------------


def no_arguments(_parser: argparse.ArgumentParser) -> None:
    return


def name_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a watcher, in any case")


def names_arguments(
    parser: argparse.ArgumentParser, *, nargs: str = "+", metavar: str = "NAME", what: str = ""
) -> None:
    parser.add_argument("names", metavar=metavar, nargs=nargs, help=what or "watchers or patterns, in any case")
    match_argument(parser)


def match_argument(parser: argparse.ArgumentParser) -> None:
    how = "how NAME is read (default: glob)"
    parser.add_argument("--match", choices=("glob", "simple", "regex"), default="glob", help=how)


def wait_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--wait", "--waiting", dest="wait", action="store_true", default=True, help="wait for the end (default)"
    )
    group.add_argument("--no-wait", dest="wait", action="store_false", help="return when it has begun")


# Who is meant ------------------------------------------------------------------------------------------------


def are_several(given: list[str], match: str, found: list[str]) -> bool:
    """Whether it is more than a name. How many a pattern finds does not count: scripts rely on one shape of answer."""
    return len(given) > 1 or match == "regex" or found != given


def find_names(daemon: Daemon, given: list[str], match: str) -> list[str]:
    """The watchers that are meant, each once. A single name is left to circusd.

    Raises: CircusError not-found, for the first one that names none; usage.
    """
    if match != "regex" and (match == "simple" or not _PATTERN.intersection("".join(given))) and len(given) == 1:
        return given
    known: list[str] = daemon.get("watchers")["watchers"]
    if match == "regex":
        return _matching(known, given)
    # Imported for several names alone.
    from circus.control import names

    try:
        return list(names.match_watchers(known, given, is_glob=match == "glob"))
    except CircusError:
        for name in given:
            if match == "simple" or not _PATTERN.intersection(name):
                daemon.get("watchers", name)  # knows more of it: that somebody has removed it
        raise


def _matching(known: list[str], patterns: list[str]) -> list[str]:
    """Regular expressions are tried here: one that never ends hangs its author, not circusd."""
    import re

    try:
        found = [name for name in known if any(re.match(pattern, name.lower()) for pattern in patterns)]
    except re.error as error:
        raise CircusError("usage", f"{error.pattern!r} is no regular expression: {error}") from None
    if not found:
        # A pattern that is one name is perhaps a slip in it.
        hint = nearest.hint(patterns[0], known, f"there are: {', '.join(known)}")
        raise CircusError("not-found", f"no watcher matches {', '.join(patterns)}", hint)
    return found


def ask_each(daemon: Daemon, given: list[str], match: str, ask: Callable[[str], Answer]) -> Answer:
    """The answer about one; about several ``answers``, by their names."""
    found = find_names(daemon, given, match)
    told = {name: ask(name) for name in found}
    return {"answers": told} if are_several(given, match, found) else next(iter(told.values()))


def each_lines(answer: Answer, lines: Callable[[Answer], Iterable[str]]) -> Iterable[str]:
    """The lines about one; those about several are indented, below their names."""
    if "answers" not in answer:
        yield from lines(answer)
        return
    for name, each in answer["answers"].items():
        yield f"{name}:"
        yield from (f"  {line}" for line in lines(each))


def number_of(word: str) -> int | None:
    """What is too long for a number of anything is a name, which nobody has."""
    return int(word) if word.isascii() and word.isdecimal() and len(word) <= MAX_DIGITS else None


def split_pids(words: list[str], command: str) -> tuple[list[str], list[int]]:
    """Names, and the pids among the words behind the first. Raises: CircusError usage."""
    pids = [pid for word in words[1:] if (pid := number_of(word)) is not None]
    names = [word for at, word in enumerate(words) if not at or number_of(word) is None]
    if pids and len(names) > 1:
        raise CircusError("usage", "pids are those of one watcher", f"see `circusctl {command} --help`")
    return names, list(dict.fromkeys(pids))


# Questions and lines -----------------------------------------------------------------------------------------


def ask(*path: str) -> Callable[[Daemon, argparse.Namespace], Answer]:
    return lambda daemon, _args: daemon.get(*path)


_PAST = {"stop": "stopped", "restart": "restarted", "start": "started"}


def ok_lines(answer: Answer, _args: argparse.Namespace) -> list[str]:
    """And who was taken along, which only dependencies bring about."""
    if "answers" in answer:
        return [*(line for each in answer["answers"].values() for line in begun_lines(each)), "ok"]
    joined = answer.get("joined", {})
    told = [
        f"{past}, too: {', '.join(sorted(name for name in joined if joined[name] == verb))}"
        for verb, past in _PAST.items()
        if verb in joined.values()
    ]
    return [*begun_lines(answer), *told, "ok"]


def begun_lines(answer: Answer) -> list[str]:
    """What nobody waits for has an id to ask with."""
    return [f"operation {answer['operation']}"] if answer.get("operation") and answer.get("waited") is False else []
