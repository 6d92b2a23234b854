"""Services made for systemd's Type=notify: they speak sd_notify(3) themselves, in Python and in C, or `systemd-notify`
does it for them. Under circusd they are ready, healthy and gone when they say so."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.house import House, free_port, wait_for
from tests.outsiders.sites import is_ready, services, site
from tests.outsiders.traffic import ANSWER_S, Ask, Traffic, call, survives_all

#: It beats twice as often, which a busy machine lets it.
WATCHDOG_S = 10

IN_C = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void) {
    struct sockaddr_un door = {.sun_family = AF_UNIX};
    const char *said = "READY=1\\nSTATUS=serving in C\\nMAINPID=1";
    snprintf(door.sun_path, sizeof door.sun_path, "%s", getenv("NOTIFY_SOCKET"));
    int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sendto(sock, said, strlen(said), 0, (struct sockaddr *) &door, sizeof door) < 0) return 1;
    pause();
}
"""


@contextlib.contextmanager
def asking(port: int) -> Iterator[Ask]:
    def ask() -> None:
        said = call(port)
        assert said.startswith(b"served by "), said

    yield ask


def slot_of(house: House, watcher: str) -> dict[str, Any]:
    (slot,) = json.loads(house.asked("--json", "status", watcher))["slots"]
    return slot


@pytest.mark.needs("systemd-notify")
def test_they_serve_when_they_say_so_and_over_all_that_happens() -> None:
    port = free_port()
    with site("notify", ("port = 8080", f"port = {port}")) as house:
        house.start()
        wait_for(lambda: slot_of(house, "script")["ready"], "systemd-notify --ready")
        assert slot_of(house, "script")["said"] == "at work"
        assert slot_of(house, "clock")["said"] == f"serving at {port}"
        with Traffic(asking(port), asking(port)) as traffic:
            survives_all(house, "clock", traffic)
            before = house.pids("clock")
            house.asked("reload", "clock")
            wait_for(lambda: "read its settings again" in house.log("services/notify.log"), "HUP")
            assert house.pids("clock") == before
            traffic.goes_on()
            wait_for(lambda: slot_of(house, "clock")["said"] == f"serving at {port}", "it serves again")
            assert slot_of(house, "clock")["health"] == "healthy"
            # The socket is there while no process is: who comes waits.
            house.asked("restart", "clock")
            assert house.pids("clock").isdisjoint(before)
            traffic.goes_on()
        house.asked("shutdown")
        house.gone()
        log = house.log("services/notify.log")
        assert (log.count("serving, pid"), log.count("ready, pid"), log.count("left in good order")) == (2, 1, 2)


def test_one_that_hangs_misses_its_watchdog_and_is_replaced() -> None:
    port = free_port()
    changes = [
        ("port = 8080", f"port = {port}"),
        ("watchdog 20", f"watchdog {WATCHDOG_S}"),
        ("_timeout = 30", "_timeout = 1"),
    ]
    with site("notify", *changes) as house:
        house.start()
        (pid,) = house.pids("clock")
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: f"no WATCHDOG=1 for {WATCHDOG_S} s" in house.log("circusd.out"), "it is missed", ANSWER_S)
        wait_for(lambda: is_ready(house, "clock", unlike=pid), "another one", ANSWER_S)
        assert call(port).startswith(b"served by ")


@pytest.mark.needs("gcc")
def test_one_in_c_is_heard_and_whose_pid_it_names_is_no_matter() -> None:
    with site(
        "notify",
        ("python3 /srv/services/notify.py", "/srv/services/service"),
        ("port = 8080", f"port = {free_port()}"),
    ) as house:
        source = services(house) / "service.c"
        source.write_text(IN_C)
        subprocess.run(["gcc", "-o", services(house) / "service", source], check=True, capture_output=True)
        house.start()
        slot = slot_of(house, "clock")
        assert (slot["ready"], slot["said"]) == (True, "serving in C")
        assert {slot["pid"]} == house.pids("clock")
        house.asked("stop", "clock")
        assert slot["pid"] not in house.pids("clock")
