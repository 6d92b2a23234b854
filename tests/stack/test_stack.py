"""The stack of examples/stack with real nginx and real uWSGI, under load: nobody who asks notices what happens to it.

As root, and as an ordinary user beside it where the tests themselves run as root.
"""

from __future__ import annotations

import json
import math
import time

import pytest
from examples.stack.show import WATCHERS, Stack, count_requests, read_log, wait_for

pytestmark = [
    pytest.mark.needs("nginx", "uwsgi_python3", "wrk"),
    pytest.mark.timeout(300),
]
#: Seconds of load around one thing that happens.
LOAD_S = 3

#: So many requests show that there was a load, on however slow a machine.
FEW = 20

#: So long the application works on a request, where a careless replacement would throw some away.
WORK_S = 0.03


def pids(stack: Stack) -> dict[str, list[int]]:
    return {watcher: stack.pids(watcher) for watcher in WATCHERS}


def test_no_request_fails_while_circusd_leaves_dies_and_comes_back_and_while_the_services_are_reloaded(
    stack: Stack,
) -> None:
    stack.start()
    assert stack.run("circusctl", "incr", "web_app").strip() == "2"
    before = pids(stack)
    assert [len(found) for found in before.values()] == [1, 1, 2]

    load = stack.load(LOAD_S)
    stack.quit()
    stack.start()
    requests, failed = load.result()
    assert (requests > FEW, failed, pids(stack)) == (True, 0, before)  # the second instance of uWSGI is remembered

    load = stack.load(LOAD_S)
    stack.kill_circusd()
    requests, failed = load.result()
    assert (requests > FEW, failed, pids(stack)) == (True, 0, before)

    load = stack.load(LOAD_S, work_s=WORK_S)
    stack.run("circusctl", "reload", "web_app")
    wait_for(lambda: not set(stack.pids("web_app")) & set(before["web_app"]), "other instances of uWSGI")
    requests, failed = load.result()
    after = pids(stack)
    assert (requests > FEW, failed) == (True, 0)
    assert (after["nginx"], after["logger"], len(after["web_app"])) == (before["nginx"], before["logger"], 2)

    # An idle connection that stays open is cut by nginx itself when it takes its configuration again.
    load = stack.load(LOAD_S, keep_alive=False)
    stack.run("circusctl", "reload", "nginx")
    requests, failed = load.result()
    assert (requests > FEW, failed, pids(stack)) == (True, 0, after)
    assert "reconfiguring" in stack.read("logs/web-server-error.log")

    figures = json.loads(stack.run("circusctl", "--json", "stats", "--extended", "web_app"))["infos"]["web_app"]
    workers = [worker for instance in figures.values() for worker in instance["uwsgi"]["workers"].values()]
    assert len(workers) == 4
    assert sum(worker["requests"] for worker in workers) > FEW

    stack.run("circusctl", "shutdown")
    lines, lost, doubled = count_requests(read_log(stack.folder, "logs/web-server.log"))
    assert (lines > 4 * FEW, lost, doubled) == (True, 0, 0)
    numbers = [int(line.split()[0]) for line in read_log(stack.folder, "logs/logger.log") if not line.startswith("l")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert "told to stop" in stack.read("logs/logger.log")  # by INT, as configured


def test_no_request_fails_while_papa_is_killed_instances_are_replaced_one_by_one_and_the_file_is_edited(
    stack: Stack,
) -> None:
    stack.start()
    stack.run("circusctl", "incr", "web_app")
    before = pids(stack)

    load = stack.load(LOAD_S)
    stack.kill_papa()
    requests, failed = load.result()
    assert (requests > FEW, failed, pids(stack)) == (True, 0, before)

    load = stack.load(LOAD_S, work_s=WORK_S)
    stack.run("circusctl", "reload", "--sequential", "web_app")
    requests, failed = load.result()
    after = pids(stack)
    assert (requests > FEW, failed, len(after["web_app"])) == (True, 0, 2)
    assert not set(after["web_app"]) & set(before["web_app"])
    assert (after["nginx"], after["logger"]) == (before["nginx"], before["logger"])

    # Of the file only what changed is touched: here nothing that serves.
    text = stack.read("circus.ini")
    load = stack.load(LOAD_S)
    (stack.folder / "circus.ini").write_text(text.replace("priority = 50", "priority = 55\nenv.MOOD = good"))
    stack.run("circusctl", "reloadconfig")
    requests, failed = load.result()
    edited = pids(stack)
    assert (requests > FEW, failed) == (True, 0)
    assert (edited["nginx"], edited["web_app"]) == (after["nginx"], after["web_app"])
    assert edited["logger"] != after["logger"]


def test_a_reload_to_a_broken_application_leaves_the_old_one_serving(stack: Stack) -> None:
    stack.start()
    before = pids(stack)
    application = stack.folder / "web_app" / "app.py"
    good = application.read_text()
    load = stack.load(LOAD_S)
    application.write_text("import no_such_module\n")
    with pytest.raises(RuntimeError, match="not replaced, the old processes stay"):
        stack.run("circusctl", "reload", "web_app")
    assert load.result()[1] == 0
    assert pids(stack) == before
    application.write_text(good)
    stack.run("circusctl", "reload", "web_app")
    wait_for(lambda: stack.pids("web_app") not in (before["web_app"], []), "another instance of uWSGI")


def test_instances_with_threads_lose_nothing_either_though_their_uwsgi_throws_requests_away_at_quit(
    stack: Stack,
) -> None:
    settings = stack.folder / "web_app" / "uwsgi-live.ini"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("hook-master-start")]
    settings.write_text("\n".join([*lines, "threads = 2", ""]))
    stack.start()
    for _ in range(2):
        before = stack.pids("web_app")
        load = stack.load(LOAD_S, work_s=WORK_S)
        stack.run("circusctl", "reload", "web_app")
        wait_for(lambda old=before: not set(stack.pids("web_app")) & set(old), "another instance of uWSGI")
        assert load.result()[1] == 0


def test_requests_wait_at_the_socket_while_the_whole_application_is_restarted(stack: Stack) -> None:
    stack.start()
    load_s, took_s = LOAD_S, math.inf
    # A load that ended before the restart proves nothing.
    while took_s > load_s:
        load_s *= 2
        load = stack.load(load_s, work_s=WORK_S)
        began = time.monotonic()
        stack.run("circusctl", "restart", "web_app")
        took_s = time.monotonic() - began
        assert load.result()[1] == 0
