"""The connection to the kernel as the engine sees it: there, lost, or back but not yet settled.

Whoever needs the kernel and was left without an answer waits here and asks again; the wait has no bound of its own,
because nothing that the kernel does can be done without it. How circusd leaves although the kernel stays away is
decided in leaving.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from circus.errors import CircusError
from papa.client.aio import AsyncPapa
from papa.errors import PapaError

log = logging.getLogger("circus.engine")

#: After these nobody knows whether the kernel has done what it was asked.
UNANSWERED = frozenset({"lost", "timeout"})

#: A kernel that is there and does not do what it was asked is asked again after this.
AGAIN_S = 0.5

#: A kernel that lives answers a question for its state within a turn of its loop; one that is stopped does not.
PROBE_S = 5.0


class Link:
    """``reattach`` brings everything that is held to a kernel that is back; it may be called again at any point."""

    def __init__(self, kernel: AsyncPapa, reattach: Callable[[], Awaitable[None]]) -> None:
        self.trouble = ""  # for status
        self._kernel = kernel
        self._reattach_all = reattach
        self._is_settled = asyncio.Event()
        if kernel.is_connected:
            self._is_settled.set()
        self._reattaching: asyncio.Task[None] | None = None
        kernel.on_lost = self._on_lost
        kernel.on_back = self._on_back

    async def wait(self) -> None:
        """Until the kernel is there and everything that is held is attached again; always a turn of the loop."""
        await asyncio.sleep(0)
        await self._is_settled.wait()

    async def wait_to_ask_again(self, error: PapaError) -> None:
        """After ``error``, one of UNANSWERED."""
        if error.code == "lost":
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(AGAIN_S)
        await self._is_settled.wait()

    async def answers(self) -> bool:
        """Whether the kernel is there and works."""
        if not self._kernel.is_connected:
            return False
        try:
            await self._kernel.request("status", timeout_s=PROBE_S)
        except PapaError as error:
            return error.code not in UNANSWERED
        return True

    async def close(self) -> None:
        """From now on a kernel that comes back is nothing to us: whoever would be attached is closed."""
        self._kernel.on_lost = self._kernel.on_back = None
        task, self._reattaching = self._reattaching, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _on_lost(self) -> None:
        self._is_settled.clear()
        self.trouble = "the connection to papa is lost; trying again"
        log.warning("connection to papa lost")

    def _on_back(self) -> None:
        if self._reattaching is not None:
            self._reattaching.cancel()
        self._reattaching = asyncio.get_running_loop().create_task(self._reattach())

    async def _reattach(self) -> None:
        while True:
            try:
                await self._reattach_all()
                break
            except (PapaError, CircusError) as error:
                if error.code == "lost":
                    return  # the next return begins anew
                self.trouble = f"not all processes are attached to papa again: {error.message}; trying again"
                log.warning("not all processes are attached again: %s", error.message)
            except Exception:
                self.trouble = "circusd failed to attach its processes again; its log has the traceback"
                log.exception("processes could not be attached again")
            await asyncio.sleep(AGAIN_S)
        self.trouble = ""
        self._is_settled.set()
        log.info("connection to papa is back pid=%s", self._kernel.hello.get("pid"))
