"""What is asked, carried out: every door calls here, with a request over HTTP or without one.

Checked in this order: whether there is such an operation, whether the caller may, whether what he sends is understood.
"""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from circus.control import catalog, upgrades
from circus.control.auditing import Entry
from circus.control.caller import Caller
from circus.control.catalog import Answer, Call, Operation
from circus.control.operations import ENDINGS
from circus.control.ops import Ops
from circus.control.scrapes import Page
from circus.errors import CircusError

#: Orders that are taken while others are held.
UNHELD = ENDINGS | {upgrades.WHAT}

_PLACEHOLDERS = {"name": "(?P<name>.+)", "key": "(?P<key>[^/]+)"}


async def perform(
    ops: Ops,
    caller: Caller,
    operation: Operation,
    entry: Entry,
    *,
    path: Mapping[str, str],
    query: Mapping[str, Sequence[str]],
    body: bytes = b"",
    last_event_id: str = "",
    accept: str = "",
) -> Answer:
    """Raises: CircusError."""
    call = Call(
        path.get("name", ""),
        read_query(operation, query),
        read_body(operation, body),
        last_event_id,
        path.get("key", ""),
        accept,
    )
    entry.asked_with(call)
    return await operation.perform(ops.of(caller), call)


def check(caller: Caller, operation: Operation) -> None:
    """Raises: CircusError forbidden."""
    caller.check(operation.verb, whole=operation.whole)


def admitted(ops: Ops, operation: Operation) -> AbstractAsyncContextManager[None]:
    """Orders wait while circusd prepares to be replaced, except those that end it. Entering raises: TurnedAway."""
    is_held = operation.is_order and operation.id not in UNHELD
    return ops.upgrades.admission.passed() if is_held else nullcontext()


async def dispatch(
    ops: Ops, caller: Caller, method: str, target: str, body: Mapping[str, object] | None = None
) -> dict[str, Any] | AsyncIterator[bytes]:
    """As a request over HTTP, for doors inside of circusd; ``target`` is a path with its query.

    Raises: CircusError.
    """
    path, _, query = target.partition("?")
    path = unquote(path, errors="surrogateescape")
    with ops.auditing.begin(is_order=method not in ("GET", "HEAD")) as entry:
        entry.asked_by(caller)
        entry.asked_at(method, path)
        operation, found = find(method, path)
        entry.asked_for(operation, found)
        with ops.requests.counted(operation.id):
            check(caller, operation)
            data = _encoded(body)
            asked = parse_qs(query, keep_blank_values=True, errors="surrogateescape")
            async with admitted(ops, operation):
                answer = await perform(ops, caller, operation, entry, path=found, query=asked, body=data)
    if isinstance(answer, msgspec.Struct):
        told: dict[str, Any] = msgspec.to_builtins(answer)
        return told
    text = answer.data if isinstance(answer, Page) else answer
    return {"text": text.decode()} if isinstance(text, bytes) else text


def _encoded(body: Mapping[str, object] | None) -> bytes:
    try:
        return b"" if body is None else msgspec.json.encode(body)
    except (TypeError, ValueError) as error:
        raise CircusError("bad-request", f"the body is not understood: {error}", "send what JSON can say") from None


def find(method: str, path: str) -> tuple[Operation, dict[str, str]]:
    """The operation at ``path``, and what stands there for its placeholders.

    Raises: CircusError not-found, bad-request.
    """
    allowed: dict[str, None] = {}
    for operation, form in _forms():
        if match := form.fullmatch(path):
            if operation.method == method or (method == "HEAD" and operation.method == "GET"):
                return operation, match.groupdict()
            allowed[operation.method] = None
    if allowed:
        raise CircusError("bad-request", f"{method} is not answered at {path}", f"use {', '.join(allowed)}")
    raise CircusError("not-found", f"there is no {path}", "the paths begin with /v1/; /v1/openapi.json has them all")


@functools.cache
def _forms() -> tuple[tuple[Operation, re.Pattern[str]], ...]:
    return tuple((operation, _form(operation.path)) for operation in catalog.OPERATIONS)


def _form(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    return re.compile(
        "".join(_PLACEHOLDERS[part] if at % 2 else re.escape(part) for at, part in enumerate(parts)), re.DOTALL
    )


def read_query(operation: Operation, given: Mapping[str, Sequence[str]]) -> Any:
    """Raises: CircusError bad-request."""
    kind = operation.query
    known = _parameters(kind) if kind is not None else {}
    for key in given:
        if key not in known:
            hint = f"use {', '.join(known)}" if known else "give none"
            raise CircusError("bad-request", f"unknown parameter {key[:40]!r}", hint)
    if kind is None:
        return None
    values = {key: list(texts) if known[key] else texts[-1] for key, texts in given.items()}
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def read_body(operation: Operation, data: bytes) -> Any:
    """An empty body stands for an empty object.

    Raises: CircusError bad-request.
    """
    if operation.body is None:
        return None
    try:
        return msgspec.json.decode(data or b"{}", type=operation.body)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CircusError(
            "bad-request",
            f"the body is not understood: {error}",
            "send a JSON object with the documented fields",
        ) from None


def _invalid(error: msgspec.ValidationError) -> CircusError:
    what, _, field = str(error).partition(" - at `$.")
    message = f"{field.rstrip('`')}: {what[0].lower()}{what[1:]}" if field else str(error)
    return CircusError("bad-request", message, "give the fields as they are documented, within their bounds")


@functools.cache
def _parameters(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Its fields, and whether each may be given several times."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    return {each.encode_name: isinstance(each.type, msgspec.inspect.ListType) for each in info.fields}
