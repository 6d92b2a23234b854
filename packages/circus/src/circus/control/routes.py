"""HTTP + JSON over the operations: a route for each row of `catalog`, one form of error. Translates, decides nothing.

An order is a POST with a JSON object of type application/json, which no web page can send unasked; an empty
body stands for ``{}``. An answer is a JSON object; an error is ``{"error": {"code", "message", "hint"}}``
under the HTTP status that circus.errors gives its code, whether the path, the body or the operation was
wrong.

Who asks stands in the connection's state, as `caller`; without one nothing is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circus.control import auditing, catalog, dispatch, schema
from circus.control.caller import Caller
from circus.control.catalog import JSON, Answer, Operation
from circus.control.ops import Ops
from circus.control.scrapes import Page
from circus.control.succession import AGAIN, TurnedAway
from circus.errors import TABLE, CircusError

log = logging.getLogger("circus.control")

#: A thousand watcher names fit.
MAX_BODY = 64 * 1024


def make_app(ops: Ops) -> Starlette:
    """The ASGI application in front of ``ops``. It has no lifespan; start it as it is."""
    app = Starlette(
        routes=[_route(ops, operation) for operation in catalog.OPERATIONS],
        middleware=[Middleware(_LastResort)],
        exception_handlers={HTTPException: _on_error, CircusError: _on_error},
    )
    app.router.redirect_slashes = False  # nobody would have been asked whether he may, and the trail would say: ok
    return app


def _route(ops: Ops, operation: Operation) -> Route:
    async def endpoint(request: Request) -> Response:
        entry = auditing.of_scope(request.scope)
        entry.asked_for(operation, request.path_params)
        caller = _caller(request)
        entry.asked_by(caller)
        with ops.requests.counted(operation.id):
            dispatch.check(caller, operation)
            params = request.query_params
            async with dispatch.admitted(ops, operation):
                asked = dispatch.perform(
                    ops,
                    caller,
                    operation,
                    entry,
                    path=request.path_params,
                    query={key: params.getlist(key) for key in params},
                    body=b"" if operation.body is None else await _read(request),
                    last_event_id=request.headers.get("last-event-id", "") if operation.resumes else "",
                    accept=request.headers.get("accept", "") if operation.media_too else "",
                )
                answer = await (_while_there(request, asked) if operation.may_wait else asked)
        if isinstance(answer, msgspec.Struct):
            return Response(msgspec.json.encode(answer), media_type=JSON)
        if isinstance(answer, Page):
            return Response(answer.data, media_type=answer.media)
        if isinstance(answer, bytes):
            return Response(answer, media_type=operation.media)
        media = operation.media_too or operation.media
        if request.method == "HEAD":  # of what has no end
            return Response(media_type=media)
        return StreamingResponse(answer, media_type=media, headers={"cache-control": "no-store"})

    return Route(operation.path.replace("{name}", "{name:path}"), endpoint, methods=[operation.method])


async def _while_there(request: Request, asked: Coroutine[Any, Any, Answer]) -> Answer:
    """Nothing is kept for a client that has gone: there is no end to how many may come and go."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    asking, going = asyncio.ensure_future(asked), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((asking, going), return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            raise ClientDisconnect
        return asking.result()
    finally:
        asking.cancel()
        going.cancel()


def _caller(request: Request) -> Caller:
    caller = request.scope.get("state", {}).get("caller")
    if not isinstance(caller, Caller):
        raise CircusError("forbidden", "nobody knows who asks", "connect to the control socket")
    return caller


class _LastResort:
    """Answers for what no operation meant to raise, and for who waits when circusd leaves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_on(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_on)
            return
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            error = CircusError(
                "unavailable", "circusd leaves before the operation has ended", "ask again when it is back"
            )
        except Exception:
            log.exception("a request failed method=%s path=%s", scope.get("method"), scope.get("path"))
            error = CircusError("internal", "circusd failed to answer", "its log has the traceback")
        if not has_begun:
            auditing.of_scope(scope).code = error.code
            await error_response(error)(scope, receive, send)


def error_response(error: CircusError, *, closes: bool = False, headers: Mapping[str, str] | None = None) -> Response:
    """``closes`` ends the connection, because the rest of the request was not read."""
    answer = schema.ErrorAnswer(schema.ErrorBody(error.code, error.message, error.hint))
    return Response(
        msgspec.json.encode(answer),
        status_code=error.http_status,
        media_type="application/json",
        headers={**({"connection": "close"} if closes else {}), **(headers or {})},
    )


async def _on_error(request: Request, error: Exception) -> Response:
    """Maps starlette's own refusals onto our codes."""
    if isinstance(error, CircusError):
        auditing.of_scope(request.scope).code = error.code
    if isinstance(error, HTTPException):
        if error.status_code == TABLE["not-found"][0]:
            return error_response(
                CircusError(
                    "not-found",
                    f"there is no {request.url.path}",
                    "the paths begin with /v1/; /v1/openapi.json has them all",
                )
            )
        allowed = (error.headers or {}).get("Allow", "")
        error = CircusError(
            "bad-request",
            f"{request.method} is not answered at {request.url.path}",
            f"use {allowed}" if allowed else "",
        )
    assert isinstance(error, CircusError)
    headers = AGAIN if isinstance(error, TurnedAway) else None
    return error_response(error, closes=isinstance(error, _BodyRefused | TurnedAway), headers=headers)


class _BodyRefused(CircusError):
    """The body was not read to its end."""


async def _read(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise _BodyRefused(
            "bad-request", f"the content type is {kind or 'missing'}", "send Content-Type: application/json"
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise _BodyRefused("bad-request", f"the body is larger than {MAX_BODY} bytes", "send several requests")
    return bytes(body)
