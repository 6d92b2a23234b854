"""Where and with what is measured: the machine, the versions of all peers, and how they are configured."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

from bench import machine, tools
from bench.peers import PEERS
from bench.peers.base import Peer, Unmeasured
from bench.peers.papa import TMPFS

#: What a peer is told by, below its folder.
CONFIGURATIONS = ("*.ini", "*.conf", "*.json", "services/*/run", "services/*/log/run", "w*.log/config")

#: No peer takes longer for one process.
START_S = 60.0

#: A configuration of one process is short.
MOST_BYTES = 4000


def machine_facts() -> dict[str, Any]:
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory_kb = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    system = next(
        (line.partition("=")[2].strip('"') for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME")),
        platform.system(),
    )
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kb / (1 << 20), 1),
        "system": system,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "logs_on": _file_system("/tmp"),
        "papa_state_on": _file_system(str(TMPFS) if TMPFS.is_dir() else "/tmp"),
    }


def peers(names: list[str]) -> dict[str, dict[str, Any]]:
    """Of each its version and its configuration for one process, or why it is left out."""
    return {name: _peer(name) for name in names}


def _peer(name: str) -> dict[str, Any]:
    try:
        peer = PEERS[name]()
    except Unmeasured as reason:
        return {"skipped": str(reason)}
    try:
        version = peer.version()
        peer.start(peer.works(1, "sleep"))
        machine.wait_for(lambda: peer.started() >= 1, START_S)
        return {"version": version, "configuration": _configuration(peer)}
    except Unmeasured as reason:
        return {"skipped": str(reason)}
    finally:
        peer.close()


def _configuration(peer: Peer) -> dict[str, str]:
    places = {
        str(peer.folder): "RUN",
        str(tools.BUILD): "bench/build",
        str(Path(sys.executable).parent): ".venv/bin",
        str(tools.BENCH.parent): ".",
        str(Path.home()): "~",
    }
    found = {}
    for pattern in CONFIGURATIONS:
        for path in sorted(peer.folder.glob(pattern)):
            text = path.read_text()[:MOST_BYTES]
            for place, word in places.items():
                text = text.replace(place, word)
            found[str(path.relative_to(peer.folder))] = text.strip() + "\n"
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _file_system(folder: str) -> str:
    """The type of the one that ``folder`` is on."""
    mounts = [line.split() for line in _lines("/proc/mounts")]
    holding = [(len(at), kind) for _, at, kind, *_ in mounts if f"{folder}/".startswith(f"{at.rstrip('/')}/")]
    return max(holding, default=(0, "unknown"))[1]
