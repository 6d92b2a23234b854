"""What the four daemons hold, and what lies in their directories. Reads /proc and folders, changes nothing."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papa.client.blocking import Connection
from papa.errors import PapaError
from tests.soak.world import World

DAEMONS = ("circusd", "papa", "holder", "warden")


@dataclass(frozen=True, slots=True)
class Held:
    """``own_kb`` is what no file stands behind: the pages of programs come and go with others that use them."""

    rss_kb: int
    pss_kb: int
    own_kb: int
    fds: int
    threads: int


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float
    restarts: int
    daemons: dict[str, Held]
    journal_kb: float
    kernel_files: int  # records and outputs of processes, in papa's directory
    state_kb: float  # what circusd remembers, without the index of logs
    index_kb: float
    vault: int


def _number(field: str, text: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def held(pid: int) -> Held:
    """OSError where it has gone."""
    memory = Path(f"/proc/{pid}/smaps_rollup").read_text()
    threads = len(os.listdir(f"/proc/{pid}/task"))
    fds = len(os.listdir(f"/proc/{pid}/fd"))
    return Held(_number("Rss", memory), _number("Pss", memory), _number("Anonymous", memory), fds, threads)


def links(pid: int) -> Counter[str]:
    """What its descriptors are of, without numbers; but indices of logs: they are open for those written lately."""
    found = Counter[str]()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            if not target.endswith(".idx"):
                found[re.sub(r"\d+", "N", target)] += 1
    return found


def sizes(folder: Path) -> tuple[int, float]:
    """Files, and KB of them. What is removed meanwhile counts for nothing."""
    count = size = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(where, name)).st_size
                count += 1
            except FileNotFoundError:
                continue
    return count, size / 1024


def kernel_of(world: World) -> dict[str, Any]:
    """What papa says of itself. PapaError where it has gone."""
    with Connection(str(world.kernel_socket), client="soak", autostart=False) as connection:
        return dict(connection.request("status").ok)


def pids(world: World) -> dict[str, int]:
    """Of the daemons; OSError or PapaError where one is just being replaced."""
    kernel = kernel_of(world)
    found = (world.manager_pid, kernel["pid"], kernel["holder"], world.warden_pid)
    if not all(found):
        raise ProcessLookupError
    return dict(zip(DAEMONS, found, strict=True))


def take(world: World, at_s: float, restarts: int) -> Sample | None:
    """None where a daemon is just being replaced."""
    try:
        kernel = kernel_of(world)
        daemons = {name: held(pid) for name, pid in pids(world).items()}
    except (OSError, PapaError):
        return None
    state = world.folder / "run/state/circus/default"
    directory = Path(kernel["directory"])
    index_kb = sizes(state / "logs")[1]
    files = sizes(directory / "processes")[0] + sizes(directory / "output")[0]
    vault = kernel["vault"]["live"] + kernel["vault"]["dead"]
    state_kb = sizes(state)[1] - index_kb
    return Sample(at_s, restarts, daemons, kernel["journal_bytes"] / 1024, files, state_kb, index_kb, vault)
