"""circus as it was: one process that reads all pipes itself."""

from __future__ import annotations

from bench import tools
from bench.peers.base import Peer, Work
from bench.peers.circus import stream_options


class Ancestor(Peer):
    name = "circus-0.19"

    def version(self) -> str:
        return self.run(str(tools.venv_of("circus") / "circusd"), "--version").stdout.strip()

    def start(self, works: list[Work]) -> None:
        folder = self.folder
        config = folder / "circus.ini"
        config.write_text(
            f"[circus]\nendpoint = ipc://{folder}/control\npubsub_endpoint = ipc://{folder}/events\n"
            + "".join(map(section, works))
        )
        self.launch(str(tools.venv_of("circus") / "circusd"), str(config))


def section(work: Work) -> str:
    return f"""
[watcher:{work.name}]
cmd = {" ".join(work.argv)}
copy_env = true
graceful_timeout = 2
stdout_stream.class = FileStream
stdout_stream.filename = {work.log}
{stream_options(work)}
"""
