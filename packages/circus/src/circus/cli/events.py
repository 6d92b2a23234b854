"""`circusctl events`: what happens, as it happens, a line for people each. `listen` has the ancestors' form of it."""

from __future__ import annotations

import json
import time

from circus.cli import listen, shades
from circus.cli.render import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from circus.cli.asking import Answer, Daemon
    from circus.cli.terminal import Terminal

_EPILOG = """\
Each line is the time, the watcher, what happened, and what is known of it. Ends with Ctrl-C (status 130). A restart of
circusd is waited for; what was missed is told on standard error.

  circusctl events
  circusctl events web worker             of these watchers
  circusctl events watcher.web.reap       of this kind
  circusctl events --since 10m --json"""

#: Begins of topics; all else is the name of a watcher.
_KINDS = ("watcher.", "circusd.")

#: Of events that come often or are good, or are to be looked at; others have none.
_COLOURS = {
    **dict.fromkeys(("spawn", "start", "ready", "add", "healthy"), ("green",)),
    **dict.fromkeys(("stop", "remove", "updated", "joined"), ("dim",)),
    **dict.fromkeys(("kill", "backoff", "reload", "blocked", "limit", "rest", "survivors"), ("yellow",)),
    **dict.fromkeys(
        ("fatal", "flapping", "unhealthy", "not_ready", "reload_failed", "hook_failure", "sink_failed", "run_failed"),
        ("bold", "red"),
    ),
    **dict.fromkeys(("output_dropped", "notify_failed", "notify_dropped", "compress_failed"), ("bold", "red")),
}

#: Names and events are as wide as most of them are.
_NAME_WIDTH, _EVENT_WIDTH = 12, 10


def arguments(parser: argparse.ArgumentParser) -> None:
    what = "a watcher, or how topics begin: watcher.web. or watcher.web.reap; without any: all"
    parser.add_argument("topics", metavar="NAME|TOPIC", nargs="*", help=what)
    when = "also what has happened since T, of what is still known: 10m, 2h, today, 10:00, ..."
    parser.add_argument("--since", metavar="T", help=when)
    parser.epilog = _EPILOG


def run(daemon: Daemon, args: argparse.Namespace) -> Iterator[Answer]:
    return listen.follow(daemon.client, [_topic(word) for word in args.topics], since=_since(args.since))


def _topic(word: str) -> str:
    """As circusd writes the names of watchers there."""
    return word if word.startswith(_KINDS) else f"watcher.{word.lower().replace(' ', '_')}."


def _since(text: str | None) -> float | None:
    if text is None:
        return None
    from datetime import datetime

    from circus.logbook import moments

    return moments.parse(text, datetime.now().astimezone()) / 1e9


def lines(answer: Answer, args: argparse.Namespace) -> list[str]:
    return [line(answer, args.terminal, time.time())] if "topic" in answer else []


def line(event: Answer, terminal: Terminal, now: float) -> str:
    """``21:05:31.123  web           reap        process_pid=4711 exit_code=3 wid=1``."""
    message = event["message"] if isinstance(event["message"], dict) else {"said": event["message"]}
    kind = str(event.get("event") or event["topic"])
    name = one_line(event.get("watcher") or "circusd")
    fields = " ".join(f"{one_line(key)}={_value(value)}" for key, value in message.items() if key != "time")
    at = message.get("time")
    when = shades.clock(at, now) if isinstance(at, int | float) else "-"
    styles = _COLOURS.get(kind, ())
    if kind == "reap" and message.get("exit_code") not in (0, None):
        styles = ("yellow",)
    parts = [
        terminal.paint(when, "dim"),
        terminal.paint(name, shades.colour_of(name)) + " " * (_NAME_WIDTH - len(name)),
        terminal.paint(one_line(kind), *styles) + " " * (_EVENT_WIDTH - len(kind)),
        fields,
    ]
    return "  ".join(parts).rstrip()


def _value(value: object) -> str:
    text = one_line(value if isinstance(value, str) else json.dumps(value))
    return f'"{text}"' if isinstance(value, str) and (" " in text or not text) else text
