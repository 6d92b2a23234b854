"""`ready` and `health` with real processes: what they say, print or answer, also while no circusd is there."""

from __future__ import annotations

import http.server
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.house import ROOT, House, opened, wait_for

SPEAKER = f"{sys.executable} -S {ROOT / 'tests/journeys/speaker.py'}"

SLEEP = "/bin/sleep 1000"

#: Far longer than any test: what is to be seen is not that time runs out.
LONG = "start_timeout = 600"


def watcher(name: str, options: str, *, cmd: str = "") -> str:
    return f"[watcher:{name}]\ncmd = {cmd or f'{SPEAKER} {name}'}\nuse_papa = true\ngraceful_timeout = 5\n{options}\n"


def slot_of(house: House, name: str) -> dict[str, Any]:
    """The only one; empty while there is none."""
    done = house.ctl("--json", "status", name)
    slots = json.loads(done.stdout)["slots"] if done.returncode == 0 else []
    return slots[0] if slots else {}


def is_ready(house: House, name: str) -> bool:
    return bool(slot_of(house, name).get("ready"))


def say(house: House, name: str, *lines: str) -> None:
    with (house.folder / name).open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def launched(house: House) -> None:
    house.launch()
    wait_for(lambda: house.ctl("status").returncode == 0, "circusd answers")


def happened(house: House, text: str) -> int:
    """How often circusd's log says it."""
    return (house.folder / "circusd.out").read_text().count(text)


@pytest.fixture
def page() -> Iterator[list[Any]]:
    """[the status that a small HTTP server answers, its port]."""
    page: list[Any] = [503, 0]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(page[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        page[1] = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield page
        server.shutdown()
        thread.join()


def test_a_service_that_speaks_is_ready_when_it_says_so_also_over_crashes_of_circusd(tmp_path: Path) -> None:
    config = watcher("web", f"ready = notify\n{LONG}") + watcher(
        "late", f"ready = notify\n{LONG}", cmd=f"{SPEAKER} late"
    )
    with opened(tmp_path / "house", config) as house:
        say(house, "late", "STATUS=warming up")
        launched(house)
        wait_for(lambda: slot_of(house, "late").get("said") == "warming up", "a status")
        assert slot_of(house, "late")["state"] == "starting"
        assert "not ready yet: it has not said READY=1 (warming up)" in house.asked("status")
        say(house, "late", "READY=1;STATUS=serving")
        wait_for(lambda: is_ready(house, "late"), "ready")
        say(house, "web", "X_UNKNOWN=1")
        wait_for(lambda: (house.folder / "web.said").exists(), "the other one speaks")

        before = {name: house.pids(name) for name in ("late", "web")}
        house.kill()
        say(house, "web", "READY=1;STATUS=said to nobody")
        wait_for(lambda: "nobody" in (house.folder / "web.said").read_text(), "READY=1 while circusd is away")
        house.start()
        assert slot_of(house, "web")["said"] == "said to nobody"
        assert is_ready(house, "late"), "what was ready stays ready"
        assert {name: house.pids(name) for name in before} == before

        house.kill_kernel()
        assert is_ready(house, "web")
        house.quit()
        house.start()
        assert {name: house.pids(name) for name in before} == before
        assert happened(house, " ready process_pid=") == 2


def test_a_process_that_does_not_become_ready_is_ended_and_tried_again_with_a_pause(tmp_path: Path) -> None:
    port = socket.create_server(("127.0.0.1", 0))
    number = port.getsockname()[1]
    port.close()
    options = f"ready = tcp 127.0.0.1:{number}\nstart_timeout = 2\nbackoff.attempts = 2\nbackoff.first = 0.1\n"
    with opened(tmp_path / "house", watcher("web", options, cmd=SLEEP)) as house:
        launched(house)
        wait_for(lambda: slot_of(house, "web").get("state") == "fatal" or "gave up" in house.asked("status"), "the end")
        told = house.asked("status")
        assert f"connection refused (127.0.0.1:{number})" in told
        assert "not ready within" in told
        assert happened(house, "web not_ready process_pid=") == 2


def test_a_page_says_whether_a_process_is_ready_and_healthy(tmp_path: Path, page: list[Any]) -> None:
    url = f"http://127.0.0.1:{page[1]}/up"
    options = f"ready = http {url}\n{LONG}\nhealth.check = http {url}\nhealth.interval = 0.1\nhealth.threshold = 2\n"
    config = watcher("web", options, cmd=SLEEP)
    with opened(tmp_path / "house", config) as house:
        launched(house)
        wait_for(lambda: f"status 503 for /up (127.0.0.1:{page[1]})" in house.asked("status"), "why it is not ready")
        page[0] = 204
        wait_for(lambda: is_ready(house, "web"), "ready")
        assert slot_of(house, "web")["health"] == "healthy"
        old = house.pids("web")
        page[0] = 500
        wait_for(lambda: happened(house, "web unhealthy"), "unhealthy")
        page[0] = 200
        wait_for(lambda: is_ready(house, "web") and house.pids("web").isdisjoint(old), "another one that is ready")


def moments(house: House, name: str) -> list[float]:
    """When a command has noted itself in a file, by its clock."""
    path = house.folder / name
    return [float(line) for line in path.read_text().split()] if path.exists() else []


def gaps(found: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(found)]


def test_the_times_of_ready_are_obeyed(tmp_path: Path) -> None:
    """By default the pauses would grow to a second."""
    options = f"ready = exec /bin/sh -c 'date +%s.%N >> asked; exit 1'\nready_interval = 0.1\n{LONG}"
    with opened(tmp_path / "house", watcher("web", options, cmd=SLEEP)) as house:
        launched(house)
        wait_for(lambda: min(gaps(moments(house, "asked"))[8:], default=1.0) < 0.9, "short pauses")


def test_the_times_of_health_are_obeyed(tmp_path: Path) -> None:
    common = "copy_env = true\nhealth.interval = 0.1\nhealth.action = report\n"
    fails = "test $(wc -l < few) -gt 3 && { test $(wc -l < few) -lt 5 || test $(wc -l < few) -gt 8; }"
    config = watcher(
        "few", f"{common}health.check = exec /bin/sh -c 'date +%s.%N >> few; {fails}'\nhealth.threshold = 4", cmd=SLEEP
    )
    config += watcher("slow", f"{common}health.check = exec sleep 1000\nhealth.timeout = 0.2", cmd=SLEEP)
    late = "health.check = exec /bin/sh -c 'echo 1 >> late; exit 1'\nhealth.threshold = 1\nhealth.start_period = 1h"
    config += watcher("late", f"{common}{late}", cmd=SLEEP)
    with opened(tmp_path / "house", config) as house:
        launched(house)
        wait_for(lambda: len(moments(house, "few")) > 10, "checks")
        assert min(gaps(moments(house, "few"))) < 9, "by default they would be 10 s apart"
        assert happened(house, "few unhealthy") == 1, "three failures are none yet, four are"
        wait_for(lambda: happened(house, "reason=no answer within 0.2 s (sleep)"), "a check that takes too long")
        wait_for(lambda: len(moments(house, "late")) > 3, "checks")
        assert happened(house, "late unhealthy") == 0


def test_an_illness_may_be_only_told(tmp_path: Path) -> None:
    options = (
        "health.check = exec /bin/sh -c 'test -e well || { echo where is it; exit 3; }'\n"
        "health.interval = 0.1\nhealth.action = report\n"
    )
    with opened(tmp_path / "house", watcher("web", options, cmd=SLEEP)) as house:
        launched(house)
        wait_for(lambda: slot_of(house, "web").get("health") == "unhealthy", "unhealthy")
        assert "web.1 running" in house.asked("status")
        assert "unhealthy: where is it (sh: status 3)" in house.asked("status")
        pids = house.pids("web")
        (house.folder / "well").touch()
        wait_for(lambda: slot_of(house, "web")["health"] == "healthy", "healthy")
        assert house.pids("web") == pids
        assert house.asked("status") == "web: active"


def test_a_line_makes_ready_also_one_that_came_while_circusd_was_away(tmp_path: Path) -> None:
    script = "echo starting; until [ -e go ]; do sleep 0.05; done; echo listening on 8000 >&2; touch gone; sleep 1000"
    options = (
        f"ready = line ^listening on [0-9]+$\n{LONG}\nstderr_stream.class = FileStream\nstderr_stream.filename = e"
    )
    config = watcher("web", options, cmd=f'/bin/sh -c "{script}"')
    with opened(tmp_path / "house", config) as house:
        launched(house)
        wait_for(lambda: "no such line so far" in house.asked("status"), "it waits")
        house.kill()
        (house.folder / "go").touch()
        wait_for(lambda: (house.folder / "gone").exists(), "its line")
        house.start()
        assert is_ready(house, "web")
        assert (house.folder / "e").read_text() == "listening on 8000\n"
        house.kill()
        house.start()
        assert is_ready(house, "web"), "its line is gone, and it is ready still"
        assert happened(house, "web not_ready") == 0


def test_a_watchdog_that_is_silent_is_noticed_also_after_a_crash_of_circusd(tmp_path: Path) -> None:
    with opened(tmp_path / "house", watcher("web", "health.check = watchdog 1")) as house:
        launched(house)
        first = wait_for(lambda: house.pids("web"), "its process")
        wait_for(lambda: house.pids("web").isdisjoint(first) and house.pids("web"), "another one")
        assert happened(house, "reason=no WATCHDOG=1 for 1 s") >= 1
        house.kill()
        launched(house)
        before = happened(house, "reason=no WATCHDOG=1")
        wait_for(lambda: happened(house, "reason=no WATCHDOG=1") > before, "noticed by the next circusd")


def test_a_watchdog_may_call_for_help_itself(tmp_path: Path) -> None:
    with opened(tmp_path / "house", watcher("web", "health.check = watchdog 1h")) as house:
        launched(house)
        first = wait_for(lambda: house.pids("web"), "its process")
        say(house, "web", "WATCHDOG=1", "WATCHDOG=trigger")
        wait_for(lambda: happened(house, "reason=it has said WATCHDOG=trigger"), "its call")
        wait_for(lambda: house.pids("web").isdisjoint(first), "another one")


def test_nobody_else_makes_a_process_ready_and_a_child_does(tmp_path: Path) -> None:
    script = f"{SPEAKER} web & sleep 1000"
    config = watcher("web", f"ready = notify\nkill_mode = tree\n{LONG}", cmd=f'/bin/sh -c "{script}"')
    with opened(tmp_path / "house", config) as house:
        launched(house)
        wait_for(lambda: slot_of(house, "web").get("pid"), "its process")
        pid = slot_of(house, "web")["pid"]
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        address = next(each for each in environ if each.startswith(b"NOTIFY_SOCKET=")).partition(b"=")[2]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            for _ in range(200):
                door.sendto(b"READY=1\nSTATUS=I am not of this house", address)
        wait_for(lambda: happened(house, f"process {os.getpid()} spoke to NOTIFY_SOCKET"), "told of")
        assert not is_ready(house, "web")
        say(house, "web", "READY=1")
        wait_for(lambda: is_ready(house, "web"), "its child has said it")
        assert happened(house, "spoke to NOTIFY_SOCKET") == 1
