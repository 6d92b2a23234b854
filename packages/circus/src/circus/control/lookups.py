"""What can be looked at more closely: histories, logs, slots, sockets, the configuration."""

from __future__ import annotations

import asyncio
import contextlib
import os
from array import array
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from circus import nearest
from circus.config import show
from circus.control import loglines, masking, plans, schema, views
from circus.control.audit import Trail
from circus.control.caller import Caller
from circus.control.desk import Desk
from circus.control.face import EngineFace
from circus.control.following import LogFeed
from circus.control.loglines import Wanted
from circus.control.queries import Queries
from circus.engine import samples
from circus.errors import CircusError
from circus.logbook import cursors, pages
from circus.supervise.states import SlotKey

#: Lines that are told where nobody says how many, and those before what is followed.
LINES = 100
LINES_BEFORE_FOLLOWING = 10

#: Of what is shown around an end: what is written behind it is still about it.
AFTER_EXIT_S = 1.0


class Lookups(Queries):
    def __init__(self, engine: EngineFace, caller: Caller, trail: Trail) -> None:
        super().__init__(engine, caller, trail)
        self._desk = Desk()
        self._log_feed = LogFeed(engine.state_directory, engine.hear_output, self._desk)

    @property
    def followers(self) -> int:
        """Of logs."""
        return self._log_feed.followers

    def _close_lookups(self) -> None:
        self._log_feed.close()
        self._desk.close()

    async def slots(self, name: str) -> views.SlotsAnswer:
        status = await self.status_of(name)
        return views.SlotsAnswer(status.name, status.slots)

    async def slot(self, name: str, wid: str) -> views.SlotDetailAnswer:
        """Raises: CircusError not-found."""
        status = await self.status_of(name)
        slot = next((each for each in status.slots if str(each.wid) == wid), None)
        if slot is None:
            known = ", ".join(str(each.wid) for each in status.slots) or "none"
            raise CircusError("not-found", f"{status.name} has no slot {wid[:40]!r}", f"it has {known}")
        stats = None
        if slot.pid is not None:
            with contextlib.suppress(CircusError):  # it has ended meanwhile
                infos = await self._engine.stats(name=status.name, pid=slot.pid, extended=False)
                stats = infos.get(status.name, {}).get(str(slot.pid))
        exits = [each for each in await self._engine.exits(status.name) if each["wid"] == slot.wid]
        return views.SlotDetailAnswer(status.name, slot, stats, exits)

    async def socket(self, name: str) -> schema.SocketsAnswer:
        """Raises: CircusError not-found."""
        told = await self.sockets()
        found = [each for each in told.sockets if each["name"] == name.lower()]
        if not found:
            known = ", ".join(each["name"] for each in told.sockets) or "none"
            hint = nearest.hint(name[:40], [str(each["name"]) for each in told.sockets], f"there are: {known}")
            raise CircusError("not-found", f"socket {name[:40]!r} not found", hint)
        return schema.SocketsAnswer(found)

    async def config(self, asked: views.ConfigQuery) -> views.ConfigAnswer:
        """Raises: CircusError not-found, config-invalid, unavailable; forbidden, where he may not ``reveal``."""
        if asked.reveal:
            self._caller.check("reveal")
        engine, name = self._engine, asked.name
        try:
            shown = await self._desk.run(engine.config_path, lambda: show.show_all(engine.config_path, engine.environ))
        except OSError as error:
            raise CircusError("unavailable", f"{engine.config_path}: {error.strerror or error}") from None
        except CircusError as error:
            code = "config-invalid" if error.code == "failed" else error.code
            raise CircusError(code, error.message, error.hint) from None
        sees = self._caller
        seen = [each for each in shown if sees.sees_all or (each.kind == "watcher" and sees.sees(each.name))]
        if name is not None:
            key = name.lower()
            seen = [each for each in seen if key == (each.kind if each.kind == "circus" else each.name.lower())]
            if not seen:
                raise CircusError("not-found", f"there is no watcher or socket {name!r}", "`circus` is circusd itself")
        return views.ConfigAnswer(engine.config_path, [_section(each, reveal=asked.reveal) for each in seen])

    async def plan(self) -> schema.PlanAnswer:
        """What reloadconfig would do now."""
        return plans.answer(await self._engine.plan(), os.path.dirname(self._engine.config_path))

    async def logs_of(
        self, name: str, asked: views.LogsQuery, last_event_id: str
    ) -> views.LogPage | AsyncIterator[bytes]:
        """Raises: CircusError not-found, bad-request, limit, unavailable."""
        watcher = self._find(name).name
        _check_logs(asked)
        sees = None if self._caller.sees_all else self._caller.sees
        wanted = Wanted(asked.stream, asked.instance, asked.contains or "", _ns(asked.since or 0.0), sees)
        written = (last_event_id if asked.follow else "") or asked.cursor
        cursor = cursors.decode(written) if written else None
        if asked.follow:
            last = LINES_BEFORE_FOLLOWING if asked.limit is None else asked.limit
            if cursor is None and asked.since is not None:
                cursor = {}
            return self._log_feed.follow(watcher, wanted, cursor=cursor, last=last)
        until_ns = 2**63 if asked.until is None else _ns(asked.until)
        if asked.around_exit is not None:
            ended = await self._exit(watcher, asked.around_exit, asked.instance)
            wanted = replace(wanted, wid=int(str(ended["wid"])))
            until_ns = _ns(float(str(ended["at"])) + AFTER_EXIT_S)
        is_backward = asked.order == "newest" or (asked.order is None and asked.since is None and cursor is None)
        limit = LINES if asked.limit is None else asked.limit
        want = wanted.want(watcher, limit, until_ns=until_ns, cursor=cursor, is_backward=is_backward)
        directory = self._engine.state_directory
        try:
            page = await self._desk.run(f"the logs of {watcher}", lambda: pages.read(directory, want))
        except OSError as error:
            raise CircusError("unavailable", f"{error.filename or directory}: {error.strerror or error}") from None
        return views.LogPage(
            name=watcher,
            lines=[loglines.answer(line) for line in (page.lines[::-1] if is_backward else page.lines)],
            cursor=cursors.encode(page.positions),
            latest=cursors.encode(page.ends),
            more=page.has_more,
            gaps=[views.GapAnswer(path, byte_count) for path, byte_count in page.missing.items()],
        )

    async def _exit(self, watcher: str, number: int, wid: int | None) -> dict[str, object]:
        """The ``number``-th last end of its processes, in this place of it. Raises: CircusError not-found."""
        ends = [dict(each) for each in await self._engine.exits(watcher)]
        found = sorted((each for each in ends if wid in (None, each["wid"])), key=lambda each: float(str(each["at"])))
        if len(found) < number:
            raise CircusError(
                "not-found", f"{len(found)} ends are known of these processes, not {number}", "the last 50 are kept"
            )
        return found[-number]

    async def stats_history(self, asked: views.StatsHistoryQuery) -> views.StatsHistoryAnswer:
        """Raises: CircusError not-found for an unknown watcher."""
        name = None if asked.name is None else self._find(asked.name).name
        figures = self._engine.figures
        if asked.look:
            await figures.look()
        tails = {
            slot: figures.samples.tail(slot, asked.limit)
            for slot in sorted(figures.samples.slots)
            if (name is None and self._caller.sees(slot.watcher)) or slot.watcher == name
        }
        return views.StatsHistoryAnswer(figures.interval_s, await asyncio.to_thread(_history, tails, asked))


def _history(
    tails: Mapping[SlotKey, array[float]], asked: views.StatsHistoryQuery
) -> dict[str, dict[str, list[views.SampleAnswer]]]:
    """In a thread: all that is kept would hold up the loop for half a second."""
    found: dict[str, dict[str, list[views.SampleAnswer]]] = {}
    for slot, tail in tails.items():
        if told := samples.told(tail, asked.since, asked.limit):
            found.setdefault(slot.watcher, {})[str(slot.wid)] = [views.SampleAnswer(*each) for each in told]
    return found


def _section(shown: show.Shown, *, reveal: bool) -> views.ConfigSection:
    options = []
    for row in shown.rows:
        value = row.value
        if not reveal:
            # Who refers to a variable is shown with its name, not with what it holds.
            value = str(masking.mask_option(row.option, row.written if row.variables else value))
        variables = [views.ConfigVariable(name, str(origin)) for name, origin in row.variables]
        origin = row.origin
        options.append(views.ConfigRow(row.option, value, str(origin), origin.file, origin.line, variables))
    return views.ConfigSection(shown.kind, shown.name, options)


def _ns(moment: float) -> int:
    return int(moment * 1_000_000_000)


def _check_logs(asked: views.LogsQuery) -> None:
    """Raises: CircusError bad-request."""
    given = [name for name in ("since", "until", "cursor", "order", "around_exit") if getattr(asked, name) is not None]
    if asked.follow and (wrong := [name for name in given if name not in ("since", "cursor")]):
        raise CircusError("bad-request", f"`follow` and `{wrong[0]}` exclude each other", "leave one of them out")
    if asked.around_exit is not None and len(given) > 1:
        raise CircusError("bad-request", f"`around_exit` and `{given[0]}` exclude each other", "leave one of them out")
