"""`papa serve`: start a kernel, and stay for as long as it lives.

The holder is started as this command's own child, in a session of its own, and nothing is forwarded: a signal
that ends this command (Ctrl-C, a service manager's TERM) ends neither holder nor kernel, which must outlive whoever
started them. `papa exit` ends them, and then this command ends with them.

As the first process of a container nothing outlives it: there it reaps whomever it is left with, stays as long as
there is a kernel, and TERM or INT make it end the kernel, in good order, whatever that hosts.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time

from papa import places
from papa.client import launch
from papa.client.blocking import Connection
from papa.errors import PapaError

#: How long a new kernel may take until it serves.
START_S = 10.0

#: How long the lock may be somebody's who only looks whether a kernel lives, as `papa status` does.
LOOKERS_S = 1.0

#: Between two attempts to get it.
ATTEMPT_S = 0.01

#: Between two looks at the log that is shown.
LOOK_S = 0.2

#: What the first process of a container is told by whoever ends it.
ENDING = (signal.SIGTERM, signal.SIGINT)


def run(args: argparse.Namespace) -> int:
    """Start it; with --daemonize return at once, else stay."""
    instance = places.resolve(args.endpoint)
    is_first = os.getpid() == 1
    if is_first:
        # Before there is a child: none of its ends may be missed.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *ENDING})
    lock = _lock(instance)
    log_start = _size(instance.log_path)
    try:
        holder = launch.start_holder(instance, lock, title="papa serve", detach=args.daemonize and not is_first)
    finally:
        os.close(lock)
    if args.daemonize and not is_first:
        holder.wait()
        _wait_until_serving(args.endpoint)
        return 0
    try:
        _wait_until_serving(args.endpoint)
        print(f"papa serves {instance.name} in {instance.directory}", flush=True)
        log = instance.log_path if args.debug else None
        return _be_first(args.endpoint, log, log_start) if is_first else _stay(holder, log, log_start)
    except KeyboardInterrupt:
        print("\nthe kernel goes on; `papa exit` ends it", file=sys.stderr)
        return 130


def _lock(instance: places.Instance) -> int:
    """Raises: PapaError busy."""
    deadline = time.monotonic() + LOOKERS_S
    while (lock := launch.try_lock(instance, make=True)) is None:
        if time.monotonic() >= deadline:
            raise PapaError(f"a kernel lives in {instance.directory} already", code="busy", hint="see papa status")
        time.sleep(ATTEMPT_S)
    return lock


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


def _be_first(endpoint: str | int | None, log: str | None, position: int) -> int:
    """Reap, and wait for the last kernel: one whose holder was killed has another holder."""
    instance = places.resolve(endpoint)
    while True:
        if log is None:
            number = signal.sigwait({signal.SIGCHLD, *ENDING})
        else:
            got = signal.sigtimedwait({signal.SIGCHLD, *ENDING}, LOOK_S)
            number = signal.SIGCHLD if got is None else signal.Signals(got.si_signo)
            position = _show(log, position)
        if number in ENDING:
            print(f"papa: {signal.Signals(number).name}: the kernel is ended, and what it hosts with the container")
            try:
                with Connection(endpoint, client="papa serve", autostart=False, timeout_s=START_S) as connection:
                    connection.request("exit", force=True)
            except PapaError as error:
                print(f"papa: {error}", file=sys.stderr)
                return 1
        if _reap_all() and not _lives(instance):
            return 0


def _reap_all() -> bool:
    """Whether there was anybody."""
    count = 0
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            count += 1
    except ChildProcessError:
        pass
    return count > 0


def _lives(instance: places.Instance) -> bool:
    """Whether a kernel or its holder has the lock."""
    if not os.path.isdir(instance.directory):
        return False
    lock = launch.try_lock(instance, make=False)
    if lock is not None:
        os.close(lock)
    return lock is None


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
