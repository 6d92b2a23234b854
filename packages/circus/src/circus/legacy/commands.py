"""Answers the ancestors' messages by asking a circusd: the door in front of `messages`.

``caller`` is a way to the control API: the client of its socket, or whatever answers as that does.
"""

from __future__ import annotations

import json
import time
from typing import Any, Protocol

from circus.errors import CircusError
from circus.legacy.messages import MESSAGE_ERROR, NOT_JSON, Ask, Program, Refused, program_of, refusal_of


class Caller(Protocol):
    """Raises: CircusError."""

    def get(self, target: str) -> dict[str, Any]: ...
    def post(self, target: str, body: dict[str, object]) -> dict[str, Any]: ...


class AsyncCaller(Protocol):
    """Raises: CircusError."""

    async def ask(self, asked: Ask, /) -> dict[str, Any]: ...


_HALF = Refused(MESSAGE_ERROR, "message invalid: it has half of a character")

#: Without an answer there is no reply.
_UNANSWERED = ("timeout", "unreachable")


class Commands:
    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def answer_bytes(self, data: bytes) -> bytes | None:
        """As ``answer``, for a message as it comes over a wire."""
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            return json.dumps(error_reply(None, Refused(NOT_JSON, "json invalid"))).encode()
        reply = self.answer(message)
        return None if reply is None else json.dumps(reply).encode()

    def answer(self, message: object) -> dict[str, Any] | None:
        """The reply; None for a cast, whose sender does not wait for one.

        Raises: CircusError timeout or unreachable, when there was no answer.
        """
        reply, is_awaited = self.perform(message)
        return reply if is_awaited else None

    def perform(self, message: object) -> tuple[dict[str, Any], bool]:
        """The reply, and whether its sender waits for it."""
        is_awaited = _is_awaited(message)
        try:
            fields = self._run(program_of(message))
        except Refused as refused:
            return error_reply(_number(message), refused), is_awaited
        except UnicodeError:
            return error_reply(_number(message), _HALF), is_awaited
        except CircusError as error:
            if error.code in _UNANSWERED:
                raise
            return error_reply(_number(message), refusal_of(error, message)), is_awaited
        return _reply(message, fields), is_awaited

    def _run(self, program: Program) -> dict[str, Any]:
        try:
            asked = next(program)
            while True:
                asked = program.send(self._ask(asked))
        except StopIteration as end:
            fields: dict[str, Any] = end.value
            return fields

    def _ask(self, asked: Ask) -> dict[str, Any]:
        return self._caller.get(asked.target) if asked.body is None else self._caller.post(asked.target, asked.body)


class AsyncCommands:
    """As Commands, for a caller in the same loop, which always answers."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    async def answer(self, message: object) -> dict[str, Any] | None:
        """The reply; None for a cast."""
        try:
            fields = await self._run(program_of(message))
        except Refused as refused:
            return refusal(message, refused)
        except UnicodeError:
            return refusal(message, _HALF)
        except CircusError as error:
            return refusal(message, refusal_of(error, message))
        return _reply(message, fields) if _is_awaited(message) else None

    async def _run(self, program: Program) -> dict[str, Any]:
        try:
            asked = next(program)
            while True:
                asked = program.send(await self._caller.ask(asked))
        except StopIteration as end:
            fields: dict[str, Any] = end.value
            return fields


def refusal(message: object, refused: Refused) -> dict[str, Any] | None:
    """None for a cast."""
    return error_reply(_number(message), refused) if _is_awaited(message) else None


def _number(message: object) -> object:
    return message.get("id") if isinstance(message, dict) else None


def _is_awaited(message: object) -> bool:
    return not isinstance(message, dict) or message.get("msg_type") != "cast"


def _reply(message: object, fields: dict[str, Any]) -> dict[str, Any]:
    return {"status": "ok", "time": time.time(), **fields, "id": _number(message)}


def error_reply(number: object, refused: Refused) -> dict[str, Any]:
    return {
        "status": "error",
        "reason": refused.reason,
        "tb": None,
        "time": time.time(),
        "errno": refused.errno,
        "id": number,
    }
