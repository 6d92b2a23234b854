"""nginx on a socket of papa's: no request fails. In front of uWSGI and as an ordinary user: tests/stack."""

from __future__ import annotations

import pytest

from tests.house import free_port, wait_for
from tests.outsiders.sites import services, site
from tests.outsiders.traffic import Traffic, survives_all, visits

pytestmark = pytest.mark.needs("nginx")


def test_no_request_fails() -> None:
    port = free_port()
    changes = [("port = 8080", f"port = {port}")]
    with site("nginx", *changes) as house:
        settings = services(house) / "nginx.conf"
        settings.write_text(settings.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
        house.start()
        with Traffic(visits(port), visits(port)) as traffic:
            survives_all(house, "nginx", traffic)
            # Another program in its place.
            before = house.pids("nginx")
            house.asked("reload", "nginx")
            assert house.pids("nginx").isdisjoint(before)
            traffic.goes_on()
            # Another configuration; then one that is wrong, and the one before stays in force.
            before = house.pids("nginx")
            house.asked("signal", "nginx", "HUP")
            wait_for(lambda: "reconfiguring" in house.log("services/nginx.log"), "HUP")
            traffic.goes_on()
            settings.write_text(settings.read_text().replace("return 200", "reply 200"))
            house.asked("signal", "nginx", "HUP")
            wait_for(lambda: 'unknown directive "reply"' in house.log("services/nginx.log"), "a complaint")
            traffic.goes_on()
            assert house.pids("nginx") == before
            # Nor is a new program begun with it: the old one stays.
            done = house.ctl("reload", "nginx")
            assert (done.returncode, "the old processes stay" in done.stderr) == (3, True), done.stderr
            traffic.goes_on()
            assert house.pids("nginx") == before
        house.asked("shutdown")
        house.gone()
        assert house.log("services/access.log").count("GET /visit") == traffic.answers
