"""Commands of the ancestors, as they come from peers: each is asked of the control API, and answered.

Many run at once. Nobody is read from while too many of his commands wait, so that a flood stays with who makes it;
those that wait for the end of an order are counted by themselves, so that they keep nobody from asking.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from circus.legacy.commands import AsyncCaller, AsyncCommands, error_reply, refusal
from circus.legacy.door import patterns, zmtp
from circus.legacy.door.wire import Peer
from circus.legacy.messages import COMMAND_ERROR, MESSAGE_ERROR, NOT_JSON, Refused, is_waiting

log = logging.getLogger("circus.door")

#: Of all peers together; most take a millisecond.
MAX_AT_ONCE = 64

#: That are begun one after the other; then the loop has other things to do.
MAX_AT_A_TURN = 64

#: Commands that wait for the end of an order, of all peers together.
MAX_WAITING = 256

#: At the end: for commands under way, whose answers leave then.
END_S = 1.0

LEAVING = "circusd leaves before the command has ended"


class Orders:
    kind = "ROUTER"
    peers = frozenset(("DEALER", "REQ", "ROUTER"))

    def __init__(self, caller_of: Callable[[Peer], AsyncCaller]) -> None:
        self._caller_of = caller_of
        self._inboxes: dict[Peer, deque[zmtp.Message]] = {}  # in the order of whose turn it is
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_once = 0
        self._waiting = 0
        self._has_ended = False
        self._next_turn: asyncio.Handle | None = None

    # Of the listener ----------------------------------------------------------------------------------------

    def on_said(self, peer: Peer, said: zmtp.Message | zmtp.TooLarge | zmtp.Subscription) -> None:
        if isinstance(said, zmtp.TooLarge):
            reason = f"a message has at most {zmtp.MAX_MESSAGE} bytes in {zmtp.MAX_FRAMES} parts"
            _send(peer, _envelope(said.frames), error_reply(None, Refused(MESSAGE_ERROR, reason)))
        elif isinstance(said, zmtp.Message) and not self._has_ended:
            self._inboxes.setdefault(peer, deque()).append(said)
            self._go_on()
            if peer in self._inboxes:
                peer.stop_reading("inbox")

    def on_taken(self, _peer: Peer) -> None:
        self._go_on()

    def on_gone(self, peer: Peer) -> None:
        """What it has ordered is done all the same, as far as it has begun."""
        self._inboxes.pop(peer, None)

    async def end(self) -> None:
        """Nothing new begins; who waits longer than END_S is told that circusd leaves."""
        self._has_ended = True
        self._inboxes.clear()
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=END_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    # One command --------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Unless that happens anyway, in a turn of the loop's own."""
        if self._next_turn is None:
            self._turn()

    def _turn(self) -> None:
        self._next_turn = None
        for _ in range(MAX_AT_A_TURN):
            # Who takes no answers has none that wait for him.
            peer = next((each for each in self._inboxes if not each.is_full), None)
            if peer is None or self._at_once >= MAX_AT_ONCE:
                return
            inbox = self._inboxes.pop(peer)
            said = inbox.popleft()
            if inbox:
                self._inboxes[peer] = inbox  # behind the others
            else:
                peer.go_on_reading("inbox")
            self._begin(peer, said)
        self._next_turn = asyncio.get_running_loop().call_soon(self._turn)

    def _begin(self, peer: Peer, said: zmtp.Message) -> None:
        envelope = _envelope(said.frames)
        try:
            if len(said.frames) != len(envelope) + 1:
                raise ValueError("several parts without an envelope")
            message = json.loads(said.frames[-1])
        except (ValueError, RecursionError):
            _send(peer, envelope, error_reply(None, Refused(NOT_JSON, "json invalid")))
            return
        if why := patterns.why_not(message):
            _send(peer, envelope, refusal(message, Refused(MESSAGE_ERROR, why)))
            return
        waits = is_waiting(message)
        if waits and self._waiting >= MAX_WAITING:
            reason = f"{MAX_WAITING} commands wait already for the end of what they ordered"
            _send(peer, envelope, refusal(message, Refused(COMMAND_ERROR, reason)))
            return
        self._count(waits=waits, by=1)
        task = asyncio.get_running_loop().create_task(self._answer(peer, envelope, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: self._on_done(waits=waits))

    def _on_done(self, *, waits: bool) -> None:
        self._count(waits=waits, by=-1)
        self._go_on()

    def _count(self, *, waits: bool, by: int) -> None:
        if waits:
            self._waiting += by
        else:
            self._at_once += by

    async def _answer(self, peer: Peer, envelope: tuple[bytes, ...], message: object) -> None:
        try:
            reply = await AsyncCommands(self._caller_of(peer)).answer(message)
            text = None if reply is None else json.dumps(reply).encode("ascii")
        except asyncio.CancelledError:
            _send(peer, envelope, refusal(message, Refused(COMMAND_ERROR, LEAVING)))
            return
        except Exception:
            log.exception("a command failed")
            refused = Refused(COMMAND_ERROR, "circusd failed to answer; its log has the traceback")
            _send(peer, envelope, refusal(message, refused))
            return
        if text is not None:
            peer.send(zmtp.message((*envelope, text)))


def _envelope(frames: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """What stands before the empty part in front of a request of REQ, and of proxies, that one included."""
    return frames[:-1] if len(frames) > 1 and not frames[-2] else ()


def _send(peer: Peer, envelope: tuple[bytes, ...], reply: dict[str, Any] | None) -> None:
    if reply is not None:
        peer.send(zmtp.message((*envelope, json.dumps(reply).encode("ascii"))))
