"""The ancestors' client: messages to a circusd, and their replies."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from circus.control import endpoints
from circus.control.client import Client
from circus.errors import CircusError
from circus.legacy.commands import Commands
from circus.legacy.exc import CallError
from circus.legacy.util import DEFAULT_ENDPOINT_DEALER


def make_message(command: str, **props: Any) -> dict[str, Any]:
    return {"command": command, "properties": props or {}}


def cast_message(command: str, **props: Any) -> dict[str, Any]:
    return {"msg_type": "cast", **make_message(command, **props)}


def make_json(command: str, **props: Any) -> str:
    return json.dumps(make_message(command, **props))


class CircusClient:
    """Asks the circusd that ``endpoint`` names: its name, the path of its control socket, or the ``endpoint`` of its
    configuration. Every call has a connection of its own, so that one client may be used by many threads.
    """

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
            self._commands = Commands(Client(endpoints.resolve(endpoint), timeout_s=timeout))
        except CircusError as error:
            raise CallError(str(error)) from None

    def call(self, cmd: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a message. It gets an ``id``.

        Raises: CallError when there is none.
        """
        if isinstance(cmd, str):
            raise DeprecationWarning("call() takes a message, such as make_message() makes, and no text")
        message = dict(cmd)
        message["id"] = uuid.uuid4().hex
        try:
            return self._commands.perform(message)[0]
        except CircusError as error:
            raise CallError(str(error)) from None

    def send_message(self, command: str, **props: Any) -> dict[str, Any]:
        return self.call(make_message(command, **props))

    def stop(self) -> None:
        """Nothing is open between two calls."""
