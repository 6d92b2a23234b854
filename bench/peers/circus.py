"""This project: circusd and its kernel under a runtime root of their own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bench.peers.base import Peer, Work
from bench.peers.papa import make_runtime_root

BIN = Path(sys.executable).parent


class Circus(Peer):
    name = "circus"

    def __init__(self) -> None:
        super().__init__()
        self._root = make_runtime_root()
        self.environ["PAPA_RUNTIME_DIR"] = str(self._root)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._root, ignore_errors=True)

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
