"""gunicorn on a socket of papa's: no request fails, whatever happens to circusd, to papa and to itself."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import House, free_port
from tests.outsiders.sites import services, site
from tests.outsiders.traffic import Traffic, survives_all, visits

PROGRAM = Path(sys.executable).with_name("gunicorn")

pytestmark = pytest.mark.needs(str(PROGRAM))

RELOADS = 2


@contextlib.contextmanager
def gunicorn(*changes: tuple[str, str]) -> Iterator[tuple[House, int]]:
    port = free_port()
    with site("gunicorn", *(changes or [("port = 8080", f"port = {port}")])) as house:
        (services(house) / "env").mkdir()
        (services(house) / "env/bin").symlink_to(PROGRAM.parent)
        house.start()
        yield house, port


def test_no_request_fails() -> None:
    with gunicorn() as (house, port):
        with Traffic(visits(port), visits(port)) as traffic:
            survives_all(house, "gunicorn", traffic)
            for _ in range(RELOADS):
                before = house.pids("gunicorn")
                house.asked("reload", "gunicorn")
                assert house.pids("gunicorn").isdisjoint(before)
                traffic.goes_on()
            # None is there for a while, and who comes waits.
            house.asked("restart", "gunicorn")
            traffic.goes_on()
        house.asked("shutdown")
        house.gone()
        assert house.log("services/access.log").count("GET /visit") == traffic.answers


def test_a_version_that_cannot_be_loaded_is_not_taken() -> None:
    with gunicorn() as (house, port):
        before = house.pids("gunicorn")
        application = services(house) / "app.py"
        good = application.read_text()
        with Traffic(visits(port)) as traffic:
            application.write_text("import no_such_module\n")
            done = house.ctl("reload", "gunicorn")
            assert (done.returncode, "the old processes stay" in done.stderr) == (3, True), done.stderr
            traffic.goes_on()
            assert house.pids("gunicorn") == before
            application.write_text(good)
            house.asked("reload", "gunicorn")
            traffic.goes_on()
        assert "No module named 'no_such_module'" in house.log("services/gunicorn.log")


def test_a_unix_socket_that_it_finds_as_under_systemd_is_left_where_it_is() -> None:
    # One that it is given by its number it removes when it ends, and nobody finds the next one.
    changes = [
        ("host = 127.0.0.1\nport = 8080\n", "path = /srv/services/web.sock\n"),
        ("use_sockets = true\n", "use_sockets = true\nlisten_fds = true\n"),
        ("--bind fd://$(circus.sockets.web) ", ""),
    ]
    with gunicorn(*changes) as (house, _):
        place = services(house) / "web.sock"
        with Traffic(visits(place), visits(place)) as traffic:
            for what in ("reload", "restart"):
                before = house.pids("gunicorn")
                house.asked(what, "gunicorn")
                assert house.pids("gunicorn").isdisjoint(before)
                traffic.goes_on()
            house.kill_kernel()
            traffic.goes_on()
        house.asked("shutdown")
        house.gone()
        assert house.log("services/access.log").count("GET /visit") == traffic.answers
