"""What a client's connection means: requests numbered, replies and events told apart, descriptors put to replies.

One idea: no socket here. Bytes and descriptors in, answers and events out, so that the asyncio and the blocking
client share every rule. Descriptors come in the order of the replies that name them (the kernel sends them with
the reply's bytes), so a queue is enough; those that no reply claims are closed when the connection ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from papa.client.reply import Reply
from papa.errors import PapaError, ProtocolError
from papa.fdpass import close_all
from papa.wire.messages import MAX_FDS, Event
from papa.wire.messages import Reply as Message
from papa.wire.session import ClientSession

#: Descriptors that came before the reply that names them; a kernel never sends more ahead than one reply's.
MAX_UNCLAIMED = 4 * MAX_FDS


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to the request of that number, or the error that it met."""

    number: int
    reply: Reply | None = None
    error: PapaError | None = None

    def close_fds(self) -> None:
        """For an answer that nobody waits for."""
        if self.reply is not None:
            self.reply.close_fds()


class Calls:
    """The client's half of one connection."""

    def __init__(self) -> None:
        self._session = ClientSession()
        self._fds: deque[int] = deque()

    def opening(self) -> bytes:
        """The first bytes to send; requests may follow without waiting."""
        return self._session.opening()

    def request(self, op: str, args: Mapping[str, Any]) -> tuple[int, bytes]:
        """The number and the bytes of a request that will be answered. Raises: PapaError limit."""
        return self._session.request(op, args)

    def post(self, op: str, args: Mapping[str, Any]) -> bytes:
        """The bytes of a one-way request. Raises: PapaError limit."""
        return self._session.post(op, args)

    def receive(self, data: bytes, fds: Sequence[int] = ()) -> list[Answer | Event]:
        """What one receive brought, in order.

        Raises: ProtocolError; the connection cannot go on, `close` it.
        """
        self._fds.extend(fds)
        if len(self._fds) > MAX_UNCLAIMED:
            raise ProtocolError(f"the kernel sent {len(self._fds)} descriptors that no reply names")
        outcomes: list[Answer | Event] = []
        try:
            self._session.feed(data)
            while (message := self._session.next()) is not None:
                outcomes.append(message if isinstance(message, Event) else self._answer(message))
        except ProtocolError:
            for outcome in outcomes:
                if isinstance(outcome, Answer):
                    outcome.close_fds()
            raise
        return outcomes

    def close(self) -> None:
        """Close the descriptors that no reply claimed."""
        close_all(self._fds)
        self._fds.clear()

    def _answer(self, message: Message) -> Answer:
        if message.error is not None:
            return Answer(message.id, error=message.error)
        if len(message.fds) > len(self._fds):
            raise ProtocolError(f"a reply names {len(message.fds)} descriptors, {len(self._fds)} came")
        fds = {name: self._fds.popleft() for name in message.fds}
        return Answer(message.id, Reply(message.ok, message.body, fds))
