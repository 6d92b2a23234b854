"""What is sent arrives at a real rsyslogd and a real journald, also what came while nobody was there to take it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests import house
from tests.house import free_port, wait_for
from tests.service.receivers import Journald, Rsyslogd

SAYS = "/bin/sh -c 'echo 1-h\u00e9; echo 2-; echo wrong >&2; exec sleep 1000'"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def rsyslogd(tmp_path: Path, port: int) -> Iterator[Rsyslogd]:
    rsyslogd = Rsyslogd(tmp_path / "rsyslog", port)
    yield rsyslogd
    rsyslogd.stop()


@pytest.fixture
def journald() -> Iterator[Journald]:
    journald = Journald()
    yield journald
    journald.stop()


def watcher(name: str, address: object, kind: str = "SyslogStream") -> str:
    section = f"[watcher:{name}]\ncmd = {SAYS}\nenv.PATH = /bin\nuse_papa = true\n"
    for stream in ("stdout_stream", "stderr_stream"):
        section += f"{stream}.class = {kind}\n{stream}.address = {address}\n"
    return section


def test_rsyslogd_gets_every_line_with_its_time_however_late_it_comes(
    tmp_path: Path, runtime_root: Path, rsyslogd: Rsyslogd, port: int
) -> None:
    config = watcher("local", rsyslogd.socket) + watcher("tcp", f"tcp://127.0.0.1:{port}")
    with house.opened(tmp_path / "house", config) as root:
        began = datetime.now().astimezone()
        root.start()
        wait_for(lambda: "cannot be written" in root.ctl("status", "-v").stderr, "status says that nobody takes it")
        root.kill()
        written = datetime.now().astimezone()
        root.start()
        wait_for(lambda: (datetime.now().astimezone() - written).total_seconds() > 1, "a second")
        rsyslogd.start()
        for name, source in (("local", "imuxsock"), ("tcp", "imtcp")):
            texts = {("daemon.info", name, "1-h\u00e9"), ("daemon.info", name, "2-"), ("daemon.err", name, "wrong")}
            wait_for(
                lambda: {tuple(row[1:]) for row in rsyslogd.rows(source)} >= texts,  # noqa: B023
                f"the lines of {name}",
                60,
            )
            for row in rsyslogd.rows(source):
                at = datetime.fromisoformat(row[0])
                assert began.replace(microsecond=0) <= at <= written, "the time of writing, not that of sending"
        assert all("." in row[0] for row in rsyslogd.rows("imtcp")), "with microseconds"
        wait_for(lambda: "cannot be written" not in root.ctl("status", "-v").stderr, "status has nothing to say")


def test_rsyslogd_takes_datagrams_from_other_hosts(
    tmp_path: Path, runtime_root: Path, rsyslogd: Rsyslogd, port: int
) -> None:
    rsyslogd.start()
    with house.opened(tmp_path / "house", watcher("far", f"udp://127.0.0.1:{port}")) as root:
        root.start()
        wait_for(lambda: len(rsyslogd.rows("imudp")) == 3, "three messages")
        assert sorted(row[3] for row in rsyslogd.rows("imudp")) == ["1-h\u00e9", "2-", "wrong"]


def test_the_journal_has_every_line_with_where_it_is_from(
    tmp_path: Path, runtime_root: Path, journald: Journald
) -> None:
    big = "/bin/sh -c 'head -c 300000 /dev/zero | tr \"\\\\0\" x; echo; echo end; exec sleep 1000'"
    config = watcher("web", journald.socket, "JournalStream")
    config += watcher("big", journald.socket, "JournalStream").replace(SAYS, big)
    with house.opened(tmp_path / "house", config) as root:
        root.start()
        (pid,) = root.pids("web")
        wait_for(lambda: len(journald.entries("CIRCUS_WATCHER=web")) == 3, "three entries")
        found = {entry["MESSAGE"]: entry for entry in journald.entries("CIRCUS_WATCHER=web")}
        assert set(found) == {"1-h\u00e9", "2-", "wrong"}
        assert {(entry["PRIORITY"], entry["CIRCUS_STREAM"]) for entry in found.values()} == {
            ("6", "stdout"), ("3", "stderr"),
        }  # fmt: skip
        entry = found["2-"]
        assert (entry["CIRCUS_WID"], entry["CIRCUS_PID"], entry["SYSLOG_IDENTIFIER"]) == ("1", str(pid), "web")
        assert entry["CIRCUS_TIME"].endswith("Z")
        wait_for(lambda: journald.entries("CIRCUS_WATCHER=big", "MESSAGE=end"), "the line behind the long one")
        long = [entry["MESSAGE"] for entry in journald.entries("CIRCUS_WATCHER=big")]
        assert sum(text.count("x") for text in long) == 300_000
