"""kill -9 of the process that pumps, at any moment, under a real kernel with real writers: no byte lost or doubled."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from papa.client.aio import AsyncPapa

#: Kills in one story; the long run of the same story sets it higher.
KILLS = int(os.environ.get("CIRCUS_TEST_KILLS", "3"))

BOUND_S = 60.0

#: Attaches everything and pumps until it is killed, or until everything has ended.
PUMPER = """
import asyncio, json, os, sys
from circus.config.model import StreamConfig
from circus.streams.pump import Attached, Pump
from papa.client.aio import AsyncPapa
from papa.client.output import StreamFiles
from papa.errors import PapaError

async def main():
    streams = {name: StreamConfig(class_name="FileStream", **given) for name, given in json.loads(sys.argv[1]).items()}
    papa = await AsyncPapa.connect(client="pumper", autostart=False)
    pump = Pump(papa, prefix="circus.", on_event=lambda kind, fields: print(kind, json.dumps(fields), flush=True))
    ids, tasks, left = set(), set(), asyncio.Event()

    def begin(work):
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def settle(kernel_id):
        await pump.drained(kernel_id)
        while True:
            try:
                await papa.commit(exits=[kernel_id])
            except PapaError as error:
                if error.code == "lost":
                    await asyncio.sleep(0.02)
                    continue
            break
        ids.discard(kernel_id)
        if not ids:
            left.set()

    def on_event(kind, fields):
        if kind == "output":
            pump.on_output(fields["items"])
        elif kind == "eof":
            pump.on_eof(fields["id"], fields["stream"], fields["head"])
        elif kind == "exit":
            pump.on_exit(fields["id"], fields["heads"])
            if fields["id"] in ids:
                begin(settle(fields["id"]))

    async def attach_all(take):
        for row in await papa.list("processes"):
            reply = await papa.attach(row["id"], owner="circus", fds=True)
            pidfd = reply.fds.pop("pid", None)
            if pidfd is not None:
                os.close(pidfd)
            facts = reply.ok["streams"]
            acked = {stream: facts[stream]["acked"] for stream in facts}
            ended = frozenset(stream for stream in facts if not facts[stream]["open"])
            ids.add(row["id"])
            await take(Attached(row["id"], "web", 1, row["pid"], StreamFiles(reply.fds), acked, ended))
            if reply.ok["exit"]:
                on_event("exit", {"id": row["id"], "heads": {stream: facts[stream]["head"] for stream in facts}})

    papa.on_event = on_event
    papa.on_back = lambda: begin(attach_all(pump.reattach))
    pump.configure("web", streams)
    await attach_all(pump.add)
    await pump.start()
    print("started", flush=True)
    if ids:
        await left.wait()
    while await papa.list("processes"):
        await asyncio.sleep(0.01)  # a drain has its bound, the output behind it takes as long as it takes
    await pump.flush(5)
    while pump.presses._jobs:
        await asyncio.sleep(0.01)
    await pump.close()
    await papa.close()

asyncio.run(main())
"""

#: Lines that say whose and the how manieth they are, of all lengths, written in pieces, out and err in turn.
WRITER = """
import os, random, sys, time
name, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
dice = random.Random(name)
for number in range(count):
    size = dice.choice((0, 3, 40, 200, 3000))
    for fd, stream in ((1, "out"), (2, "err")):
        line = f"{name}.{stream} {number} {'x' * size}\\n".encode()
        cut = dice.randrange(len(line))
        os.write(fd, line[:cut])
        os.write(fd, line[cut:])
    if dice.random() < 0.2:
        time.sleep(pause)
"""


def expected(name: str, stream: str, count: int) -> bytes:
    dice, lines = random.Random(name), []
    for number in range(count):
        size = dice.choice((0, 3, 40, 200, 3000))
        for each in ("out", "err"):
            line = f"{name}.{each} {number} {'x' * size}\n".encode()
            dice.randrange(len(line))
            if each == stream:
                lines.append(line)
        dice.random()
    return b"".join(lines)


@pytest.fixture
def kernel_root(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("run")
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(root))
    yield root
    asyncio.run(ask(lambda papa: papa.request("exit", force=True)))


async def ask(question: Callable[[AsyncPapa], Any]) -> Any:
    papa = await AsyncPapa.connect(client="test")
    try:
        return await question(papa)
    finally:
        await papa.close()


def spawn(name: str, count: int, pause_s: float) -> int:
    argv = [sys.executable, "-c", WRITER, name, str(count), str(pause_s)]
    spec = {"argv": argv, "env": {}, "stdin": "null", "stdout": "capture", "stderr": "capture", "bound": 64 << 20}
    return int(asyncio.run(ask(lambda papa: papa.spawn(name=f"circus.{name}", **spec))).ok["pid"])


def pump_and_kill(streams: dict[str, dict[str, Any]], kills: int, seed: int) -> list[str]:
    """Pump, kill, and so on; the last one may finish. What they said."""
    dice, said = random.Random(seed), []
    argv = [sys.executable, "-c", PUMPER, json.dumps(streams)]
    for _ in range(kills):
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as pumper:
            assert pumper.stdout is not None
            try:
                assert pumper.stdout.readline() == b"started\n"
                time.sleep(dice.random() ** 2 * 0.2)
            finally:
                pumper.send_signal(signal.SIGKILL)
            said += pumper.stdout.read().decode().splitlines()
    done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=BOUND_S, check=True)
    return said + done.stdout.decode().splitlines()[1:]


def read_log(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def whole_log(path: Path, *, by_time: bool = False) -> list[bytes]:
    """The texts of the file and its backups, oldest first; one that is there in both forms counts once."""
    texts: dict[int, bytes] = {}
    for each in path.parent.glob(f"{path.name}.*"):
        if each.suffix != ".tmp":
            number = int(each.name.removesuffix(".gz").rpartition(".")[2])
            text = read_log(each)
            assert texts.setdefault(number, text) == text
    return [*(text for _, text in sorted(texts.items(), reverse=not by_time)), path.read_bytes()]


def test_files_are_byte_for_byte_what_was_written(kernel_root: Path, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    count = 60 * KILLS
    spawn("one", count, 0.02)
    streams = {name: {"filename": str(tmp_path / name)} for name in ("out", "err")}
    said = pump_and_kill(streams, KILLS, seed)
    assert said == []
    for stream in ("out", "err"):
        assert (tmp_path / stream).read_bytes() == expected("one", stream, count)
    assert asyncio.run(ask(lambda papa: papa.list("values"))) == []
    assert asyncio.run(ask(lambda papa: papa.list("processes"))) == []


@pytest.mark.parametrize("compress", [False, True])
def test_processes_share_a_rotated_file_line_by_line(kernel_root: Path, tmp_path: Path, compress: bool) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    count = 40 * KILLS
    names = ["one", "two", "three"]
    for name in names:
        spawn(name, count, 0.02)
    shared = {"filename": str(tmp_path / "log"), "max_bytes": 20_000, "backup_count": 10_000, "compress": compress}
    said = pump_and_kill({"out": shared, "err": shared}, KILLS, seed)
    assert said == []
    texts = whole_log(tmp_path / "log")
    assert len(texts) > 10
    assert all(text.endswith(b"\n") and len(text) < 20_000 for text in texts)
    lines = b"".join(texts).splitlines(keepends=True)
    for name in names:
        for stream in ("out", "err"):
            mark = f"{name}.{stream} ".encode()
            assert b"".join(line for line in lines if line.startswith(mark)) == expected(name, stream, count)
    assert len(lines) == len(names) * 2 * count
    assert compress or not any(path.suffix == ".gz" for path in tmp_path.iterdir())


def test_lines_with_times_are_neither_cut_nor_doubled(kernel_root: Path, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    count = 40 * KILLS
    pids = {name: spawn(name, count, 0.02) for name in ("one", "two")}
    shared = {"filename": str(tmp_path / "log"), "time_format": "%Y-%m-%d %H:%M:%S.%f"}
    said = pump_and_kill({"out": shared, "err": shared}, KILLS, seed)
    assert said == []
    pattern = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) \[(\d+)\] \| ((\w+)\.(\w+) .*\n)")
    got: dict[tuple[str, str], list[bytes]] = {}
    for line in (tmp_path / "log").read_bytes().splitlines(keepends=True):
        match = pattern.fullmatch(line)
        assert match, line[:100]
        assert int(match[2]) == pids[match[4].decode()]
        got.setdefault((match[4].decode(), match[5].decode()), []).append(match[3])
    for name in pids:
        for stream in ("out", "err"):
            assert b"".join(got[name, stream]) == expected(name, stream, count)


@pytest.mark.parametrize("compress", [False, True])
def test_a_file_that_is_rotated_by_time_loses_and_doubles_nothing(
    kernel_root: Path, tmp_path: Path, compress: bool
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    count = 60 * KILLS
    names = ["one", "two"]
    for name in names:
        spawn(name, count, 0.1)
    shared = {"filename": str(tmp_path / "log"), "rotate_when": "S", "compress": compress}
    said = pump_and_kill({"out": shared, "err": shared}, KILLS, seed)
    assert said == []
    texts = whole_log(tmp_path / "log", by_time=True)
    assert len(texts) > 2
    assert all(text.endswith(b"\n") for text in texts)
    lines = b"".join(texts).splitlines(keepends=True)
    for name in names:
        for stream in ("out", "err"):
            mark = f"{name}.{stream} ".encode()
            assert b"".join(line for line in lines if line.startswith(mark)) == expected(name, stream, count)
    assert len(lines) == len(names) * 2 * count


def test_objects_are_neither_cut_nor_doubled(kernel_root: Path, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    count = 40 * KILLS
    pids = {name: spawn(name, count, 0.02) for name in ("one", "two")}
    shared = {
        "filename": str(tmp_path / "log"),
        "format": "json",
        "max_bytes": 60_000,
        "backup_count": 10_000,
        "compress": True,
    }
    said = pump_and_kill({"out": shared, "err": shared}, KILLS, seed)
    assert said == []
    got: dict[tuple[str, str], str] = {}
    for line in b"".join(whole_log(tmp_path / "log")).splitlines():
        found = json.loads(line)
        name, _, rest = found["line"].partition(".")
        assert (found["watcher"], found["wid"], found["pid"]) == ("web", 1, pids[name])
        assert found["stream"].endswith(rest.partition(" ")[0])
        got[name, found["stream"]] = got.get((name, found["stream"]), "") + found["line"] + "\n"
    for name in pids:
        for stream in ("out", "err"):
            assert got[name, f"std{stream}"].encode() == expected(name, stream, count)


def test_a_killed_kernel_costs_no_byte_either(kernel_root: Path, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice, count = random.Random(seed), 60 * KILLS
    for name in ("one", "two"):
        spawn(name, count, 0.02)
    shared = {"filename": str(tmp_path / "log"), "max_bytes": 200_000, "backup_count": 100}
    argv = [sys.executable, "-c", PUMPER, json.dumps({"out": shared, "err": shared})]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as pumper:
        assert pumper.stdout is not None
        try:
            assert pumper.stdout.readline() == b"started\n"
            for _ in range(KILLS):
                time.sleep(dice.random() * 0.2)
                kernel = asyncio.run(ask(_hello))["pid"]
                os.kill(kernel, signal.SIGKILL)
            assert pumper.wait(BOUND_S) == 0
        finally:
            pumper.kill()
        assert pumper.stdout.read() == b""
    lines = b"".join(whole_log(tmp_path / "log")).splitlines(keepends=True)
    for name in ("one", "two"):
        for stream in ("out", "err"):
            mark = f"{name}.{stream} ".encode()
            assert b"".join(line for line in lines if line.startswith(mark)) == expected(name, stream, count)
    assert len(lines) == 4 * count


async def _hello(papa: AsyncPapa) -> dict[str, Any]:
    return papa.hello
