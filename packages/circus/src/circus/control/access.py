"""Who may come in, and what every request must be: asked before anything of circusd hears of it.

At the unix socket who comes is known from the connection (`members`); here each request is looked at (`hygiene`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from circus.config.model import CircusConfig
from circus.control import auditing, hygiene
from circus.control.members import Members
from circus.control.routes import error_response
from circus.errors import CircusError

log = logging.getLogger("circus.control")


def is_open(config: CircusConfig) -> bool:
    """Whether others than circusd's own user and root may come to the control socket."""
    return bool(config.api_viewers or config.api_operators or config.api_admins)


def members_of(config: CircusConfig) -> Members:
    members = Members({"viewer": config.api_viewers, "operator": config.api_operators, "admin": config.api_admins})
    for name in members.unknown:
        log.warning("nobody is let in as %s: this system does not know it", name)
    return members


class Gate:
    """In front of the application at the unix socket; ``hosts`` as in hygiene."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            hygiene.check(
                scope["headers"], scope["query_string"], hosts=self._hosts, scheme=scope["scheme"], is_local=True
            )
        except CircusError as error:
            await refuse(error, scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def refuse(
    error: CircusError, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str] | None = None
) -> None:
    """The connection ends, as what else was sent is not read."""
    auditing.of_scope(scope).code = error.code
    await error_response(error, headers={"connection": "close", **(headers or {})})(scope, receive, send)
