"""circus as it was: one process that reads all pipes itself, and looks every five seconds who has ended."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from bench import tools
from bench.peers.base import Peer, Unmeasured, Work
from bench.peers.circus import stream_options


class Ancestor(Peer):
    name = "circus-0.19"
    tick_s = 5.0

    #: In the section of each watcher.
    option = ""

    def version(self) -> str:
        return self.run(str(self._bin() / "circusd"), "--version").stdout.strip()

    def start(self, works: list[Work]) -> None:
        self._config().write_text(
            f"[circus]\nendpoint = {self._endpoint()}\npubsub_endpoint = ipc://{self.folder}/events\n"
            + "".join(section(work, self.option) for work in works)
        )
        self.return_manager()

    def return_manager(self) -> None:
        self.launch(str(self._bin() / "circusd"), str(self._config()))

    def restart_manager(self) -> None:
        self._control("quit")
        self.await_end()
        self.return_manager()

    def running(self) -> int:
        said = re.search(r"\d+", self._control("numprocesses"))
        return int(said[0]) if said else 0

    def status_command(self) -> list[str]:
        return [str(self._bin() / "circusctl"), "--endpoint", self._endpoint(), "status"]

    def _control(self, word: str) -> str:
        return self.run(*self.status_command()[:-1], "--timeout", "3", word).stdout

    def _endpoint(self) -> str:
        return f"ipc://{self.folder}/control"

    def _config(self) -> Path:
        return self.folder / "circus.ini"

    def _bin(self) -> Path:
        return tools.venv_of("circus")


#: How papa's port is moved: the option for it is read when papa already listens on the port that all share.
WITH_PORT = "import sys, papa; papa.set_default_port(int(sys.argv.pop(1))); from circus.circusd import main; main()"

#: Papa's threads wait with select(), which knows no descriptor beyond 1023: from this child on nobody reads, and
#: nobody hears of an end.
MOST_CHILDREN = 339


class AncestorWithPapa(Ancestor):
    """The last circus that hosted its processes in papa, and that papa, on a Python that both can use.

    Papa keeps the last MiB of output of each process and forgets the rest without a word. It has one kernel for a
    machine, on TCP port 20202, which is moved here so that runs do not meet. It hosts more than 339 processes that
    write, but serves no more.
    """

    name = "circus-0.17-papa"
    option = "use_papa = True\n"

    def __init__(self) -> None:
        super().__init__()
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            self._port = str(door.getsockname()[1])

    def version(self) -> str:
        python = self.run(str(self._bin() / "python"), "--version").stdout.strip()
        return f"{', '.join(tools.CIRCUS_WITH_PAPA).replace('==', ' ')}, {python}"

    def start(self, works: list[Work]) -> None:
        if len(works) > MOST_CHILDREN:
            raise Unmeasured(f"{self.name} serves no more than {MOST_CHILDREN} processes: its papa waits with select()")
        super().start(works)

    def return_manager(self) -> None:
        self.launch(str(self._bin() / "python"), "-c", WITH_PORT, self._port, str(self._config()))

    def holders(self) -> list[int]:
        assert self._launched is not None
        return [pid for pid in self.managers() if pid != self._launched.pid]

    def _bin(self) -> Path:
        return tools.venv_with_papa()


def section(work: Work, option: str) -> str:
    return f"""
[watcher:{work.name}]
cmd = {" ".join(work.argv)}
copy_env = true
graceful_timeout = 2
max_retry = -1
{option}stdout_stream.class = FileStream
stdout_stream.filename = {work.log}
{stream_options(work)}
"""
