"""`circusctl listen`: events as lines, for as long as anybody reads them, also over a restart of circusd."""

from __future__ import annotations

import json
import time

from circus.errors import AWAY, CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from circus.cli.asking import Daemon
    from circus.control.client import Client
    from circus.control.listening import Listening

#: Between two looks for the next circusd.
RETRY_S = 0.5


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "topics",
        metavar="TOPIC",
        nargs="*",
        help="how topics begin: watcher. for all watchers, watcher.web.reap for one event of one; without any: all",
    )
    parser.epilog = (
        "Each line is TOPIC: JSON. Ends with Ctrl-C. A restart of circusd is waited for.\n"
        "Who reads too slowly is told on standard error how many events were missed."
    )


def run(daemon: Daemon, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    return follow(daemon.client, args.topics)


def follow(client: Client, topics: list[str], *, since: float | None = None) -> Iterator[dict[str, Any]]:
    """Events, and what was missed, over every end of circusd. Raises: CircusError, when none is there to begin with."""
    # Imported for this alone.
    from circus.control.listening import Listening

    listening = Listening(client, topics, since=since)
    while True:
        try:
            yield from map(_told, listening.read())
        except CircusError:
            listening.close()
            listening = _wait_for_next(client, topics, listening.last_id)


def lines(answer: dict[str, Any], _args: argparse.Namespace) -> list[str]:
    return [f"{answer['topic']}: {json.dumps(answer['message'])}"] if "topic" in answer else []


def _wait_for_next(client: Client, topics: list[str], last_id: str) -> Listening:
    from circus.control.listening import Listening

    while True:
        time.sleep(RETRY_S)
        try:
            return Listening(client, topics, last_id=last_id)
        except CircusError as error:
            if error.code not in AWAY:
                raise


def _told(heard: dict[str, Any]) -> dict[str, Any]:
    if "missed" not in heard:
        return heard
    warning = f"{heard['missed']} events were missed"
    if heard["missed"] is None:
        warning = "this is another circusd; what happened while none answered is not known"
    return {**heard, "warnings": [warning]}
