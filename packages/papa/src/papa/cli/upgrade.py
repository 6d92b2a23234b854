"""`papa upgrade`: the running kernel proves the code on disk in a child, then executes it in place."""

from __future__ import annotations

import argparse
import json
import time

from papa.client.blocking import Connection
from papa.errors import PapaError

#: The pre-flight is a cold start of Python on a machine that may be busy; the kernel itself gives up sooner.
PREFLIGHT_S = 40.0

#: From the reply to the exec: what is being sent to others is sent first.
LEAVE_S = 10.0


def run(args: argparse.Namespace) -> int:
    """Ask for it, and wait until the new code serves."""
    with Connection(args.endpoint, client="papa upgrade", autostart=False) as connection:
        before = connection.hello
        connection.request("upgrade", timeout_s=PREFLIGHT_S, check=args.check)
        if args.check:
            _say(args, {"can_upgrade": True}, "the code on disk can take over")
            return 0
        _wait_until_gone(connection)
    with Connection(args.endpoint, client="papa upgrade", autostart=False) as connection:
        after = connection.hello
    facts = {"pid": after["pid"], "from": before["papa"], "to": after["papa"]}
    _say(args, facts, f"kernel {facts['pid']} went on as papa {facts['to']} (was {facts['from']})")
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
