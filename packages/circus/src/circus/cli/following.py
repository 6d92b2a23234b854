"""`circusctl status -f`: the status of watchers for as long as anybody looks, also while circusd is away.

The idea: circusd says when something happens, and only then is it asked how things stand; between two looks the same
picture is drawn on, with times that grow. At a terminal it stands in place, into a pipe go its changes.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from circus.cli import queries, watchers_table
from circus.cli.render import one_line
from circus.cli.shades import clock
from circus.control.listening import Listening
from circus.errors import AWAY, CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from circus.cli.asking import Answer, Daemon

#: Between two questions while much happens: what lies between is part of what comes next.
PACE_S = 0.25
#: After so long it is asked also where nothing happened: not everything is an event.
LOOK_S = 5.0
#: Between two drawings, for the times; and between two looks for a circusd that is away.
TICK_S = 1.0

#: Another screen, and back; to its begin; the rest of the line; the rest of the screen.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def run(daemon: Daemon, args: argparse.Namespace) -> Iterator[Answer]:
    """Raises: CircusError, when there is nobody to begin with."""
    chosen = queries.find_all(daemon, args.names, args.match) if args.names else None
    looks = _Looks(daemon, chosen)
    if args.json:
        return _each_status(looks)
    return _drawn(looks, args) if args.terminal.is_there else _told(looks)


class _Looks:
    """How things stand: ``status``, and since when nobody answers (``away_since``, wall clock)."""

    def __init__(self, daemon: Daemon, chosen: list[str] | None) -> None:
        self._daemon = daemon
        self._chosen = chosen
        self.away_since: float | None = None
        self._listening: Listening | None = Listening(daemon.client)
        self._is_due = False
        self.status = self._ask()

    def wait(self, most_s: float) -> bool:
        """Waits until it may be otherwise, at most so long; whether it was looked at anew."""
        deadline = time.monotonic() + most_s
        while (left := deadline - time.monotonic()) > 0:
            if self._listening is None:
                time.sleep(min(left, TICK_S))
                self._come_back()
                return self._listening is not None
            pause = self._asked_at + (PACE_S if self._is_due else LOOK_S) - time.monotonic()
            if pause <= 0:
                return self._look()
            if self._is_due:
                time.sleep(min(left, pause))
            elif select.select([self._listening], [], [], min(left, pause))[0]:
                self._hear(self._listening)
        return False

    def _hear(self, listening: Listening) -> None:
        try:
            self._is_due = bool(listening.receive())
        except CircusError:
            self._lose()

    def _look(self) -> bool:
        try:
            self.status = self._ask()
        except CircusError as error:
            if error.code not in AWAY:
                raise
            self._lose()
            return False
        return True

    def _ask(self) -> Answer:
        self._is_due, self._asked_at = False, time.monotonic()
        status = self._daemon.get("status")
        return status if self._chosen is None else queries.only(status, self._chosen)

    def _lose(self) -> None:
        if self._listening is not None:
            self._listening.close()
        self._listening = None
        self.away_since = self.away_since or time.time()

    def _come_back(self) -> None:
        try:
            self._listening = Listening(self._daemon.client)
        except CircusError as error:
            if error.code not in AWAY:
                raise
            return
        if self._look():
            self.away_since = None


# Into a pipe --------------------------------------------------------------------------------------------------


def _each_status(looks: _Looks) -> Iterator[Answer]:
    """Whole answers, whenever the watchers are not as they were."""
    known = None
    while True:
        if looks.status["watchers"] != known:
            known = looks.status["watchers"]
            yield looks.status
        while not looks.wait(LOOK_S):
            pass


def _told(looks: _Looks) -> Iterator[Answer]:
    """First all, then what changes; `lines` of the command prints them."""
    known = _states(looks.status)
    was_away = False
    yield {**looks.status, "lines": [f"{name}: {state}" for name, state in sorted(known.items())]}
    while True:
        looks.wait(LOOK_S)
        is_away = looks.away_since is not None
        told = []
        if is_away != was_away:
            told.append(f"circusd {'is away' if is_away else 'is back'}")
            was_away = is_away
        if not is_away:
            states = _states(looks.status)
            told += [f"{name}: {state}" for name, state in sorted(states.items()) if known.get(name) != state]
            told += [f"{name}: removed" for name in sorted(known.keys() - states.keys())]
            known = states
        if told:
            now = time.time()
            yield {"lines": [f"{clock(now, now)}  {line}" for line in told]}


def _states(status: Answer) -> dict[str, str]:
    """Name -> ``active 2/2``, and what is wrong with it."""
    return {one_line(watcher["name"]): watchers_table.brief(watcher) for watcher in status["watchers"]}


# At a terminal ------------------------------------------------------------------------------------------------


def _drawn(looks: _Looks, args: argparse.Namespace) -> Iterator[Answer]:
    """On a screen of its own; what was shown last stays on the other one, whatever ends it."""
    former = signal.signal(signal.SIGTERM, _end)
    try:
        _write(_ENTER)
        while True:
            _draw(looks, args)
            looks.wait(TICK_S)
    finally:
        _write(_LEAVE + "".join(f"{line}\n" for line in _picture(looks, args)[1:]))
        signal.signal(signal.SIGTERM, former)
    yield {}  # pragma: no cover - it does not end but by an exception


def _end(signum: int, _frame: object) -> None:
    sys.exit(128 + signum)


def _draw(looks: _Looks, args: argparse.Namespace) -> None:
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    args.terminal.columns = columns or args.terminal.columns
    lines = _picture(looks, args)
    if 0 < rows < len(lines):
        lines = [*lines[: rows - 1], args.terminal.paint(f"and {len(lines) - rows + 1} more lines", "dim")]
    _write(_HOME + f"{_REST_OF_LINE}\r\n".join(lines) + _REST_OF_LINE + _REST_OF_SCREEN)


def _picture(looks: _Looks, args: argparse.Namespace) -> list[str]:
    now = time.time()
    said = f"circusd {one_line(looks.status.get('name', ''))}, {clock(now, now)[:8]}; Ctrl-C ends"
    head = args.terminal.paint(said, "dim")
    if looks.away_since is not None:
        away = f"circusd is away since {clock(looks.away_since, now)[:-4]}; this is how it was"
        head = args.terminal.paint(away, "bold", "red")
    return [head, *watchers_table.status_table(looks.status, args.terminal, now, is_verbose=args.verbose)]


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
