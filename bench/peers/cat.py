"""The limit of what a log can take: `worker | cat > file`. No manager at all."""

from __future__ import annotations

import subprocess

from bench.peers.base import Peer, Work


class Cat(Peer):
    name = "cat"
    respawns = False

    def version(self) -> str:
        return self.run("cat", "--version").stdout.splitlines()[0]

    def start(self, works: list[Work]) -> None:
        for work in works:
            with work.log.open("wb") as log:
                child = subprocess.Popen(work.argv, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                subprocess.Popen(["cat"], env=self.environ, stdin=child.stdout, stdout=log)
            assert child.stdout is not None
            child.stdout.close()
