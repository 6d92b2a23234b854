"""`papa exit`: the kernel leaves if it is idle, or, with --force, whatever it hosts."""

from __future__ import annotations

import argparse
import json
import os
import time

from papa import places
from papa.client import launch
from papa.client.blocking import Connection
from papa.errors import PapaError

#: The kernel closes its files and the holder sees its end: milliseconds.
LEAVE_S = 10.0
LOOK_S = 0.01


def run(args: argparse.Namespace) -> int:
    """Ask for it, and wait until kernel and holder are gone."""
    with Connection(args.endpoint, client="papa exit", autostart=False) as connection:
        pid = connection.hello["pid"]
        answer = connection.request("exit", force=args.force).ok
    _wait_until_gone(places.resolve(args.endpoint))
    if args.json:
        print(json.dumps({"pid": pid, **answer}))
    else:
        print(f"kernel {pid} left")
        if answer.get("hint"):
            print(f"  {answer['hint']}")
    return 0


def _wait_until_gone(instance: places.Instance) -> None:
    """Holder and kernel hold the lock to their end."""
    deadline = time.monotonic() + LEAVE_S
    while os.path.isdir(instance.directory):
        lock = launch.try_lock(instance, make=False)
        if lock is not None:
            os.close(lock)
            return
        if time.monotonic() > deadline:
            raise PapaError(f"the kernel in {instance.directory} did not leave", code="timeout")
        time.sleep(LOOK_S)
