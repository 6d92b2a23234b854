"""The order that replaces circusd by another program in its place: tried first, then done in a quiet moment.

It is answered when it has begun, for its connection ends with this program; its end is known to the successor, under
the same id.
"""

from __future__ import annotations

import asyncio

from msgspec import structs

import circus
from circus import clock
from circus.control.caller import Caller
from circus.control.entries import Entry
from circus.control.operations import Operations
from circus.control.schema import UpgradeAnswer, UpgradeRequest
from circus.control.succession import HOLD_S, Admission, NoSuccession, Rehearsed, Succession
from circus.errors import CircusError

WHAT = "upgrade"

#: Of operations that are in the way, so many are named.
MAX_NAMED = 5


class Upgrades:
    def __init__(self, operations: Operations) -> None:
        self.succession: Succession = NoSuccession()
        self.admission = Admission()
        self._operations = operations

    async def upgrade(self, request: UpgradeRequest, caller: Caller) -> UpgradeAnswer:
        """Raises: CircusError; then this program goes on."""
        if request.check:
            return _answer(await self.succession.rehearse(request.to), is_check=True)
        if any(entry.what == WHAT for entry in self._operations.under_way()):
            raise CircusError("conflict", "an upgrade is under way already", "`circusctl operations` lists it")

        async def work(entry: Entry) -> UpgradeAnswer:
            rehearsed = await self.succession.rehearse(request.to)
            await self._find_quiet(entry, request.patience)
            try:
                entry.begin(_answer(rehearsed))
                await self.succession.succeed(entry.id)
            finally:
                self.admission.release()
            return _answer(rehearsed)

        entry = self._operations.begin(WHAT, None, caller, work)
        entry.is_awaited = True
        await asyncio.wait([entry.begun])
        if entry.error is not None:
            raise entry.error
        entry.is_awaited = False
        answer: UpgradeAnswer = entry.begun.result()
        return structs.replace(answer, operation=entry.id)

    async def _find_quiet(self, mine: Entry, patience_s: float) -> None:
        """Wait until no other order is under way, and hold new ones from then on.

        Raises: CircusError conflict, when there is no such moment within ``patience_s``.
        """
        deadline = clock.monotonic() + patience_s
        while True:
            self.admission.hold()
            until = min(clock.monotonic() + HOLD_S, deadline)
            await self.admission.emptied(until - clock.monotonic())
            await _ended(self._operations.under_way(besides=mine), until - clock.monotonic(), asyncio.ALL_COMPLETED)
            others = self._operations.under_way(besides=mine)
            if not others and not self.admission.inside:
                return
            self.admission.release()
            if clock.monotonic() >= deadline:
                named = ", ".join(f"{each.what} ({each.id})" for each in others[:MAX_NAMED]) or "one without an id"
                more = f" and {len(others) - MAX_NAMED} more" if len(others) > MAX_NAMED else ""
                raise CircusError(
                    "conflict",
                    f"not upgraded: after {patience_s:g} s there are still orders under way: {named}{more}",
                    "wait until they have ended (`circusctl operations`), or be more patient: --patience S",
                )
            await _ended(others, deadline - clock.monotonic(), asyncio.FIRST_COMPLETED)


async def _ended(entries: list[Entry], timeout_s: float, when: str) -> None:
    tasks = [entry.task for entry in entries if entry.task is not None and not entry.task.done()]
    if tasks and timeout_s > 0:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=when)


def _answer(rehearsed: Rehearsed, *, is_check: bool = False) -> UpgradeAnswer:
    return UpgradeAnswer(
        version=circus.__version__,
        to_version=rehearsed.version,
        python=rehearsed.python,
        path=rehearsed.path,
        check=is_check,
        warnings=rehearsed.warnings,
    )
