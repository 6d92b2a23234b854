"""How long a start takes: from the request until the exec has succeeded, the kernel beside loops in C.

Each row has its own loop in C, run just before and just after the kernel's: fork and exec are as slow as the rest of
the machine lets them be. ``c_us`` is a start with the wait for its end, ``c_exec_us`` that without the wait; the
kernel hears of the ends of what it started before while it starts the next ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import tools
from bench.line import Line
from bench.peers import PEERS

DEFAULT_PEERS = ("papa",)
PROGRAM = "/bin/true"
SLEEPER = ["/bin/sleep", "100000"]

#: Of a user that owns nothing.
NOBODY = 65534

#: Until a tracer has said that it traces.
ATTACH_S = 10.0

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
                _start(line, live, "live", argv=SLEEPER, **NULL)
                # The vault is packed a second after many pushes.
                time.sleep(1.5)
                for user, identity in users.items():
                    for captured, streams in (("null", NULL), ("captured", CAPTURED)):
                        what = {"what": f"{user}, {captured}, {live} live", "live": live}
                        asked = {"argv": [PROGRAM], "owner": "bench", **streams, **identity}
                        if options.calls:
                            yield what | _calls(line, pid, options.count, asked)
                        else:
                            yield what | _times(line, live, options.count, asked)
        finally:
            peer.close()


def _times(line: Line, live: int, count: int, asked: dict[str, Any]) -> dict[str, Any]:
    before = _loop(live, count, "uid" in asked)
    began = time.perf_counter()
    _start(line, count, "many", **asked)
    pipelined = time.perf_counter() - began
    line.await_exits(count)
    whole = time.perf_counter() - began
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
    row |= {"c_us": round(c_us), "c_exec_us": round(c_exec_us)}
    row |= {f"{key[:-3]}_ratio": round(c_us / value, 2) for key, value in list(row.items())[:3]}
    return row


def _start(line: Line, count: int, name: str, **asked: Any) -> list[dict[str, Any]]:
    """As a client that starts many: all requests at once."""
    line.replies.clear()
    data = b"".join(line.request("spawn", name=f"{name}-{number}", env={}, **asked) for number in range(count))
    sender = line.send_beside(data)
    line.await_replies(count)
    sender.join()
    return line.oks() if asked["argv"] == SLEEPER else []


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
    """System calls of the kernel for each start, of its end too, and of the child until its exec."""
    with tempfile.TemporaryDirectory(prefix="bench-strace-") as folder:
        trace = Path(folder) / "trace"
        tracer = subprocess.Popen(
            ["strace", "-f", "-o", trace, "-p", str(pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert tracer.stderr is not None
        # "Process N attached" comes when it is.
        tracer.stderr.readline()
        try:
            _start(line, count, "many", **asked)
            line.await_exits(count)
        finally:
            tracer.terminate()
            tracer.communicate(timeout=ATTACH_S)
        own: Counter[str] = Counter()
        child = 0
        running: set[str] = set()
        for text in trace.read_text(errors="replace").splitlines():
            who, _, call = text.partition(" ")
            name = call.strip().partition("(")[0]
            if not name.isidentifier():
                # The rest of a call that was interrupted, or a signal.
                continue
            if who == str(pid):
                own[name] += 1
            elif who not in running:
                child += 1
                if name == "execve":
                    running.add(who)
    _acknowledge(line)
    most = ", ".join(f"{name} {number / count:.1f}" for name, number in own.most_common() if number * 20 > count)
    return {
        "kernel_calls": round(own.total() / count, 1),
        "child_calls_until_exec": round(child / count, 1),
        "most": most,
    }
