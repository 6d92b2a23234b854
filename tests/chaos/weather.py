"""What nobody ordered: a full disk, a clock that jumps, clients that are slow or dead."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from papa import places
from tests.house import ANSWER_S, wait_for

if TYPE_CHECKING:
    from tests.chaos.house_world import HouseWorld

CLOCK = Path(__file__).with_name("clock.c")

#: Jumps of the clock, seconds.
JUMPS_S = (-86400, -3600, -61, -1, 1, 61, 3600, 86400)

#: After so many the disk is full enough.
TRIES = 20

#: So many clients stay at a time; who came first leaves for the next one.
GUESTS = 20

#: What a client sends before it says nothing more.
HALVES = (
    b"",
    b"GET /v1/eve",
    b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/watchers/flood/logs?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /v1/watchers/crew/restart HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    b"\x16\x03\x01\x02\x00",
)


def fill_disk(world: HouseWorld, number: int) -> None:
    """That of the logs, up to some KB: the next batch fails in its midst. Meanwhile circusd may die."""
    filler = world.logs / "filler"
    with filler.open("ab") as file:
        for _ in range(TRIES):
            # Somebody may have taken some of it meanwhile, or given back what did not get in.
            if (room := _room_bytes(world) - number) <= 0:
                break
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), room)
    time.sleep(0.2 + number % 10 / 10)
    is_killed = number % 2 == 0
    if is_killed:
        world.kill()
        world.launch()
        time.sleep(0.2)
    filler.unlink()
    wait_for(world.is_up, "all up after the disk was full", ANSWER_S)


def _room_bytes(world: HouseWorld) -> int:
    room = os.statvfs(world.logs)
    return room.f_bavail * room.f_bsize


def turn_clock(world: HouseWorld, number: int) -> None:
    """For both daemons and all that they start; what passes is not touched, only what it is called."""
    world.clock_s += JUMPS_S[number % len(JUMPS_S)]
    with (world.folder / "clock").open("r+b") as file:
        file.write(struct.pack("<q", world.clock_s))


def make_clock(folder: Path) -> dict[str, str]:
    """What stands in the environment of who shall live by it."""
    shim = folder / "clock.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", shim, CLOCK, "-ldl"], check=True)
    (folder / "clock").write_bytes(struct.pack("<q", 0))
    return {"LD_PRELOAD": str(shim), "CHAOS_CLOCK": str(folder / "clock")}


def leave_clients(world: HouseWorld, number: int) -> None:
    """They connect, ask or not, and neither read nor leave; the oldest go without a word."""
    path = str(world.folder / "run" / "circus-default.sock")
    for at in range(number % 7 + 1):
        with places.unix_address(path) as address:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(ANSWER_S)
            try:
                client.connect(address)
                client.send(HALVES[(number + at) % len(HALVES)])
            except OSError:
                client.close()
                continue
        world.clients.append(client)
    while len(world.clients) > GUESTS:
        world.clients.pop(0).close()
    world.counts["clients"] += number % 7 + 1


HANDS = {hand.__name__: hand for hand in (fill_disk, turn_clock, leave_clients)}
