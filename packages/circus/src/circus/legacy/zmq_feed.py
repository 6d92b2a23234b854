"""What comes from an endpoint of the ancestors to which one subscribes: pairs of a topic and a message.

Nothing is known of what was missed: what is published while nobody is connected is lost. A circusd that goes and comes
is found again by ZMQ.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Self

from circus.legacy import zmq_client

#: Between two looks for a control socket while nothing comes.
LOOK_S = 0.5


def is_wanted(endpoint: str, path: str) -> bool:
    """Nobody has made the control socket ``path``, and ``endpoint`` may be one of the ancestors."""
    return zmq_client.speaks(endpoint) and not os.path.exists(path) and zmq_client.is_there()


class Subscription:
    """To the topics that begin so. Raises: CircusError usage, without pyzmq, or for what is no endpoint."""

    def __init__(self, endpoint: str, topics: Iterable[str]) -> None:
        zmq = zmq_client.library()
        self._context = zmq.Context()
        self._sock = self._context.socket(zmq.SUB)
        try:
            for topic in topics:
                self._sock.subscribe(topic)
            zmq_client.connect(self._sock, endpoint)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, timeout_s: float) -> tuple[bytes, bytes] | None:
        """The next one; None when there is none in time."""
        while self._sock.poll(timeout_s * 1000):
            topic, *rest = self._sock.recv_multipart()
            if rest:
                return topic, rest[0]
        return None

    def read_while_wanted(self, endpoint: str, path: str) -> Iterator[tuple[bytes, bytes]]:
        """Until there is a control socket, by which more is known."""
        while (heard := self.read(LOOK_S)) or is_wanted(endpoint, path):
            if heard:
                yield heard

    def close(self) -> None:
        """Twice is once."""
        self._sock.close()
        self._context.term()
