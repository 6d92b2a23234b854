"""`papa serve`: start a kernel, and stay for as long as it lives.

The holder is started as this command's own child, in a session of its own, and nothing is forwarded: a signal
that ends this command (Ctrl-C, a service manager's TERM) ends neither holder nor kernel, which must outlive whoever
started them. `papa exit` ends them, and then this command ends with them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from papa import places
from papa.client import launch
from papa.errors import PapaError

#: How long a new kernel may take until it serves.
START_S = 10.0

#: Between two looks at the log that is shown.
LOOK_S = 0.2


def run(args: argparse.Namespace) -> int:
    """Start it; with --daemonize return at once, else stay."""
    instance = places.resolve(args.endpoint)
    lock = launch.try_lock(instance, make=True)
    if lock is None:
        raise PapaError(f"a kernel lives in {instance.directory} already", code="busy", hint="see papa status")
    log_start = _size(instance.log_path)
    try:
        holder = launch.start_holder(instance, lock, title="papa serve", detach=args.daemonize)
    finally:
        os.close(lock)
    if args.daemonize:
        holder.wait()
        _wait_until_serving(args.endpoint)
        return 0
    try:
        _wait_until_serving(args.endpoint)
        print(f"papa serves {instance.name} in {instance.directory}", flush=True)
        return _stay(holder, instance.log_path if args.debug else None, log_start)
    except KeyboardInterrupt:
        print("\nthe kernel goes on; `papa exit` ends it", file=sys.stderr)
        return 130


def _wait_until_serving(endpoint: str | int | None) -> None:
    launch.open_connection(endpoint, autostart=False, timeout_s=START_S).close()


def _stay(holder: subprocess.Popen[bytes], log: str | None, position: int) -> int:
    """Wait for the end of the holder, and show what is new in ``log`` meanwhile."""
    if log is None:
        return _as_status(holder.wait())
    while True:
        status = holder.poll()
        position = _show(log, position)
        if status is not None:
            return _as_status(status)
        time.sleep(LOOK_S)


def _as_status(returncode: int) -> int:
    if returncode:
        print(f"papa: the holder ended with status {returncode}", file=sys.stderr)
    return 1 if returncode else 0


def _show(log: str, position: int) -> int:
    try:
        with open(log, "rb") as file:
            if os.fstat(file.fileno()).st_size < position:
                # Cut to its newer half.
                position = 0
            file.seek(position)
            sys.stderr.buffer.write(file.read())
            sys.stderr.flush()
            return file.tell()
    except FileNotFoundError:
        return 0


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
