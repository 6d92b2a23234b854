"""pm2, the most used manager of the Node.js world: one daemon.

Any order starts it where it does not run, a question as well, and then with nothing to manage. So nobody may ask while
it is away.
"""

from __future__ import annotations

import json
import os
import signal
import threading

from bench import machine, tools
from bench.peers.base import END_S, Peer, Work

#: More often than anything here ends.
OFTEN = 1_000_000_000


class Pm2(Peer):
    name = "pm2"

    def __init__(self) -> None:
        super().__init__()
        self._asking = threading.Lock()
        self._is_away = False
        self._home = self.folder / "home"
        self.environ |= {"PM2_HOME": str(self._home), "PM2_DISABLE_VERSION_CHECK": "true"}

    def version(self) -> str:
        node = self.run("node", "--version").stdout.strip()
        return f"{tools.RELEASES['pm2']}, node {node}" if self._program() else ""

    def start(self, works: list[Work]) -> None:
        config = self.folder / "works.json"
        config.write_text(json.dumps({"apps": [app(work) for work in works]}))
        self.launch(self._program(), "start", str(config))

    def settle(self) -> None:
        """It knows after its end only what was saved by hand."""
        self.run(self._program(), "save")

    def restart_manager(self) -> None:
        self.run(self._program(), "update")

    def kill_manager(self) -> None:
        pid = int((self._home / "pm2.pid").read_text())
        with self._asking:
            self._is_away = True
            os.kill(pid, signal.SIGKILL)
        machine.wait_for(lambda: not machine.is_alive(pid), END_S)

    def return_manager(self) -> None:
        self.run(self._program(), "resurrect")
        self._is_away = False

    def running(self) -> int:
        with self._asking:
            said = "" if self._is_away else self.run(self._program(), "jlist").stdout
        start = said.find("[{")
        return sum(app["pm2_env"]["status"] == "online" for app in json.loads(said[start:])) if start >= 0 else 0

    def status_command(self) -> list[str]:
        return [self._program(), "ls"]

    def _program(self) -> str:
        return str(tools.node_modules_of("pm2") / "pm2")


def app(work: Work) -> dict[str, object]:
    return {
        "name": work.name,
        "script": work.argv[0],
        "args": work.argv[1:],
        "interpreter": "none",
        "exec_mode": "fork",
        "out_file": str(work.log),
        "error_file": "/dev/null",
        "merge_logs": True,
        "autorestart": True,
        "max_restarts": OFTEN,
        "min_uptime": 100,
        "restart_delay": 0,
        "vizion": False,
        "pmx": False,
        "automation": False,
    }
