"""The ancestors' subscriber: events as pairs of topic and message."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Self

from circus.control import endpoints
from circus.control.client import Client
from circus.control.listening import Listening
from circus.errors import AWAY, CircusError
from circus.legacy import zmq_feed
from circus.legacy.exc import CallError
from circus.legacy.util import DEFAULT_ENDPOINT_SUB

#: Between two looks for a circusd that is away.
RETRY_S = 0.5


class CircusConsumer:
    """Iterates over (topic, message), both bytes, for ever; a restart of circusd is waited for.

    ``endpoint`` is what circusctl takes, or the ``pubsub_endpoint`` of a circusd (by ZMQ); the ancestors' default means
    the default circusd. An empty topic is all.
    """

    def __init__(
        self,
        topics: Sequence[str],
        context: object = None,
        endpoint: str = DEFAULT_ENDPOINT_SUB,
        ssh_server: str | None = None,
        timeout: float = 1.0,
    ) -> None:
        del context, timeout
        if ssh_server is not None:
            raise CallError("there is no tunnel in the client: run it on that host, as `ssh HOST circusctl ...`")
        self.topics = topics
        self._listening: Listening | None = None
        self._subscription: zmq_feed.Subscription | None = None
        self._endpoint = endpoint
        try:
            self._client = Client(endpoints.resolve("" if endpoint == DEFAULT_ENDPOINT_SUB else endpoint))
            if zmq_feed.is_wanted(endpoint, self._client.path):
                self._subscription = zmq_feed.Subscription(endpoint, topics)
        except CircusError as error:
            raise CallError(str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return self.iter_messages()

    def iter_messages(self) -> Iterator[tuple[bytes, bytes]]:
        if self._subscription is not None:
            yield from self._subscription.read_while_wanted(self._endpoint, self._client.path)
        last_id = ""
        while True:
            try:
                self._listening = Listening(self._client, self.topics, last_id=last_id)
                while True:
                    for event in self._listening.read():
                        if "topic" in event:
                            yield event["topic"].encode(), json.dumps(event["message"]).encode()
            except CircusError as error:
                if error.code not in AWAY:
                    raise CallError(str(error)) from None
            finally:
                last_id = self._listening.last_id if self._listening is not None else last_id
                self._hang_up()
            time.sleep(RETRY_S)

    def stop(self) -> None:
        self._hang_up()
        if self._subscription is not None:
            self._subscription.close()

    def _hang_up(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
