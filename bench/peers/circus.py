"""This project: circusd and its kernel under a runtime root of their own."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.peers.base import Peer, Work

BIN = Path(sys.executable).parent


class Circus(Peer):
    name = "circus"

    def __init__(self) -> None:
        super().__init__()
        self.environ["PAPA_RUNTIME_DIR"] = str(self.folder / "run")

    def version(self) -> str:
        return self.run(str(BIN / "circusd"), "--version").stdout.strip()

    def start(self, works: list[Work]) -> None:
        config = self.folder / "circus.ini"
        config.write_text("[circus]\n" + "".join(map(section, works)))
        self.launch(str(BIN / "circusd"), str(config))

    def status_command(self) -> list[str]:
        return [str(BIN / "circusctl"), "status"]


def section(work: Work) -> str:
    return f"""
[watcher:{work.name}]
cmd = {" ".join(work.argv)}
copy_env = true
use_papa = true
graceful_timeout = 2
stdout_stream.class = FileStream
stdout_stream.filename = {work.log}
"""
