"""The daemon's entry points under the names of papa 1.x, for programs that start their kernel themselves.

Only a door: the work is done by `papa.cli`. Who wants a kernel needs none of this, because ``papa.Papa()`` starts one.
"""

from __future__ import annotations

import argparse
import logging
import time

from papa.cli import main, serve
from papa.client.blocking import Connection
from papa.errors import PapaError

__all__ = ["daemonize_server", "main", "socket_server"]

#: Between two looks at who is connected.
LOOK_S = 0.1

#: How long a kernel of the single socket mode waits for a client; one that comes and goes between two looks is missed.
FIRST_CLIENT_S = 10.0

_log = logging.getLogger("papa.server")


def socket_server(port_or_path: str | int | None, single_socket_mode: bool = False) -> None:
    """Start a kernel and return when it has left; with ``single_socket_mode`` its last client takes it along.

    Raises: PapaError busy, when one lives there already.
    """
    if not single_socket_mode:
        serve.run(argparse.Namespace(endpoint=port_or_path, daemonize=False, debug=False))
        return
    daemonize_server(port_or_path)
    try:
        with Connection(port_or_path, client="papa.server", autostart=False) as connection:
            deadline = time.monotonic() + FIRST_CLIENT_S
            while (is_used := connection.request("status").ok["connections"] > 1) or time.monotonic() < deadline:
                if is_used:
                    deadline = 0.0
                time.sleep(LOOK_S)
            connection.request("exit", force=True)
            while connection.wait(None):
                pass
    except PapaError as error:
        if error.code != "lost":
            raise
    _log.info("the kernel of %s left", port_or_path)


def daemonize_server(port_or_path: str | int | None, fix_title: bool = False) -> None:  # noqa: ARG001
    """Start a kernel and return as soon as it serves. Its title is always set, if setproctitle is there.

    Raises: PapaError busy, when one lives there already.
    """
    serve.run(argparse.Namespace(endpoint=port_or_path, daemonize=True, debug=False))
    _log.info("a kernel serves %s", port_or_path)
