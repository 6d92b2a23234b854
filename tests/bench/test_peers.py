"""The measurements with the peers that need no network, and what is said of those that cannot be had."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import machine, tools
from bench.measurements import MEASUREMENTS, restart
from bench.peers import MANAGERS, PEERS, ancestor
from bench.peers.base import Peer, Unmeasured

#: Who has lost something waits for it so long; nobody here has.
LONG_S = 60.0


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Peer]]:
    """The peers of a test. Whoever measures ends what it started, whatever happened."""
    peers: list[Peer] = []
    begin = Peer.__init__

    def noted(peer: Peer) -> None:
        begin(peer)
        peers.append(peer)

    monkeypatch.setattr(Peer, "__init__", noted)
    yield peers
    assert peers
    for peer in peers:
        assert not machine.marked(str(peer.folder)) and not peer.folder.exists()


def rows(measurement: str, peer: str, **chosen: Any) -> list[dict[str, Any]]:
    module = MEASUREMENTS[measurement]
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    options = parser.parse_args([])
    vars(options).update(chosen)
    return list(module.measure(peer, options))


@pytest.mark.parametrize("peer", ["cat", "posix_spawn", "circus"])
def test_a_flood_is_counted_byte_by_byte(peer: str, started: list[Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEASUREMENTS["throughput"], "STALL_S", LONG_S)
    (row,) = rows("throughput", peer, children=2, megabytes=1)
    assert (row["bytes"], row["lost"], row["doubled"], row["strange"]) == (2_000_000, 0, 0, 0)
    assert row["mb_per_s"] > 0


@pytest.mark.parametrize("peer", ["posix_spawn", "circus"])
def test_who_is_killed_has_a_successor(peer: str, started: list[Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEASUREMENTS["respawn"], "SETTLE_S", 0)
    (row,) = rows("respawn", peer, children=2, times=2)
    assert row["times"] == 2
    assert 0 < row["median_ms"] <= row["max_ms"]


def test_who_starts_nothing_again_is_left_out_by_name(started: list[Peer]) -> None:
    with pytest.raises(Unmeasured, match="cat starts nothing again"):
        rows("respawn", "cat", children=1, times=1)


def test_our_promise_is_what_the_restart_measures(started: list[Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "STALL_S", LONG_S)
    kills = "SIGKILL of the manager,SIGKILL of the holder"
    for row in rows("restart", "circus", children=3, seconds=0.1, limit=60.0, scenarios=kills):
        assert (row["kept"], row["alive"], row["recovered"], row["outage_s"]) == (3, 3, 1, 0), row
        assert (row["lost"], row["doubled"]) == (0, 0), row
        assert row["written"] > 0


def test_a_peer_that_holds_its_processes_itself_is_not_started_for_that(started: list[Peer]) -> None:
    (row,) = rows("restart", "supervisor", scenarios="SIGKILL of the holder")
    assert row == {
        "what": "SIGKILL of the holder",
        "skipped": "supervisor has no holder of processes beside its manager",
    }


def line(number: int, name: str = "w000") -> bytes:
    return f"{name:<12} {number:016} ".encode().ljust(99, b"x") + b"\n"


@pytest.mark.parametrize(
    ("logged", "counted"),
    [
        ([line(0) + line(1) + line(2)], "0 0 0"),
        ([line(1) + line(2), line(0)], "0 0 0"),
        ([line(0) + line(2)], "1 0 0"),
        ([line(0) + line(1) + line(1) + line(2)], "0 1 0"),
        ([line(0) + line(1)[:40] + line(2)], "2 0 140"),
        ([line(0) + line(1) + line(2)[:-1]], "1 0 99"),
        ([line(0) + line(1) + line(2).replace(b"x\n", b"y\n")], "1 0 100"),
        ([line(0) + line(1) + line(2, "w001")], "1 0 100"),
        ([line(0) + line(1) + line(3)], "1 0 100"),
        ([b""], "3 0 0"),
    ],
)
def test_what_is_missing_doubled_or_spoilt_is_found(tmp_path: Path, logged: list[bytes], counted: str) -> None:
    files = [tmp_path / str(number) for number, _ in enumerate(logged)]
    for file, data in zip(files, logged, strict=True):
        file.write_bytes(data)
    words = [tools.program("count"), "w000", "3", *files]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == counted


def test_lines_of_a_restart_that_are_missing_or_doubled_are_found(tmp_path: Path) -> None:
    works = PEERS["cat"]().works(1, "steady", "200")
    peer_folder = works[0].log.parent
    try:
        works[0].log.write_bytes(b"w000 7 1\nw000 7 3\nw000 7 3\nw000 8 1\n")
        lives = [restart.Life("w000", 7, 1.0, 2.0, 3, False), restart.Life("w000", 8, 4.0, 5.0, 1, True)]
        assert restart._missing(works, lives) == (1, 1)
        assert restart._outage_s(lives, 9.0) == 2.0
        assert restart._outage_s(lives[:1], 9.0) == 7.0
    finally:
        for path in peer_folder.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
        peer_folder.rmdir()


def test_what_cannot_be_installed_says_why_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "BUILD", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for install in (tools.node_modules_of, tools.unpacked, tools.venv_with_papa):
        install.cache_clear()
    with pytest.raises(Unmeasured, match=r"^npm is not installed$"):
        tools.node_modules_of("pm2")
    with pytest.raises(Unmeasured, match=r"^apt-get is not installed$"):
        tools.unpacked("runit")
    with pytest.raises(Unmeasured, match=r"^no python3.9 on PATH or in ~/.pyenv/versions$"):
        tools.venv_with_papa()


def test_an_installer_that_fails_says_its_last_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "BUILD", tmp_path)
    program = tmp_path / "apt-get"
    program.write_text("#!/bin/sh\necho hello\necho 'E: Version 2.1 was not found' >&2\necho bye >&2\nexit 100\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tools.unpacked.cache_clear()
    with pytest.raises(Unmeasured, match=r"^apt-get download runit=2.1.2-54: E: Version 2.1 was not found$"):
        tools.unpacked("runit")


def test_the_old_papa_is_not_asked_for_more_than_it_can_serve(started: list[Peer]) -> None:
    peer = ancestor.AncestorWithPapa()
    try:
        with pytest.raises(Unmeasured, match="serves no more than 339 processes"):
            peer.start(peer.works(340, "sleep"))
    finally:
        peer.close()


def test_every_manager_is_a_peer_that_respawns() -> None:
    assert all(PEERS[name].respawns for name in MANAGERS)
    assert all(peer.name == name for name, peer in PEERS.items())
