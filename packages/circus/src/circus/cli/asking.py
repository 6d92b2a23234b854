"""What every command of circusctl is made of: its table entry, the circusd that it asks, arguments that many have."""

from __future__ import annotations

from circus.control.client import target

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from circus.control.client import Client

    Answer = dict[str, Any]


class Daemon:
    """The circusd that a command line means; ``is_bounded``: the user gave --timeout, so it bounds orders
    too.
    """

    def __init__(self, client: Client, *, is_bounded: bool) -> None:
        self._client = client
        self._is_bounded = is_bounded

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


class Command:
    """``fails`` says whether an answer, though there is one, ends circusctl with the status of a failure, or a status.

    With ``takes_command`` all behind the first word is the command line of a program, and not read.
    """

    __slots__ = ("arguments", "fails", "help", "lines", "name", "run", "takes_command")

    def warnings(self, answer: Answer, args: argparse.Namespace) -> list[str]:
        """For standard error. They stay the same for weeks, so only a verbose status lists them."""
        told = [f"warning: {warning}" for warning in answer.get("warnings", ())]
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
        takes_command: bool = False,
    ) -> None:
        self.name, self.help, self.run, self.lines, self.arguments = name, help, run, lines, arguments
        self.fails, self.takes_command = fails, takes_command


# Arguments ---------------------------------------------------------------------------------------------------


def no_arguments(_parser: argparse.ArgumentParser) -> None:
    return


def name_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a watcher, in any case")


def optional_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="a watcher, in any case; without it: all")


def wait_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--waiting", dest="wait", action="store_true", default=True, help="wait for the end (default)")
    group.add_argument("--no-wait", dest="wait", action="store_false", help="return when it has begun")


# Questions and lines -----------------------------------------------------------------------------------------


def ask(*path: str) -> Callable[[Daemon, argparse.Namespace], Answer]:
    return lambda daemon, _args: daemon.get(*path)


_PAST = {"stop": "stopped", "restart": "restarted", "start": "started"}


def ok_lines(answer: Answer, _args: argparse.Namespace) -> list[str]:
    """And who was taken along, which only dependencies bring about."""
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
