"""What `circusctl --json` prints of a circusd that has something of everything is as it is published."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path
from select import select
from unittest import mock

from circus.cli import shapes
from tests.golden.circusctl import screen
from tests.house import BIN, House, opened, process, ticker, wait_for
from tests.published import command_of, problems

CONFIG = f"""
[circus]
name = told
endpoint = ipc://{{folder}}/orders
pubsub_endpoint = ipc://{{folder}}/events
api.listen = 127.0.0.1:0
warmup_delay = 0
unknown_option = 1

{ticker("web", count=2, extra="use_papa = true" + chr(10) + "hooks.extended_stats = hooks_of_web.extended" + chr(10))}

[watcher:db]
cmd = /bin/sleep 1000
after = web

[watcher:failing]
cmd = /bin/sh -c 'exit 3'
respawn = false

[watcher:backup]
cmd = /bin/sh -c 'echo saved'
schedule = @daily

[socket:front]
host = 127.0.0.1
port = 0

[socket:admin]
path = {{folder}}/admin.sock

[notifier:ops]
cmd = /bin/true
"""

HOOK = """
def extended(watcher, arbiter, hook_name, pid, stats, **kwargs):
    stats["requests"] = 42
    return True
"""

#: In this order; {web} is a pid of that watcher, {id} of an operation.
LINES = """
    status
    status web
    status web -v
    status web db
    status nobody
    list
    list web
    list web db
    numprocesses
    numprocesses web
    numprocesses web db
    numprocesses web 3
    numwatchers
    incr web
    incr web db
    decr web 2
    stats
    stats --extended web
    stats web {web}
    dstats
    globaloptions
    globaloptions name
    options web
    options web db
    get web cmd copy_env
    exits failing
    why web
    why failing
    why nobody
    exits web failing
    listsockets
    run --wait backup
    runs backup
    runs backup web
    logs web
    logs backup
    audit
    notify list
    notify test ops
    version
    signal web {web} URG
    signal web db URG
    kill db
    kill web --no-wait
    set web priority 3
    stop db
    start db
    restart web
    reload web
    reload --no-wait web
    add new /bin/sleep 1000
    add --start newer /bin/sleep 1000
    status
    forget --dry-run --all
    rm new newer
    forget web
    reloadconfig --plan
    reloadconfig
    operations
    operations {id}
    operations {id} --follow
    token create ci --role operator --watcher web
    token list
    token revoke ci
    config check {folder}/circus.ini
    config show web
    config schema
    completion bash
    init --to {folder}/new.ini -- /bin/sleep 5
    drill --dry-run
    --endpoint nobody status
    nonsense
"""

#: With lines of their own below; the last one has a test of its own that starts another circusd.
ELSEWHERE = {"listen", "events", "quit", "shutdown", "upgrade"}

#: What an elder has no messages for is refused, in the same form.
ASKED_OF_AN_ELDER = """
    status
    status web
    list
    list web
    numprocesses
    numwatchers
    stats
    stats web
    dstats
    globaloptions
    options web
    get web cmd
    listsockets
    incr web
    signal web URG
    set web priority 4
    reload web
    exits web
    version
"""


def told(house: House, line: str, **environ: str) -> list[str]:
    """The problems of all that it prints. In this process, as there are many."""
    words = shlex.split(line)
    with mock.patch.dict(os.environ, house.environ | environ):
        shown = screen.run(["--json", "--timeout", "50", *words], screen.VARIANTS[0])
    lines = shown.text.splitlines()
    command = command_of(words)
    if not lines or (len(lines) > 1 and command not in shapes.STREAMS):
        return [f"{line}: {shown}"]
    is_whole = "PAPA_RUNTIME_DIR" not in environ
    return [f"{line}: {each}" for text in lines for each in problems(command, json.loads(text), is_whole=is_whole)]


def test_every_answer_is_as_it_is_published(tmp_path: Path) -> None:
    folder = tmp_path / "house"
    folder.mkdir()
    (folder / "hooks_of_web.py").write_text(HOOK)
    with opened(folder, CONFIG.format(folder=folder), CIRCUSCTL_ENDPOINT="told") as house:
        house.start()
        wait_for(lambda: "saved" in house.ctl("run", "--wait", "backup").stdout or house.log("web.log"), "output")
        wrong = []
        for line in map(str.strip, LINES.strip().splitlines()):
            pid = str(min(wait_for(lambda: house.pids("web"), "web runs"))) if "{web}" in line else ""
            id = json.loads(house.asked("--json", "operations"))["operations"][-1]["id"] if "{id}" in line else ""
            wrong += told(house, line.format(web=pid, id=id, folder=folder))
        wrong += _events(house)
        away = {"PAPA_RUNTIME_DIR": str(tmp_path), "CIRCUSCTL_ENDPOINT": f"ipc://{folder}/orders"}
        for line in map(str.strip, ASKED_OF_AN_ELDER.strip().splitlines()):
            wrong += told(house, line, **away)
        wrong += told(house, "upgrade")
        wrong += told(house, "quit")
        assert house.gone() == 0
        house.start()
        wrong += told(house, "shutdown")
        assert house.gone() == 0
    assert wrong == [], "\n".join(each[:3000] for each in wrong)


def _events(house: House) -> list[str]:
    with process(BIN / "circusctl", "--json", "listen", **house.environ) as listening:
        assert listening.stdout is not None
        # It does not say when it listens.
        wait_for(lambda: house.asked("restart", "db") and select([listening.stdout], [], [], 0)[0], "an event")
        line = listening.stdout.readline()
        listening.send_signal(signal.SIGINT)
        listening.wait(50)
    return problems("listen", json.loads(line))


def test_the_lines_have_every_command() -> None:
    asked = {command_of(shlex.split(line)) for line in LINES.strip().splitlines()}
    assert shapes.ANSWERS.keys() - asked <= ELSEWHERE
