"""Hooks with which uWSGI instances are replaced without losing a request.

`children_started` (after_spawn) lets circusd go on once every worker of the new instance accepts requests at the
right socket; the old instance is ended only after that, and `clean_stop` (before_signal) lets it answer what it has
accepted before it gets its stop signal. `extended_stats` adds the instance's own figures to `circusctl stats`.

All of it comes from uWSGI's stats server, whose address is the ``--stats`` in the watcher's ``cmd``; where that names
none, it is port ``stats_base_port`` (8090, an option of the watcher) plus the slot's number.
"""

import contextlib
import json
import os
import re
import signal
import socket
import time

#: How long an application may take to be imported; circusd gives a hook 60 s.
START_LIMIT_S = 50.0

#: Between two looks at the stats server.
LOOK_S = 0.05

#: A paused instance has nothing left when its counters stand still for this long: threads of it may still accept.
QUIET_S = 0.1

#: The stats server answers from the master's loop, which looks once a second while it forks.
ANSWER_LIMIT_S = 3.0


def children_started(watcher, pid, **_):
    """True once the instance serves; False when it ended, or does not come to serve in time."""
    address = stats_address(watcher, pid)
    paths = {sock.path for sock in watcher.sockets.values() if getattr(sock, "path", None)}
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if not is_alive(pid):
            return False
        stats = read_stats(address)
        if stats is not None and stats["pid"] == pid and serves(stats, paths):
            return True
        time.sleep(LOOK_S)
    return False


def clean_stop(watcher, pid, signum, **_):
    """Before the stop signal: pause the instance and wait until it has answered what it took. Never refuses."""
    if signum != watcher.stop_signal:
        return True
    address = stats_address(watcher, pid)
    stats = read_stats(address)
    if stats is None or stats["pid"] != pid:
        return True  # it does not serve, or not yet
    watcher.send_signal(pid, signal.SIGTSTP)
    deadline = time.monotonic() + watcher.graceful_timeout
    answered, since = None, time.monotonic()
    while time.monotonic() < deadline and is_alive(pid):
        stats = read_stats(address)
        if stats is None:
            return True
        now = [worker["requests"] for worker in stats["workers"]]
        if now != answered or not is_paused(stats):
            answered, since = now, time.monotonic()
        elif time.monotonic() - since >= QUIET_S:
            return True
        time.sleep(LOOK_S)
    return True


def extended_stats(watcher, pid, stats, **_):
    """Adds ``uwsgi``: what waits in the queue of the socket, and what each worker has done."""
    found = read_stats(stats_address(watcher, pid))
    if found is not None and found["pid"] == pid:
        stats["uwsgi"] = {
            "listen_queue": found["listen_queue"],
            "load": found["load"],
            "workers": {
                str(worker["id"]): {
                    key: worker[key] for key in ("pid", "status", "requests", "exceptions", "avg_rt", "respawn_count")
                }
                for worker in found["workers"]
            },
        }
    return True


def stats_address(watcher, pid):
    """Where the instance's stats server listens: a path, or host and port."""
    process = watcher.processes.get(pid)
    wid = str(process.wid) if process else ""
    found = re.search(r"--stats[ =](\S+)", watcher.cmd)
    if not found:
        return "127.0.0.1", int(watcher._options.get("stats_base_port", 8090)) + int(wid or 0)
    text = re.sub(r"\$\(circus\.wid\)|\(\(circus\.wid\)\)", wid, found[1], flags=re.IGNORECASE)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        return text
    return host or "127.0.0.1", int(port) % 65536  # uWSGI counts like this: slot 10 of 809$(circus.wid) is 15374


def read_stats(address):
    """What the stats server says; None when nobody answers."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(ANSWER_LIMIT_S)
        with contextlib.suppress(OSError, ValueError):
            connection.connect(address)
            return json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
    return None


def serves(stats, paths):
    """Whether every worker accepts, has its application, and listens at the socket that it was given."""
    # An instance that did not inherit its descriptor opens a socket of its own, and looks healthy.
    if paths and not any(sock["name"] in paths for sock in stats["sockets"]):
        return False
    called = [worker for worker in stats["workers"] if worker["status"] != "cheap"]  # the others wait to be needed
    return bool(called) and all(
        worker["status"] in ("idle", "busy") and worker["accepting"] and worker["apps"] for worker in called
    )


def is_paused(stats):
    return all(
        worker["status"] in ("pause", "cheap") and not any(core["in_request"] for core in worker["cores"])
        for worker in stats["workers"]
    )


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs as another user
    return True
