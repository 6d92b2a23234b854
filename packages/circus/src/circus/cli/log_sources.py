"""Whose logs `circusctl logs` shows, and where they are, also while circusd is away."""

from __future__ import annotations

import sys

from circus.control import endpoints
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from circus.cli.asking import Daemon
    from circus.logbook.catalogue import Entry


def warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")


def find_state(daemon: Daemon) -> tuple[str, list[str]]:
    """The state directory of the circusd that is meant, and its watchers; circusd need not run."""
    try:
        answer = daemon.get("logs")
        return str(answer["directory"]), list(answer["watchers"])
    except CircusError as error:
        if error.code not in ("unreachable", "timeout", "not-found", "unavailable"):
            raise
        name = endpoints.name_of_socket(daemon.client.path)
        if name is None:
            raise
    from circus.engine.memory import state_directory

    return str(state_directory(name)), []


def watchers_of(names: Iterable[str], entries: dict[str, Entry], known: list[str]) -> frozenset[str]:
    from circus.control.names import match_watchers

    noted = dict.fromkeys(name for entry in entries.values() for name in entry.watchers)
    return frozenset(match_watchers(dict.fromkeys([*known, *noted]), list(names)))


def exit_of(state: str, watchers: frozenset[str], number: int, wid: int | None) -> tuple[float, int]:
    """When the ``number``-th last process of them ended, and in which place of its watcher it was."""
    from pathlib import Path

    from circus.engine import history

    try:
        ends = history.read(Path(state), lambda what: warn(what))
    except (OSError, ValueError) as error:
        raise CircusError("failed", f"the ends of processes are not known: {error}", "see circusd's log") from None
    found = sorted(
        (each for each in ends if each.watcher in watchers and wid in (None, each.wid)), key=lambda each: each.at
    )
    if len(found) < number:
        raise CircusError(
            "not-found", f"{len(found)} ends are known of these processes, not {number}", "the last 50 are kept"
        )
    return found[-number].at, found[-number].wid
