"""Why a watcher is as it is: what the engine knows, with the ends of its processes and their last words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from circus.control import loglines, told
from circus.control.loglines import Wanted
from circus.control.lookups import AFTER_EXIT_S, Lookups
from circus.control.reasons import MAX_TEXT, WhyAnswer, WhyQuery
from circus.control.schema import CauseAnswer, SlotAnswer
from circus.control.views import LogLine
from circus.engine.proofs import GOOD_S
from circus.errors import CircusError
from circus.logbook import pages

NO_RIGHT = "you may not see logs"


class Whys(Lookups):
    async def why(self, name: str, asked: WhyQuery) -> WhyAnswer:
        """Raises: CircusError not-found."""
        status = await self.status_of(name)
        slots = [each for each in status.slots if asked.wid in (None, each.wid)]
        ends: list[dict[str, Any]] = [dict(each) for each in await self._engine.exits(status.name)]
        ends = sorted((each for each in ends if asked.wid in (None, each["wid"])), key=lambda each: each["at"])
        if asked.wid is not None and not slots and not ends:
            known = ", ".join(str(each.wid) for each in status.slots) or "none"
            raise CircusError("not-found", f"{status.name} has no slot {asked.wid}", f"it has {known}")
        reasons = await self._engine.why(status.name)
        unproven = _unproven(ends, slots, time.time())
        shown = ends[-asked.exits :] if asked.exits else []
        lines, missing = await self._last_words(status.name, shown, _followers(shown, ends, status.slots), asked.lines)
        told_of = {
            **reasons,
            "name": status.name,
            "state": status.state,
            "reason": status.reason,
            "counts": dict(Counter(each.state for each in status.slots)),
            "slots": slots,
            "well": reasons["well"] and not unproven,
            "waits": [*(each for each in reasons["waits"] if asked.wid in (None, each["wid"] or asked.wid)), *unproven],
            "changes": [CauseAnswer(*each) for each in reasons["changes"]],
            "operations": self._under_way(status.name),
            "exits": [{"exit": end, "lines": spoken} for end, spoken in zip(shown, lines, strict=True)],
            "lines_missing": missing,
            "drift": self._engine.snapshot().drift.get(status.name, ""),
        }
        return msgspec.convert(told_of, WhyAnswer)

    def _under_way(self, _watcher: str) -> list[told.OperationAnswer]:
        """Operations that concern it."""
        return []

    async def _last_words(
        self, watcher: str, ends: Sequence[Mapping[str, Any]], until: Sequence[float], count: int
    ) -> tuple[list[list[LogLine]], str]:
        """Of each end, and why there are none."""
        nothing: list[list[LogLine]] = [[] for _ in ends]
        if not ends or not count:
            return nothing, ""
        if "logs" not in self._caller.verbs:
            return nothing, NO_RIGHT
        sees = None if self._caller.sees_all else self._caller.sees
        directory = self._engine.state_directory

        def read() -> list[list[LogLine]]:
            return [
                _last_lines(directory, watcher, end, at, count, Wanted(wid=end["wid"], sees=sees))
                for end, at in zip(ends, until, strict=True)
            ]

        try:
            return await self._desk.run(f"the logs of {watcher}", read), ""
        except OSError as error:
            return nothing, f"{error.filename or directory}: {error.strerror or error}"
        except CircusError as error:
            return nothing, error.message


def _unproven(ends: Sequence[Mapping[str, Any]], slots: Sequence[SlotAnswer], now: float) -> list[dict[str, Any]]:
    """Who runs again since it has failed, for so short a time that it may be the same again."""
    last = {end["wid"]: end for end in ends}
    found = []
    for slot in slots:
        end, began = last.get(slot.wid), slot.started_at
        if end is None or began is None or end["ordered"] or end["status"] == 0 or now - began >= GOOD_S:
            continue
        what, then = "whether it stays: its last end was a failure", "it counts as well"
        found.append(
            {"kind": "proof", "what": what, "wid": slot.wid, "since": began, "until": began + GOOD_S, "then": then}
        )
    return found


def _followers(
    shown: Sequence[Mapping[str, Any]], ends: Sequence[Mapping[str, Any]], slots: Sequence[SlotAnswer]
) -> list[float]:
    """When the words of each must have been said: a little after its end, and before the next in its slot came."""
    until = []
    for end in shown:
        starts = [each["started_at"] for each in ends if each["wid"] == end["wid"]]
        starts += [each.started_at for each in slots if each.wid == end["wid"] and each.started_at is not None]
        later = [at for at in starts if at > end["started_at"] and at >= end["at"]]
        until.append(min([end["at"] + AFTER_EXIT_S, *later]))
    return until


def _last_lines(
    directory: str, watcher: str, end: Mapping[str, Any], until: float, count: int, wanted: Wanted
) -> list[LogLine]:
    """Raises: OSError."""
    page = pages.read(directory, wanted.want(watcher, count, until_ns=int(until * 1e9), is_backward=True))
    found = [loglines.answer(line) for line in reversed(page.lines)]
    began = float(end["started_at"])
    return [_cut(line) for line in found if (line.at is None or line.at >= began) and line.pid in (None, end["pid"])]


def _cut(line: LogLine) -> LogLine:
    if len(line.text) <= MAX_TEXT:
        return line
    return msgspec.structs.replace(line, text=line.text[:MAX_TEXT], raw="", cut=True)
