"""The limit of starting: a loop over posix_spawn in C (keeper.c), each child writes into its file by itself."""

from __future__ import annotations

from bench import tools
from bench.peers.base import Peer, Work


class PosixSpawn(Peer):
    name = "posix_spawn"

    def version(self) -> str:
        return self.run("cc", "--version").stdout.splitlines()[0]

    def start(self, works: list[Work]) -> None:
        worker, word, folder, _, *arguments = works[0].argv
        self.launch(str(tools.program("keeper")), folder, str(len(works)), worker, word, *arguments)
