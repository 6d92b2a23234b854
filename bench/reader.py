"""The plainest client that stores output: `python -m bench.reader WORKS`, a JSON list of [name, argv, log].

It owns the processes, copies from the kernel's files to the logs as soon as it is told of output, and acknowledges.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from papa.client.aio import AsyncPapa
from papa.client.output import StreamFiles

#: Of each process in one commit: the kernel's bound is 2 MiB by default, so this keeps it writing.
BATCH_BYTES = 1 << 20
#: Less than half of that is followed by a moment in which more may come, some lines by a longer one: a commit costs as
#: much as copying a hundred KiB.
PAUSE_S = 0.001
FEW_BYTES = 64 << 10
LONG_PAUSE_S = 0.01


class Log:
    def __init__(self, files: StreamFiles, path: str) -> None:
        self.files = files
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self.at = 0


async def main(works: list[tuple[str, list[str], str]]) -> None:
    papa = await AsyncPapa.connect(client="bench reader")
    logs: dict[int, Log] = {}
    hot: dict[int, Log] = {}
    more = asyncio.Event()

    def on_event(kind: str, data: dict[str, Any]) -> None:
        if kind == "output":
            hot.update((number, logs[number]) for number, *_ in data["items"])
            more.set()

    papa.on_event = on_event
    for name, argv, path in works:
        reply = await papa.spawn(name=name, argv=argv, env={}, stderr="null", owner="bench", fds=True)
        os.close(reply.fds.pop("pid"))
        logs[reply.ok["id"]] = Log(StreamFiles(reply.fds), path)
    while True:
        if not hot:
            more.clear()
            await more.wait()
        acks, seen, busy, total = [], [], {}, 0
        for number, log in hot.items():
            head = log.files.head("out")
            if head > log.at:
                count = log.files.copy_to("out", log.at, min(head, log.at + BATCH_BYTES), log.fd)
                log.at += count
                total += count
                acks.append((number, "out", log.at))
                if count >= FEW_BYTES:
                    busy[number] = log  # there will be more before it is told of
            seen.append((number, log.at, None))
        hot = busy
        await papa.commit(acks=acks, seen=seen)
        if total < BATCH_BYTES // 2:
            await asyncio.sleep(PAUSE_S if busy else LONG_PAUSE_S)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
