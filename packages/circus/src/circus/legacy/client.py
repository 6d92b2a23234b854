"""The ancestors' client: messages to a circusd, and their replies."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any

from circus.errors import CircusError
from circus.legacy.exc import CallError
from circus.legacy.util import DEFAULT_ENDPOINT_DEALER
from circus.legacy.ways import Way


def make_message(command: str, **props: Any) -> dict[str, Any]:
    return {"command": command, "properties": props or {}}


def cast_message(command: str, **props: Any) -> dict[str, Any]:
    return {"msg_type": "cast", **make_message(command, **props)}


def make_json(command: str, **props: Any) -> str:
    return json.dumps(make_message(command, **props))


class _Asking:
    """``context`` and ``ssh_keyfile`` are the ancestors', and have no effect."""

    def __init__(
        self,
        context: object = None,
        endpoint: str = DEFAULT_ENDPOINT_DEALER,
        timeout: float = 5.0,
        ssh_server: str | None = None,
        ssh_keyfile: str | None = None,
    ) -> None:
        del context, ssh_keyfile
        if ssh_server is not None:
            raise CallError("there is no tunnel in the client: run it on that host, as `ssh HOST circusctl ...`")
        self.endpoint = endpoint
        self.timeout = timeout
        try:
            self._way = Way(endpoint, timeout_s=timeout)
        except CircusError as error:
            raise CallError(str(error)) from None


class CircusClient(_Asking):
    """Asks the circusd that ``endpoint`` names: its name, the path of its control socket, or the ``endpoint`` of its
    configuration (by ZMQ where it has no control socket here). Every call has a connection of its own, so that one
    client may be used by many threads.
    """

    def call(self, cmd: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a message. It gets an ``id``.

        Raises: CallError when there is none.
        """
        try:
            return self._way.ask(_checked(cmd))
        except CircusError as error:
            raise CallError(str(error)) from None

    def send_message(self, command: str, **props: Any) -> dict[str, Any]:
        return self.call(make_message(command, **props))

    def stop(self) -> None:
        """Nothing is open between two calls."""


class AsyncCircusClient(_Asking):
    """As CircusClient, with coroutines: of asyncio, and therefore of tornado. Many calls may be under way at once."""

    async def call(self, cmd: Mapping[str, Any]) -> dict[str, Any]:
        """As CircusClient.call. Who does not wait any longer takes no order back."""
        try:
            return await self._way.ask_async(_checked(cmd))
        except CircusError as error:
            raise CallError(str(error)) from None

    async def send_message(self, command: str, **props: Any) -> dict[str, Any]:
        return await self.call(make_message(command, **props))

    def stop(self) -> _Done:
        """Nothing is open between two calls; may be awaited."""
        return _Done()


class _Done:
    def __await__(self) -> Generator[None, None, None]:
        yield from ()


def _checked(cmd: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(cmd, str):
        raise DeprecationWarning("call() takes a message, such as make_message() makes, and no text")
    return cmd
