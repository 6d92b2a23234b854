"""`papa upgrade`: the running kernel goes on as this papa, under this Python.

It proves them in a child first, then executes them in place. So whoever installed another release, or another Python
with papa in it, says it with that one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from papa import __version__, places
from papa.client import launch
from papa.client.blocking import Connection
from papa.errors import PapaError

#: The pre-flight is a cold start of Python on a machine that may be busy; the kernel itself gives up sooner.
PREFLIGHT_S = 40.0

#: From the reply to the exec: what is being sent to others is sent first.
LEAVE_S = 10.0


def run(args: argparse.Namespace) -> int:
    """Ask for it, and wait until the new code serves."""
    with Connection(args.endpoint, client="papa upgrade", autostart=False) as connection:
        before = connection.request("status").ok
        connection.request(
            "upgrade",
            timeout_s=PREFLIGHT_S,
            check=args.check,
            python=sys.executable,
            folder=places.source(),
            setproctitle=launch.find_setproctitle(),
        )
        if args.check:
            _say(args, {"can_upgrade": True}, f"papa {__version__} under {sys.executable} can take over")
            return 0
        _wait_until_gone(connection)
    with Connection(args.endpoint, client="papa upgrade", autostart=False) as connection:
        after = connection.request("status").ok
    if after["started_at"] == before["started_at"] or after["program"] != [sys.executable, places.source()]:
        raise PapaError(
            f"papa {__version__} did not come to serve: the old one went on as pid {after['pid']}",
            code="internal",
            hint="kernel.log says why",
        )
    facts = {"pid": after["pid"], "from": before["papa"], "to": after["papa"], "python": after.get("python")}
    _say(
        args,
        facts,
        f"kernel {after['pid']} went on as papa {after['papa']} under Python {after['python']} (was {before['papa']})",
    )
    return 0


def _wait_until_gone(connection: Connection) -> None:
    """The exec closes the connection. Raises: PapaError timeout if it does not come."""
    deadline = time.monotonic() + LEAVE_S
    try:
        while (left := deadline - time.monotonic()) > 0:
            connection.wait(left)
    except PapaError as error:
        if error.code == "lost":
            return
        raise
    raise PapaError("the kernel did not execute the new code", code="timeout", hint="kernel.log says why")


def _say(args: argparse.Namespace, facts: dict[str, object], text: str) -> None:
    print(json.dumps(facts) if args.json else text)
