"""How a message gets to a circusd: by its control socket where there is one here, else by the ancestors' wire."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from circus.control import endpoints
from circus.control.client import Client
from circus.errors import CircusError
from circus.legacy import zmq_client
from circus.legacy.commands import Commands

T = TypeVar("T")


class Way:
    """To the circusd that ``endpoint`` names: its name, the path of its control socket, or the ``endpoint`` of its
    configuration, which may be that of an ancestor, and on another machine.

    Raises: CircusError usage, when it names none.
    """

    def __init__(self, endpoint: str, *, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._path = endpoints.resolve(endpoint)
        self._commands = Commands(Client(self._path, timeout_s=timeout_s))

    @property
    def is_wire(self) -> bool:
        """There is no control socket of that name, and the endpoint has the form of one of the ancestors."""
        return zmq_client.speaks(self._endpoint) and not os.path.exists(self._path) and zmq_client.is_there()

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to ``message``, which gets an ``id``.

        Raises: CircusError, when there is none.
        """
        numbered = _numbered(message)
        if self.is_wire:
            return zmq_client.exchange(self._endpoint, numbered, timeout_s=self._timeout_s) or _taken(numbered)
        return self._by_socket(numbered)

    async def ask_async(self, message: Mapping[str, Any]) -> dict[str, Any]:
        numbered = _numbered(message)
        if self.is_wire:
            reply = await zmq_client.exchange_async(self._endpoint, numbered, timeout_s=self._timeout_s)
            return reply or _taken(numbered)
        return await beside(lambda: self._by_socket(numbered))

    def _by_socket(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._commands.perform(message)[0]
        except CircusError as error:
            if error.code == "unreachable" and zmq_client.speaks(self._endpoint) and not zmq_client.is_there():
                hint = f"{error.hint}; one of another machine, or of the ancestors, is reached with pyzmq"
                raise CircusError(error.code, error.message, hint) from None
            raise


async def beside(work: Callable[[], T]) -> T:
    """What ``work`` returns, in a thread of its own: an order may take minutes, and others must not wait for it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def give(outcome: Callable[[], None]) -> None:
        if not answer.done():
            outcome()

    def run() -> None:
        outcome: Callable[[], None]
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            failure = error
            outcome = lambda: answer.set_exception(failure)  # noqa: E731
        else:
            outcome = lambda: answer.set_result(result)  # noqa: E731
        try:
            loop.call_soon_threadsafe(give, outcome)
        except RuntimeError:
            pass  # the loop has ended, and nobody waits

    threading.Thread(target=run, name="circus-client", daemon=True).start()
    return await answer


def _numbered(message: Mapping[str, Any]) -> dict[str, Any]:
    return {**message, "id": uuid.uuid4().hex}


def _taken(message: Mapping[str, Any]) -> dict[str, Any]:
    """In place of the reply to a cast, which has none."""
    return {"status": "ok", "time": time.time(), "id": message["id"]}
