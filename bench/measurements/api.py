"""What circusd answers on its unix socket: requests a second beside a bare route of the same stack, status, events."""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import machine
from bench.peers.circus import Circus

DEFAULT_PEERS = ("circus",)

#: Connections at once; each asks again as soon as it was answered.
CONNECTIONS = 8

#: The stack alone: uvicorn's protocol and a route of starlette that says one word.
BARE = """
import asyncio, sys
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.server import ServerState

async def word(request):
    return Response(b"{}", media_type="application/json")

async def main():
    config = Config(app=Starlette(routes=[Route("/v1/version", word)]), http="h11", ws="none", loop="none",
        lifespan="off", interface="asgi3", log_config=None, access_log=False, proxy_headers=False,
        server_header=False, date_header=False, workers=1)
    config.load()
    state = ServerState()
    serving = await asyncio.get_running_loop().create_unix_server(
        lambda: config.http_protocol_class(config, state, {}), sys.argv[1])
    await serving.serve_forever()

asyncio.run(main())
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slots", type=int, default=500)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=100, help="ends of processes, and questions for the status")


def measure(peer_name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    assert peer_name == "circus"
    peer = Circus()
    bare = None
    try:
        folder = Path(peer.folder)
        peer.extra = f"\n[watcher:many]\ncmd = sleep 1000\nnumprocesses = {options.slots}\nwarmup_delay = 0\n"
        peer.start([])
        machine.wait_for(peer.has_taken_over, 60)
        path = _control_path(peer)
        (folder / "bare.py").write_text(BARE)
        bare = subprocess.Popen([sys.executable, folder / "bare.py", folder / "bare.sock"], cwd=folder)
        machine.wait_for((folder / "bare.sock").exists, 20)
        pid = json.loads(_ask(path, "/v1/version"))["pid"]
        machine.wait_for(lambda: len(_pids(path)) == options.slots, 120)
        yield {"what": "resident, API asked", "megabytes": _resident(pid)}
        for what, where, target in (
            ("bare route", str(folder / "bare.sock"), "/v1/version"),
            ("version", path, "/v1/version"),
            ("watcher", path, "/v1/watchers/many"),
        ):
            yield {"what": f"{what}: requests a second", "rate": _rate(where, target, options.requests)}
        yield {"what": f"status of {options.slots} slots", **_status(path, options.times)}
        yield {"what": "exit to event", **_exits(path, options.times)}
        yield {"what": "resident, at the end", "megabytes": _resident(pid)}
    finally:
        if bare is not None:
            bare.terminate()
            bare.wait()
        peer.close()


def _control_path(peer: Circus) -> str:
    (path,) = Path(peer.environ["PAPA_RUNTIME_DIR"]).glob("circus-*.sock")
    return str(path)


def _request(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(path)
    return sock


def _answer(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 20)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), data[:200]
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(1 << 20)
    return body


def _ask(path: str, target: str) -> bytes:
    with _connected(path) as sock:
        sock.sendall(_request(target))
        return _answer(sock)


def _pids(path: str) -> list[int]:
    found: list[int] = json.loads(_ask(path, "/v1/watchers/many"))["pids"]
    return found


def _rate(path: str, target: str, count: int) -> int:
    """Answers fit into one packet; one that does not shows as a wrong count."""
    request, answered = _request(target), 0
    socks = [_connected(path) for _ in range(CONNECTIONS)]
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ)
            sock.sendall(request)
        began = time.perf_counter()
        while answered < count:
            for key, _ in selector.select():
                sock = key.fileobj  # type: ignore[assignment]
                _answer(sock)
                answered += 1
                sock.sendall(request)
        took = time.perf_counter() - began
    for sock in socks:
        sock.close()
    return round(answered / took)


def _status(path: str, times: int) -> dict[str, float]:
    took = []
    with _connected(path) as sock:
        for _ in range(times):
            began = time.perf_counter()
            sock.sendall(_request("/v1/status"))
            size = len(_answer(sock))
            took.append((time.perf_counter() - began) * 1000)
    return {"median_ms": round(statistics.median(took), 2), "max_ms": round(max(took), 2), "bytes": size}


def _exits(path: str, times: int) -> dict[str, float]:
    """From the SIGKILL of a process until a client has its `reap`."""
    late = []
    with _connected(path) as sock:
        sock.sendall(_request("/v1/events?topic=watcher.many.reap"))
        data = b""
        while b"\n\n" not in data:
            data += sock.recv(65536)
        for pid in _pids(path)[:times]:
            began = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            data = b""
            while b'"process_pid": %d' % pid not in data:
                data += sock.recv(65536)
            late.append((time.perf_counter() - began) * 1000)
            time.sleep(0.02)  # each is measured by itself
    late.sort()
    return {
        "median_ms": round(statistics.median(late), 2),
        "p90_ms": round(late[len(late) * 9 // 10], 2),
        "max_ms": round(late[-1], 2),
    }


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)
