"""How long a start takes: from the request until the exec has succeeded, the kernel beside loops in C.

Each row has its own loop in C, run just before and just after the kernel's: fork and exec are as slow as the rest of
the machine lets them be. ``c_us`` is a start with the wait for its end, ``c_exec_us`` that without the wait. The
kernel is asked for all at once (``pipelined_us``; ``whole_us`` until it told of the last end) and for one after the
other (``single_us``); ratios are to ``c_us``. It hears of ends while it starts the next ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from bench import machine, tools
from bench.calls import counted
from bench.line import Line
from bench.peers import PEERS

DEFAULT_PEERS = ("papa",)
PROGRAM = "/bin/true"
SLEEPER = ["/bin/sleep", "100000"]

#: Of a user that owns nothing.
NOBODY = 65534

CAPTURED = {"stdout": "capture", "stderr": "null"}
NULL = {"stdout": "null", "stderr": "null"}
AS_USER = {"uid": NOBODY, "gid": NOBODY, "groups": [NOBODY]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=200, help="starts of each row")
    parser.add_argument("--live", default="1,10,100,1000", help="how many children sleep beside")
    parser.add_argument("--calls", action="store_true", help="count system calls (strace) instead of time")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    users = {"plain": {}, "as user": AS_USER} if os.geteuid() == 0 else {"plain": {}}
    for live in map(int, options.live.split(",")):
        peer = PEERS[peer_name]()
        try:
            path, pid = peer.kernel()
            with Line(path) as line:
                _start(line, live, "live", argv=SLEEPER, **CAPTURED)
                line.oks()
                # The vault is packed a second after many pushes.
                time.sleep(1.5)
                for user, identity in users.items():
                    for captured, streams in (("null", NULL), ("captured", CAPTURED)):
                        what = {"what": f"{user}, {captured}, {live} live", "live": live}
                        asked = {"argv": [PROGRAM], "owner": "bench", **streams, **identity}
                        if options.calls:
                            yield what | _calls(line, pid, options.count, asked)
                        else:
                            yield what | _times(line, pid, live, options.count, asked)
        finally:
            peer.close()


def _times(line: Line, pid: int, live: int, count: int, asked: dict[str, Any]) -> dict[str, Any]:
    before = _loop(live, count, "uid" in asked)
    cost = machine.cost([pid])
    began = time.perf_counter()
    _start(line, count, "many", **asked)
    pipelined = time.perf_counter() - began
    line.oks()
    line.await_exits(count)
    whole = time.perf_counter() - began
    cpu_s, _ = machine.cost([pid]).since(cost)
    _acknowledge(line)
    single = 0.0
    for number in range(count):
        request = line.request("spawn", name=f"one-{number}", env={}, **asked)
        began = time.perf_counter()
        line.send(request)
        line.await_replies(number + 1)
        single += time.perf_counter() - began
        line.await_exits(1)
    _acknowledge(line)
    after = _loop(live, count, "uid" in asked)
    c_us, c_exec_us = ((first + second) / 2 for first, second in zip(before, after, strict=True))
    figures = {"pipelined_us": pipelined, "single_us": single, "whole_us": whole}
    row = {key: round(value / count * 1e6) for key, value in figures.items()}
    ratios = {f"{key[:-3]}_ratio": round(c_us / value, 2) for key, value in row.items()}
    return (
        row | {"kernel_cpu_us": round(cpu_s / count * 1e6), "c_us": round(c_us), "c_exec_us": round(c_exec_us)} | ratios
    )


def _start(line: Line, count: int, name: str, **asked: Any) -> None:
    """As a client that starts many: all requests at once."""
    line.replies.clear()
    data = b"".join(line.request("spawn", name=f"{name}-{number}", env={}, **asked) for number in range(count))
    sender = line.send_beside(data)
    line.await_replies(count)
    sender.join()


def _acknowledge(line: Line) -> None:
    """All that has ended goes."""
    rows = line.ask("list", what="processes")["items"]
    line.ask("remove", what="processes", ids=[row["id"] for row in rows if not row["running"]])
    line.events.clear()


def _loop(live: int, count: int, is_as_user: bool) -> tuple[float, float]:
    words = [str(tools.worker()), "spawn", str(live), str(count), PROGRAM, *([str(NOBODY)] if is_as_user else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    whole_ns, exec_ns = map(int, done.stdout.split())
    return whole_ns / count / 1e3, exec_ns / count / 1e3


def _calls(line: Line, pid: int, count: int, asked: dict[str, Any]) -> dict[str, Any]:
    """Of the kernel for each start, and its end, and of the child until its exec."""
    with counted(pid) as calls:
        _start(line, count, "many", **asked)
        line.await_exits(count)
    _acknowledge(line)
    return {
        "kernel_calls": round(calls.own.total() / count, 1),
        "child_calls_until_exec": round(calls.of_children / count, 1),
        "most": calls.most(count),
    }
