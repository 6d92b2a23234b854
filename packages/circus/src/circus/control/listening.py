"""Listens to the events of a circusd: one connection, from which nothing but events comes.

It blocks for who waits (`read`), and has a descriptor for who has a loop of his own (`fileno`, `receive`). It ends
when circusd leaves; `last_id` is where to go on at the next one, so that nothing is heard twice and nothing is lost
that is still known there.
"""

from __future__ import annotations

import json

from circus.control import sse
from circus.control.client import Client, receive
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_CHUNK = 64 * 1024


class Listening:
    """Events as mappings: topic, watcher, event, message and id; or missed and id, where there is a gap (a number, or
    None where it was another circusd).

    Raises: CircusError when circusd cannot be reached or refuses.
    """

    def __init__(
        self, client: Client, topics: Sequence[str] = (), *, last_id: str = "", since: float | None = None
    ) -> None:
        self._path = client.path
        self._sock, first = client.open_events(topics, last_id=last_id, since=since)
        self._parser = sse.Parser(last_id)
        self._heard = self._parse(first)

    @property
    def last_id(self) -> str:
        return self._parser.last_id

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def read(self) -> list[dict[str, Any]]:
        """The next events, at least one; waits for it.

        Raises: CircusError unreachable when circusd has left.
        """
        self._sock.setblocking(True)
        while not self._heard:
            self._heard = self._parse(self._receive())
        heard, self._heard = self._heard, []
        return heard

    def receive(self) -> list[dict[str, Any]]:
        """What has come, perhaps nothing; does not wait.

        Raises: CircusError unreachable when circusd has left.
        """
        self._sock.setblocking(False)
        heard, self._heard = self._heard, []
        return heard + self._parse(self._receive())

    def _receive(self) -> bytes:
        """Nothing, where nothing has come."""
        try:
            data = receive(self._sock, _CHUNK)
        except OSError as error:
            raise self._gone(error.strerror or str(error)) from None
        if data == b"":
            raise self._gone("it has left")
        return data or b""

    def _parse(self, data: bytes) -> list[dict[str, Any]]:
        try:
            return [{"id": said.last_id, **json.loads(said.data)} for said in self._parser.feed(data)]
        except (ValueError, TypeError) as error:
            raise self._gone(f"what it says is no event: {error}") from None

    def _gone(self, why: str) -> CircusError:
        return CircusError("unreachable", f"circusd at {self._path} says nothing more: {why}", "its log says why")
