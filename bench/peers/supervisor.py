"""supervisor, the most used manager of this kind."""

from __future__ import annotations

from bench import tools
from bench.peers.base import BACKUPS, Peer, Work


class Supervisor(Peer):
    name = "supervisor"

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
        self.launch(str(tools.venv_of("supervisor") / "supervisord"), "-c", str(config))

    def status_command(self) -> list[str]:
        return [
            str(tools.venv_of("supervisor") / "supervisorctl"),
            "-c",
            str(self.folder / "supervisord.conf"),
            "status",
        ]


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
