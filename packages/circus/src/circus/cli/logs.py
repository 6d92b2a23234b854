"""`circusctl logs`: what the processes wrote, read from the files themselves, so that it works without circusd, too."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import time

from circus.cli import log_sources, printing
from circus.cli.asking import Daemon
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from typing import Any

    from circus.cli.terminal import Terminal
    from circus.logbook.catalogue import Entry
    from circus.logbook.reading import Line, LogReader, Query

#: Of what is asked for without any bounds: a screen or two; what is new, before it goes on.
LINES = 100
LINES_BEFORE_FOLLOWING = 10

#: Between two looks at files that grow.
LOOK_S = 0.2

#: Between two looks for logs that are new: a watcher that was added, a file that was changed.
CATALOGUE_S = 2.0

#: Lines that are written together.
TOGETHER = 512

#: What the shell reports for a program that SIGINT ended.
INTERRUPTED = 130


_EPILOG = f"""\
T is 10m, 2h or 3d (ago), now, today, yesterday, 10:00, 2026-11-22, '2026-11-22 10:00' or RFC 3339; without a
zone it is local time.

Without --lines: all lines between --since and --until, that --grep finds, or behind --cursor; else the last
{LINES}, with -f {LINES_BEFORE_FOLLOWING}. Lines of several files come in the order in which they were written.

--json: an object for each line, with time, watcher, wid, pid, stream, line and cursor. Where a line is not
UTF-8, raw has its bytes (base64). The files are read directly: circusd need not run. With an endpoint over
TCP circusd is asked: for one watcher, and without --grep and --cursor."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="watchers, in any case; patterns like 'web*' too")
    parser.add_argument("--since", metavar="T", help="lines written at T or later")
    parser.add_argument("--until", metavar="T", help="lines written at T or before")
    parser.add_argument("--grep", metavar="REGEX", help="lines in which REGEX (Python's) is found")
    parser.add_argument("--stream", choices=("stdout", "stderr"), help="only what was written there")
    parser.add_argument("--instance", metavar="WID", type=int, help="only the process in this place of the watcher")
    parser.add_argument(
        "-n", "--lines", metavar="N", type=_count, help="at most the last N lines, or all; with --cursor the next N"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    parser.add_argument(
        "--around-exit",
        metavar="N",
        type=int,
        help="the last lines before the Nth last end of a process (1: the latest), and those up to 1 s after it",
    )
    parser.add_argument("--raw", action="store_true", help="the lines alone, as they were written, at a terminal too")
    parser.add_argument("--cursor", metavar="C", help="go on behind the line that had this cursor (see --json)")
    parser.epilog = _EPILOG


def _count(text: str) -> int:
    if text == "all":
        return -1
    if not (text.isascii() and text.isdigit()):
        import argparse

        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor all")
    return int(text)


def run(daemon: Daemon, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Prints by itself: bytes stay what they are."""
    _check(args)
    if not daemon.is_here:
        from circus.cli import remote_logs

        return remote_logs.run(daemon, args, _how_many(args))
    show = _Show(args)
    try:
        with contextlib.closing(_Session(daemon, args, show)) as session:
            session.run()
            show.flush()
    except KeyboardInterrupt:
        show.flush()
        sys.exit(INTERRUPTED)
    return iter(())


def is_marked(args: argparse.Namespace) -> bool:
    """People at a terminal see whose lines they are; pipes get what was written."""
    return bool(args.terminal.has_tables and not args.raw and not args.json)


def lines(answer: dict[str, Any], args: argparse.Namespace) -> list[str]:
    """Those of a circusd on another host."""
    if "line" not in answer:
        return []
    if not is_marked(args):
        return [answer["line"]]
    from datetime import datetime

    from circus.cli import shades

    at = None if answer["time"] is None else datetime.fromisoformat(answer["time"]).timestamp()
    who = (answer["watcher"] or "", answer["wid"] or 0, answer["stream"] or "")
    return [shades.log_line(args.terminal, at, *who, answer["line"])]


def _how_many(args: argparse.Namespace) -> int:
    """-1: all."""
    if args.lines is not None:
        return int(args.lines)
    if any(value is not None for value in (args.since, args.until, args.grep, args.cursor)):
        return -1
    return LINES_BEFORE_FOLLOWING if args.follow else LINES


def _check(args: argparse.Namespace) -> None:
    if args.follow and args.until is not None:
        raise CircusError("usage", "--follow and --until exclude each other", "leave one of them out")
    if args.around_exit is not None:
        if args.around_exit < 1:
            raise CircusError("usage", f"--around-exit {args.around_exit} is no end", "1 is the latest one")
        for name in ("since", "until", "cursor", "follow"):
            if getattr(args, name):
                raise CircusError("usage", f"--around-exit and --{name} exclude each other", "leave one of them out")


class _Session:
    def __init__(self, daemon: Daemon, args: argparse.Namespace, show: _Show) -> None:
        # Imported for this command alone.
        from circus.logbook import catalogue, cursors

        self._args = args
        self._show = show
        self._state, known = log_sources.find_state(daemon)
        self._logs = os.path.join(self._state, "logs")
        try:
            entries = catalogue.load(self._logs)
        except OSError as error:
            raise CircusError(
                "failed", f"{self._logs} cannot be read: {error.strerror}", "ask as the user that circusd runs as"
            ) from None
        self._watchers = log_sources.watchers_of(args.names, entries, known)
        self._query = self._make_query()
        self._given = cursors.decode(args.cursor) if args.cursor is not None else None
        self._readers: list[LogReader] = []
        self._open_new(entries)
        if not self._readers:
            names = ", ".join(sorted(self._watchers))
            raise CircusError("not-found", f"{names}: there is no log", "what was written since circusd runs is shown")

    def run(self) -> None:
        args = self._args
        count = _how_many(self._args)
        found: Iterable[Line]
        if self._given is not None:
            found = self._behind_cursor(self._given, count)
        elif count >= 0:
            found = self._last(count)
        else:
            found = self._since(self._query.since_ns)
        for line in found:
            self._show.line(line)
        self._tell_missing()
        if self._given is not None:  # logs are read a line ahead
            for reader in self._readers:
                reader.position = self._show.positions[reader.id]
        if args.follow:
            self._follow()

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

    def _make_query(self) -> Query:
        from datetime import datetime

        from circus.logbook import moments
        from circus.logbook.matching import Pattern
        from circus.logbook.reading import Query

        args = self._args
        now = datetime.now().astimezone()
        since_ns = 0 if args.since is None else moments.parse(args.since, now)
        until_ns = 2**63 if args.until is None else moments.parse(args.until, now)
        wid = args.instance
        if args.around_exit is not None:
            at_s, wid = log_sources.exit_of(self._state, self._watchers, args.around_exit, wid)
            until_ns = int((at_s + 1) * 1e9)
        pattern = None if args.grep is None else Pattern(args.grep)
        return Query(self._watchers, args.stream, wid, since_ns, until_ns, pattern)

    def _open_new(self, entries: dict[str, Entry]) -> list[LogReader]:
        """Readers of logs that were not known yet."""
        from circus.logbook.reading import LogReader

        known = {reader.entry.path for reader in self._readers}
        new = []
        for entry in entries.values():
            streams = set().union(*(entry.watchers.get(name, ()) for name in self._watchers))
            if entry.path in known or not streams or (self._args.stream and self._args.stream not in streams):
                continue
            reader = LogReader(entry, self._logs, self._query)
            try:
                reader.open()
            except OSError as error:
                log_sources.warn(f"{entry.path} cannot be read: {error.strerror}")
                continue
            reader.await_index()
            new.append(reader)
        self._readers += new
        return new

    # What is there ------------------------------------------------------------------------------------------

    def _ends(self) -> dict[str, int]:
        """Up to where it is read now; a line without an end waits for it, if somebody does."""
        return {reader.id: reader.whole_end if self._args.follow else reader.end for reader in self._readers}

    def _behind_cursor(self, given: dict[str, int], count: int) -> Iterator[Line]:
        from circus.logbook.reading import merged

        ends = self._ends()
        parts = []
        for reader in self._readers:
            position = given.get(reader.id, reader.begin)
            if position > reader.end:
                log_sources.warn(
                    f"{reader.entry.path} is shorter than it was at the cursor: it is shown from its begin"
                )
                position = reader.begin
            self._show.positions[reader.id] = max(position, reader.begin)
            parts.append(reader.forward(position, ends[reader.id]))
        found = merged(parts)
        return found if count < 0 else itertools.islice(found, count)

    def _last(self, count: int) -> list[Line]:
        from circus.logbook.reading import merged

        ends = self._ends()
        found = list(merged([reader.last(count, ends[reader.id]) if count else [] for reader in self._readers]))
        found = found[-count:] if count else []
        for reader in self._readers:
            reader.position = ends[reader.id]
            first = next((line for line in found if line.log == reader.id), None)
            self._show.positions[reader.id] = ends[reader.id] if first is None else first.start
        return found

    def _since(self, since_ns: int) -> Iterator[Line]:
        from circus.logbook.reading import merged

        ends = self._ends()
        parts = []
        for reader in self._readers:
            position = reader.first_since(since_ns) if since_ns else reader.begin
            self._show.positions[reader.id] = position
            parts.append(reader.forward(position, ends[reader.id]))
        return merged(parts)

    # What comes ---------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        from circus.logbook import catalogue
        from circus.logbook.reading import merged

        look_again = time.monotonic() + CATALOGUE_S
        while True:
            self._show.flush()
            time.sleep(LOOK_S)
            for line in merged([reader.more() for reader in self._readers]):
                self._show.line(line)
            self._tell_missing()
            if time.monotonic() >= look_again:
                with contextlib.suppress(OSError):
                    for reader in self._open_new(catalogue.load(self._logs)):
                        reader.position = reader.begin
                        self._show.positions[reader.id] = reader.begin
                look_again = time.monotonic() + CATALOGUE_S

    def _tell_missing(self) -> None:
        for reader in self._readers:
            if reader.missing:
                self._show.missing(reader.entry.path, reader.missing)
                reader.missing = 0


class _Show:
    """Standard output."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._is_json = args.json
        self._terminal: Terminal | None = args.terminal if is_marked(args) else None
        self._lines: list[bytes] = []
        self.positions: dict[str, int] = {}

    def line(self, line: Line) -> None:
        self.positions[line.log] = line.end
        if self._terminal is not None:
            self._put(self._marked(line, self._terminal))
        else:
            self._put(self._object(line) if self._is_json else line.data)

    def _marked(self, line: Line, terminal: Terminal) -> bytes:
        from circus.cli import shades

        who = ("", 0, "") if line.source is None else (line.source.watcher, line.source.wid, line.source.stream)
        at = line.at_ns / 1e9 if line.at_ns else None
        return shades.log_line(terminal, at, *who, line.data.decode(errors="replace")).encode()

    def missing(self, path: str, byte_count: int) -> None:
        """They were there when somebody was here before, and are gone."""
        log_sources.warn(f"{byte_count} bytes of {path} are gone: they were rotated away before they were read")
        if self._is_json:
            self._put(json.dumps({"missing_bytes": byte_count, "path": path}).encode())

    def _put(self, data: bytes) -> None:
        self._lines.append(data)
        if len(self._lines) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            data = b"\n".join(self._lines) + b"\n"
            self._lines = []
            out = getattr(sys.stdout, "buffer", None)
            try:
                if out is None:
                    sys.stdout.write(data.decode("utf-8", "backslashreplace"))
                else:
                    out.write(data)
                sys.stdout.flush()
            except OSError as error:
                printing.forsake(sys.stdout)
                sys.exit(printing.lost(error))

    def _object(self, line: Line) -> bytes:
        from circus.logbook import cursors, moments

        source = line.source
        fields: dict[str, object] = {
            "time": moments.text(line.at_ns) if line.at_ns else None,
            "watcher": source.watcher if source else None,
            "wid": source.wid or None if source else None,
            "pid": source.pid or None if source else None,
            "stream": source.stream if source else None,
        }
        try:
            fields["line"] = line.data.decode()
        except UnicodeDecodeError:
            import base64

            fields["line"] = line.data.decode(errors="replace")
            fields["raw"] = base64.b64encode(line.data).decode()
        fields["cursor"] = cursors.encode(self.positions)
        return json.dumps(fields).encode()
