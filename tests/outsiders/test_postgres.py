"""PostgreSQL: sessions of clients go on over all that happens to circusd and papa; a stop loses nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import House, free_port, wait_for
from tests.outsiders.sites import UID, as_user, is_ready, services, site
from tests.outsiders.traffic import ANSWER_S, Ask, Traffic, survives_all


def _find_programs() -> Path | None:
    """Debian keeps them beside the PATH, as several versions may be installed."""
    found = [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if path := shutil.which("initdb"):
        found.append(str(Path(path).resolve().parent))
    return Path(found[-1]) if found else None


PROGRAMS = _find_programs()

pytestmark = [
    pytest.mark.skipif(PROGRAMS is None, reason="needs the program postgres"),
    pytest.mark.needs("psql"),
]

CLIENTS = 2

FOR_EVER = "SELECT sum(length(md5(n::text))) FROM generate_series(1, 1000000000000) n"

#: Refused to root by initdb.
IDENTITY = {"user": UID, "group": UID, "extra_groups": []} if os.geteuid() == 0 else {}


def psql(house: House, port: int) -> list[str]:
    quiet = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
    return ["psql", *quiet, "-h", str(services(house)), "-p", str(port), "-U", "ann", "postgres"]


def query(house: House, port: int, text: str) -> str:
    done = subprocess.run([*psql(house, port), "-c", text], capture_output=True, text=True, timeout=ANSWER_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextlib.contextmanager
def writing(house: House, port: int, who: int) -> Iterator[Ask]:
    """One session for all of its life, a row for each request."""
    numbers = itertools.count(1)
    pipe = subprocess.PIPE
    session = subprocess.Popen(psql(house, port), stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    assert session.stdin is not None
    assert session.stdout is not None

    def ask() -> None:
        number = next(numbers)
        session.stdin.write(f"INSERT INTO visits VALUES ({who}, {number}) RETURNING number;\n")
        session.stdin.flush()
        said = session.stdout.readline()
        assert said == f"{number}\n", said

    try:
        yield ask
    finally:
        session.communicate(timeout=ANSWER_S)


@contextlib.contextmanager
def postgres() -> Iterator[tuple[House, int]]:
    assert PROGRAMS is not None
    port = free_port()
    changes = [
        ("/usr/lib/postgresql/15/bin/postgres", f"{PROGRAMS}/postgres"),
        ("-p 5432", f"-p {port} -c log_statement=all -c log_line_prefix="),
        *as_user("postgres"),
    ]
    with site("postgres", *changes, uid=UID) as house:
        subprocess.run(
            [PROGRAMS / "initdb", "--no-sync", "--auth=trust", "--username=ann", "-D", services(house) / "data"],
            **IDENTITY, cwd="/", check=True, capture_output=True, timeout=ANSWER_S,
        )  # fmt: skip
        house.start()
        query(house, port, "CREATE TABLE visits (who int, number int)")
        yield house, port


def test_sessions_go_on_and_a_stop_is_a_fast_and_clean_one() -> None:
    with postgres() as (house, port):
        with Traffic(*(writing(house, port, who) for who in range(CLIENTS))) as traffic:
            survives_all(house, "postgres", traffic)
            # HUP: the configuration is read again, nobody is cut off.
            before = house.pids("postgres")
            house.asked("reload", "postgres")
            assert house.pids("postgres") == before
            wait_for(lambda: "reloading configuration files" in house.log("services/postgres.log"), "read again")
            traffic.goes_on()
        rows = "SELECT count(*), count(DISTINCT (who, number)) FROM visits"
        assert query(house, port, rows) == f"{traffic.answers}|{traffic.answers}"

        # A session that does nothing would hold up a smart stop for ever.
        idle = subprocess.Popen(
            psql(house, port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        house.asked("restart", "postgres")
        idle.communicate()
        assert query(house, port, rows) == f"{traffic.answers}|{traffic.answers}"
        house.asked("shutdown")
        house.gone()
        log = house.log("services/postgres.log")
        assert log.count("statement: INSERT INTO visits") == traffic.answers
        assert log.count("received fast shutdown request") == 2
        assert log.count("database system is shut down") == 2
        assert "automatic recovery" not in log


def test_a_server_that_is_killed_is_followed_when_its_backends_have_gone() -> None:
    with postgres() as (house, port):
        query(house, port, "INSERT INTO visits VALUES (1, 1)")
        # A backend that is busy does not notice that its server has gone.
        pipe = subprocess.PIPE
        busy = subprocess.Popen([*psql(house, port), "-c", FOR_EVER], stdout=pipe, stderr=pipe)
        asked = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        backend = int(wait_for(lambda: query(house, port, asked), "a busy backend"))
        (pid,) = house.pids("postgres")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "is still in use" in house.log("services/postgres.log"), "the next one is kept out")
        os.kill(backend, signal.SIGTERM)
        busy.communicate(timeout=ANSWER_S)
        wait_for(lambda: is_ready(house, "postgres", unlike=pid), "another one", ANSWER_S)
        assert query(house, port, "SELECT * FROM visits") == "1|1"
        assert "database system was not properly shut down" in house.log("services/postgres.log")
