"""The limit of what starting a process can cost: a loop of posix_spawn and waitpid in C. No manager at all."""

from __future__ import annotations

from bench import tools
from bench.peers.base import Peer


class PosixSpawn(Peer):
    name = "posix_spawn"

    def version(self) -> str:
        return self.run("cc", "--version").stdout.splitlines()[0]

    def spawn_one_after_another(self, count: int, program: str) -> float:
        done = self.run(str(tools.worker()), "spawn", str(count), program)
        return int(done.stdout) / 1e9
