"""`papa upgrade`: the running kernel goes on as this papa, under this Python.

It proves them in a child first, then executes them in place. So whoever installed another release, or another Python
with papa in it, says it with that one.
"""

from __future__ import annotations

import argparse
import json
import sys

from papa import __version__, places
from papa.client import launch
from papa.client.blocking import Connection
from papa.errors import PapaError

#: Two cold starts of Python on a machine that may be busy; the kernel itself gives the first one up sooner.
UPGRADE_S = 40.0


def run(args: argparse.Namespace) -> int:
    """Ask for it, and wait until the new code serves."""
    with Connection(args.endpoint, client="papa upgrade", autostart=False) as connection:
        before = connection.request("status").ok
        try:
            connection.request(
                "upgrade",
                timeout_s=UPGRADE_S,
                check=args.check,
                python=sys.executable,
                folder=places.source(),
                setproctitle=launch.find_setproctitle(),
            )
        except PapaError as error:
            # A release that takes no connections over serves by now, or one that failed has ended.
            if error.code != "lost" or args.check:
                raise
        if args.check:
            _say(args, {"can_upgrade": True}, f"papa {__version__} under {sys.executable} can take over")
            return 0
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


def _say(args: argparse.Namespace, facts: dict[str, object], text: str) -> None:
    print(json.dumps(facts) if args.json else text)
