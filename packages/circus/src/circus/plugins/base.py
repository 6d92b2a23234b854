"""The class that every plugin is made of, with the ancestors' names."""

from __future__ import annotations

import json
import logging
import signal
import time
from functools import partial
from typing import Any

from circus.control import endpoints
from circus.errors import CircusError
from circus.legacy import zmq_client, zmq_feed
from circus.legacy.client import CircusClient, cast_message, make_message
from circus.legacy.exc import CallError
from circus.legacy.util import to_bool
from circus.legacy.ways import Way
from circus.plugins.hearing import Ear
from circus.plugins.loop import Loop
from circus.plugins.wire import WireEar

log = logging.getLogger("circus.plugins")

#: A plugin that was told to end and does not come to its loop is ended without it, before circusd has to kill it.
LEAVE_S = 5


class CircusPlugin:
    """Override ``handle_recv``, and ``handle_init`` and ``handle_stop`` where there is something to begin or to end.

    All of them are called in one thread, from ``loop``, one after the other. ``config`` are the keys of the plugin's
    section, as text. An exception is logged, and the plugin goes on; one in ``handle_init`` ends it.
    """

    name = ""

    def __init__(
        self,
        endpoint: str,
        pubsub_endpoint: str | None,
        check_delay: float,
        ssh_server: str | None = None,
        **config: Any,
    ) -> None:
        self.endpoint = endpoint
        self.pubsub_endpoint = pubsub_endpoint
        self.check_delay = check_delay
        self.ssh_server = ssh_server
        self.config = config
        self.active = to_bool(config.get("active", True))
        self.running = False
        self.loop = Loop()
        self.client = CircusClient(endpoint=endpoint)
        self.started_at = time.time()
        self._ear: Ear | WireEar | None = None
        self._failure: BaseException | None = None

    # To override --------------------------------------------------------------------------------------------

    def handle_init(self) -> None:
        """The plugin begins; circusd answers, and no event is lost from now on."""

    def handle_stop(self) -> None:
        """The plugin ends."""

    def handle_recv(self, data: tuple[bytes, bytes]) -> Any:
        """An event: its topic and its message; see ``split_data`` and ``load_message``."""
        raise NotImplementedError

    def handle_gap(self, _missed: int | None) -> None:
        """Events were missed: so many, or, at another circusd, nobody knows how many."""

    # To use -------------------------------------------------------------------------------------------------

    def call(self, command: str, **props: Any) -> dict[str, Any]:
        """The reply of circusd to a command; an order is answered when it has begun, or at its end with
        ``waiting=True``.

        Raises: CallError when there is no answer.
        """
        return self.client.call(make_message(command, **props))

    def cast(self, command: str, **props: Any) -> None:
        """Give an order; what becomes of it is only logged."""
        try:
            reply = self.client.call(cast_message(command, **props))
        except CallError as error:
            log.warning("%s: %s", command, error)
            return
        if reply["status"] == "error":
            log.warning("%s %s: %s", command, props.get("name", ""), reply["reason"])

    @staticmethod
    def split_data(data: tuple[bytes, bytes]) -> tuple[str, str, bytes]:
        """Watcher (in lower case, `_` for spaces), event, message; the watcher's name may have dots."""
        topic, message = data
        watcher, _, event = topic.decode().partition(".")[2].rpartition(".")
        return watcher, event, message

    @staticmethod
    def load_message(msg: bytes | str) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(msg)
        return message

    # Life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Run until ``stop`` or a signal to end."""
        if not self.active:
            raise ValueError("the plugin is not active")
        try:
            self._ear = self._make_ear()
        except CircusError as error:
            raise CallError(str(error)) from None
        self.running = True
        before = {signum: signal.signal(signum, self._on_signal) for signum in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.loop.add_callback(self._ear.open)
            self.loop.start()
        finally:
            self.running = False
            self._ear.close()
            self.loop.close()
            for signum, handler in before.items():
                signal.signal(signum, handler)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """From any thread."""
        self.loop.add_callback(self._end)

    def _make_ear(self) -> Ear | WireEar:
        """By the control socket, which loses nothing; by ZMQ where there is none here.

        Raises: CircusError.
        """
        is_wanted = partial(zmq_feed.is_wanted, self.endpoint, endpoints.resolve(self.endpoint))
        if is_wanted():
            return WireEar(
                self.loop,
                self._find_feed,
                is_wanted=is_wanted,
                on_unwanted=self._hear_by_socket,
                on_failed=self._fail,
                on_open=self._begin,
                on_event=self._on_event,
            )
        return Ear(self.loop, self.endpoint, since=self.started_at, on_open=self._begin, on_event=self._on_event)

    def _hear_by_socket(self) -> None:
        assert self._ear is not None
        self._ear.close()
        self._ear = self._make_ear()
        self._ear.open()

    def _find_feed(self) -> str:
        """Raises: CircusError, when circusd does not answer, or does not say where its events are."""
        asked = Way(self.endpoint, timeout_s=self.client.timeout)
        told = asked.ask(make_message("globaloptions")).get("options", {}).get("pubsub_endpoint")
        found = self.pubsub_endpoint or told
        if not found:
            what = f"circusd at {self.endpoint} does not say where its events are"
            raise CircusError("unreachable", what, "name the place: --pubsub tcp://HOST:PORT")
        zmq_client.check_listened(str(found), self.client.timeout)
        return str(found)

    def _begin(self) -> None:
        try:
            self.handle_init()
        except Exception as error:  # noqa: BLE001 - raised again by start
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self.loop.stop()

    def _end(self) -> None:
        signal.alarm(0)
        try:
            self.handle_stop()
        except Exception:
            log.exception("handle_stop failed")
        self.loop.stop()

    def _on_signal(self, _signum: int, _frame: object) -> None:
        signal.alarm(LEAVE_S)
        self.loop.add_callback_from_signal(self._end)

    def _on_event(self, event: dict[str, Any]) -> None:
        if "missed" in event:
            log.warning("events were missed: %s", "unknown" if event["missed"] is None else event["missed"])
            self.loop.add_callback(self.handle_gap, event["missed"])
            return
        data = event["topic"].encode(), json.dumps(event["message"]).encode()
        self.loop.add_callback(self.handle_recv, data)
