"""supervisor, the most used manager of this kind."""

from __future__ import annotations

import re

from bench import tools
from bench.peers.base import BACKUPS, Peer, Work


class Supervisor(Peer):
    name = "supervisor"
    tick_s = 1.0

    def version(self) -> str:
        return self.run(str(tools.venv_of("supervisor") / "supervisord"), "--version").stdout.strip()

    def start(self, works: list[Work]) -> None:
        folder = self.folder
        config = folder / "supervisord.conf"
        config.write_text(
            f"""
[supervisord]
nodaemon = true
minfds = 10000
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
childlogdir = {folder}
[unix_http_server]
file = {folder}/sock
[supervisorctl]
serverurl = unix://{folder}/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
            + "".join(map(section, works))
        )
        self.return_manager()

    def return_manager(self) -> None:
        self.launch(str(tools.venv_of("supervisor") / "supervisord"), "-c", str(self.folder / "supervisord.conf"))

    def restart_manager(self) -> None:
        self._control("reload")

    def running(self) -> int:
        return len(re.findall(r"\bRUNNING\b", self._control("status")))

    def status_command(self) -> list[str]:
        program = str(tools.venv_of("supervisor") / "supervisorctl")
        return [program, "-c", str(self.folder / "supervisord.conf"), "status"]

    def _control(self, word: str) -> str:
        return self.run(*self.status_command()[:-1], word).stdout


def section(work: Work) -> str:
    return f"""
[program:{work.name}]
command = {" ".join(work.argv)}
autorestart = true
startsecs = 0
stopwaitsecs = 2
redirect_stderr = true
stdout_logfile = {work.log}
stdout_logfile_maxbytes = {work.rotate_bytes}
stdout_logfile_backups = {BACKUPS}
"""
