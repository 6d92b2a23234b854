"""uWSGI, speaking HTTP on a socket of papa's: no request fails. Behind nginx it is tried in tests/stack."""

from __future__ import annotations

import pytest

from tests.house import free_port
from tests.outsiders.sites import site
from tests.outsiders.traffic import Traffic, survives_all, visits

pytestmark = pytest.mark.needs("uwsgi_python3")


def test_no_request_fails() -> None:
    port = free_port()
    with site("uwsgi", ("port = 8080", f"port = {port}")) as house:
        house.start()
        with Traffic(visits(port), visits(port)) as traffic:
            survives_all(house, "uwsgi", traffic)
            before = house.pids("uwsgi")
            house.asked("reload", "uwsgi")
            assert house.pids("uwsgi").isdisjoint(before)
            traffic.goes_on()
            # It takes itself anew by HUP, too, with the same socket.
            before = house.pids("uwsgi")
            house.asked("signal", "uwsgi", "HUP")
            traffic.goes_on()
            assert house.pids("uwsgi") == before
            house.asked("restart", "uwsgi")
            traffic.goes_on()
        house.asked("shutdown")
        house.gone()
        log = house.log("services/uwsgi.log")
        assert log.count("GET /visit") == traffic.answers
        assert "inherited INET address" in log
