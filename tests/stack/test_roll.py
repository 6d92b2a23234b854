"""nginx and uWSGI on held sockets, rolled over to themselves and to versions that do not work: nobody notices."""

from __future__ import annotations

import pytest
from examples.stack.show import Stack

from tests.stack.rolling import edit, rolling

pytestmark = [
    pytest.mark.needs("nginx", "uwsgi_python3", "wrk"),
    pytest.mark.timeout(300),
]

#: The load lasts longer than what happens meanwhile, on an ordinary machine.
LOAD_S = 10
RELOADS = 3
FEW = 20
WORK_S = 0.03


def test_no_request_fails_over_rolling_reloads_and_over_reloads_to_what_does_not_work(stack: Stack) -> None:
    rolling(stack)
    stack.start()
    stack.run("circusctl", "incr", "web_app")
    # An idle connection that stays open is cut by nginx itself when it ends.
    for watcher in ("web_app", "nginx"):
        load = stack.load(LOAD_S, work_s=WORK_S, keep_alive=False)
        for _ in range(RELOADS):
            before = stack.pids(watcher)
            stack.run("circusctl", "reload", watcher)
            assert set(before).isdisjoint(stack.pids(watcher))
        requests, failed = load.result()
        assert (requests > FEW, failed) == (True, 0)

    before = {watcher: stack.pids(watcher) for watcher in ("web_app", "nginx")}
    load = stack.load(LOAD_S, work_s=WORK_S, keep_alive=False)
    application = stack.read("web_app/app.py")
    edit(stack, "web_app/app.py", ("import os", "import no_such_module"))
    with pytest.raises(RuntimeError, match="not replaced, the old processes stay") as raised:
        stack.run("circusctl", "reload", "web_app")
    assert "No module named 'no_such_module'" in str(raised.value)
    (stack.folder / "web_app" / "app.py").write_text(application)

    edit(
        stack,
        "circus.ini",
        ("--ini uwsgi-live.ini", "--ini no-such.ini"),
        ("nginx.conf", "nginx-broken.conf"),
        # However slow the machine is: what does not work ends before it has proved itself.
        *[("soak = 1\n", "soak = 60\n")] * 2,
    )
    broken = stack.read("nginx/nginx.conf").replace("worker_processes 2", "worker_processes many")
    (stack.folder / "nginx" / "nginx-broken.conf").write_text(broken)
    with pytest.raises(RuntimeError, match="rolled back to the options of before") as raised:
        stack.run("circusctl", "reloadconfig")
    assert "last output of nginx." in str(raised.value)
    assert "nginx-broken.conf:" in str(raised.value)
    requests, failed = load.result()
    assert (requests > FEW, failed) == (True, 0)
    assert {watcher: stack.pids(watcher) for watcher in before} == before
    warnings = stack.outputs("circusctl", "status", "-v")[1]
    assert warnings.count("the file's configuration was refused") == 2
