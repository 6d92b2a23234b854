"""HTTP + JSON over the operations: one route per command, one form of error. Translates, decides nothing.

An order is a POST with a JSON object of type application/json, which no web page can send unasked; an empty
body stands for ``{}``. An answer is a JSON object; an error is ``{"error": {"code", "message", "hint"}}``
under the HTTP status that circus.errors gives its code, whether the path, the body or the operation was
wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from circus.control import schema
from circus.control.ops import Ops
from circus.errors import TABLE, CircusError

log = logging.getLogger("circus.control")

#: A thousand watcher names fit.
MAX_BODY = 64 * 1024

_Asked = TypeVar("_Asked", bound=msgspec.Struct)
_Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(ops: Ops) -> Starlette:
    """The ASGI application in front of ``ops``. It has no lifespan; start it as it is."""
    orders = {"start": ops.start, "stop": ops.stop, "restart": ops.restart}

    def query(path: str, asked: Callable[[Request], Awaitable[msgspec.Struct]]) -> Route:
        async def endpoint(request: Request) -> Response:
            return _reply(await asked(request))

        return Route(path, endpoint, methods=["GET"])

    def order(
        path: str, asked: type[_Asked], operation: Callable[[Request, _Asked], Awaitable[msgspec.Struct]]
    ) -> Route:
        async def endpoint(request: Request) -> Response:
            return _reply(await operation(request, await _read(request, asked)))

        return Route(path, endpoint, methods=["POST"])

    def ordered(
        verb: str, asked: type[_Asked], operation: Callable[[_Asked], Awaitable[msgspec.Struct]]
    ) -> list[Route]:
        """The order to all or to the names in the body, and to the one (or pattern) in the path."""

        async def of_all(_request: Request, body: _Asked) -> msgspec.Struct:
            return await operation(body)

        async def of_one(request: Request, body: _Asked) -> msgspec.Struct:
            if getattr(body, "names", None) is not None:
                raise CircusError("bad-request", "names stand both in the path and in the body", "give one of them")
            return await operation(msgspec.structs.replace(body, names=[_name(request)]))

        return [
            order(f"/v1/{verb}", asked, of_all),
            order(f"/v1/watchers/{{name:path}}/{verb}", asked, of_one),
        ]

    async def events(request: Request) -> Response:
        return _events(ops, request)

    # The routes of a single watcher by its bare name come last: a name may contain slashes.
    routes = [
        query("/v1/version", lambda _request: ops.version()),
        query("/v1/status", lambda _request: ops.status()),
        query("/v1/status/{name:path}", lambda request: ops.status_of(_name(request))),
        query("/v1/logs", lambda _request: ops.logs()),
        query("/v1/options", lambda _request: ops.global_options()),
        query("/v1/dstats", lambda _request: ops.daemon_stats()),
        query("/v1/sockets", lambda _request: ops.sockets()),
        Route("/v1/events", events, methods=["GET"]),
        query("/v1/stats", lambda request: ops.stats(*_stats_query(request))),
        *(route for verb, operation in orders.items() for route in ordered(verb, schema.OrderRequest, operation)),
        *ordered("reload", schema.ReloadRequest, ops.reload),
        *ordered("forget", schema.ForgetRequest, ops.forget),
        order("/v1/reloadconfig", schema.ReloadConfigRequest, lambda _request, body: ops.reloadconfig(body)),
        order("/v1/quit", schema.Request, lambda _request, body: ops.quit(body)),
        order("/v1/shutdown", schema.Request, lambda _request, body: ops.shutdown(body)),
        order(
            "/v1/watchers/{name:path}/count",
            schema.CountRequest,
            lambda request, body: ops.count(_name(request), body),
        ),
        order("/v1/watchers/{name:path}/run", schema.Request, lambda request, body: ops.run(_name(request), body)),
        order(
            "/v1/watchers/{name:path}/signal",
            schema.SignalRequest,
            lambda request, body: ops.signal(_name(request), body),
        ),
        order(
            "/v1/watchers/{name:path}/add",
            schema.AddRequest,
            lambda request, body: ops.add(_name(request), body),
        ),
        order(
            "/v1/watchers/{name:path}/remove",
            schema.RemoveRequest,
            lambda request, body: ops.remove(_name(request), body),
        ),
        order(
            "/v1/watchers/{name:path}/kill",
            schema.KillRequest,
            lambda request, body: ops.kill(_name(request), body),
        ),
        order(
            "/v1/watchers/{name:path}/set",
            schema.SetRequest,
            lambda request, body: ops.set_options(_name(request), body),
        ),
        query("/v1/watchers", lambda _request: ops.watchers()),
        query("/v1/watchers/{name:path}/options", lambda request: ops.options(_name(request))),
        query("/v1/watchers/{name:path}/runs", lambda request: ops.runs(_name(request))),
        query("/v1/watchers/{name:path}/exits", lambda request: ops.exits(_name(request))),
        query("/v1/watchers/{name:path}", lambda request: ops.pids(_name(request))),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(_LastResort)],
        exception_handlers={HTTPException: _on_error, CircusError: _on_error},
    )


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
            await error_response(error)(scope, receive, send)


def error_response(error: CircusError, *, closes: bool = False) -> Response:
    """``closes`` ends the connection, because the rest of the request was not read."""
    answer = schema.ErrorAnswer(schema.ErrorBody(error.code, error.message, error.hint))
    return Response(
        msgspec.json.encode(answer),
        status_code=error.http_status,
        media_type="application/json",
        headers={"connection": "close"} if closes else None,
    )


async def _on_error(request: Request, error: Exception) -> Response:
    """Maps starlette's own refusals onto our codes."""
    if isinstance(error, HTTPException):
        if error.status_code == TABLE["not-found"][0]:
            return error_response(
                CircusError("not-found", f"there is no {request.url.path}", "the paths begin with /v1/")
            )
        allowed = (error.headers or {}).get("Allow", "")
        error = CircusError(
            "bad-request",
            f"{request.method} is not answered at {request.url.path}",
            f"use {allowed}" if allowed else "",
        )
    assert isinstance(error, CircusError)
    return error_response(error, closes=isinstance(error, _BodyRefused))


class _BodyRefused(CircusError):
    """The body was not read to its end."""


async def _read(request: Request, asked: type[_Asked]) -> _Asked:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _BodyRefused(
            "bad-request", f"the content type is {kind or 'missing'}", "send Content-Type: application/json"
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise _BodyRefused("bad-request", f"the body is larger than {MAX_BODY} bytes", "send several requests")
    try:
        return msgspec.json.decode(bytes(body) or b"{}", type=asked)
    except msgspec.ValidationError as error:
        what, _, field = str(error).partition(" - at `$.")
        message = f"{field.rstrip('`')}: {what[0].lower()}{what[1:]}" if field else str(error)
        raise CircusError(
            "bad-request", message, "give the fields as they are documented, within their bounds"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CircusError(
            "bad-request",
            f"the body is not understood: {error}",
            "send a JSON object with the documented fields",
        ) from None


def _reply(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    return name


def _events(ops: Ops, request: Request) -> Response:
    """Server-sent events: `topic` (any number of beginnings), `since`; the header Last-Event-ID goes on behind one."""
    params = request.query_params
    _check_parameters(request, ("topic", "since"))
    since = params.get("since")
    try:
        since_s = None if since is None else float(since)
    except ValueError:
        raise CircusError("bad-request", f"since is {str(since)[:40]!r}", "give seconds since 1970") from None
    heard = ops.listen(params.getlist("topic"), request.headers.get("last-event-id", ""), since_s)
    return StreamingResponse(heard, media_type="text/event-stream", headers={"cache-control": "no-store"})


def _check_parameters(request: Request, known: tuple[str, ...]) -> None:
    for key in request.query_params:
        if key not in known:
            raise CircusError("bad-request", f"unknown parameter {key!r}", f"use {', '.join(known)}")


def _stats_query(request: Request) -> tuple[str | None, int | None, bool]:
    _check_parameters(request, ("name", "pid", "extended"))
    params = request.query_params
    pid, extended = params.get("pid"), params.get("extended", "false").lower()
    if pid is not None and not (pid.isascii() and pid.isdigit() and len(pid) <= 10):
        raise CircusError("bad-request", f"{pid[:40]!r} is no pid", "give a number")
    if extended not in ("true", "false", "1", "0"):
        raise CircusError("bad-request", f"extended is {extended[:40]!r}", "use true or false")
    return params.get("name"), None if pid is None else int(pid), extended in ("true", "1")
