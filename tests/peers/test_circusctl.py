"""circusctl of circus 0.19, every command that it has: what it prints, and its exit status."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests import peers
from tests.house import ANSWER_S, House, wait_for

pytestmark = pytest.mark.needs(str(peers.PYTHON))

#: Command line, exit status, and the whole of what is printed (of both streams) as a regular expression. In this order;
#: {web} is a pid of that watcher.
TABLE = [
    ("status", 0, r"data\.base: active\nweb: active\n"),
    ("status WEB", 0, r"active\n"),
    ("status nobody", 3, r"error\n"),
    ("list", 0, r"data\.base,web\n"),
    ("list web", 0, r"\d+,\d+\n"),
    ("numwatchers", 0, r"2\n"),
    ("numprocesses", 0, r"3\n"),
    ("numprocesses web", 0, r"2\n"),
    ("get web cmd numprocesses graceful_timeout", 0, r"cmd: sleep 1000\nnumprocesses: 2\ngraceful_timeout: 20\.0\n"),
    ("get web nothing", 3, r"error: 'nothing' option not found\n"),
    ("options web", 0, r"(?s).*\bcmd: sleep 1000\n.*numprocesses: 2\n.*"),
    ("globaloptions", 0, r"(?s).*check_delay: 5\.0\n.*pubsub_endpoint: ipc:///.*/events\n.*"),
    ("globaloptions endpoint", 0, r"endpoint: ipc:///.*/orders\n"),
    ("dstats", 0, r"Main Process:\n    \d+  circusd \S+ .*\n"),
    ("stats", 0, r"(?s)web:\n\d+: \d+  sleep .*Data\.base:\n\d+: \d+  sleep .*\n"),
    ("stats web", 0, r"web:\n(\d+: \d+  sleep \S+ -?\d+ .*\n){2}"),
    ("stats --extended web", 0, r"web:\n(\d+: \d+  sleep .*\n){2}"),
    ("stats web {web}", 0, r"{web}: {web}  sleep .*\n\n"),
    ("listsockets", 0, r"\d+:socket 'front' at 127\.0\.0\.1:\d+\n"),
    ("incr web --waiting", 0, r"3\n"),
    ("incr web 2 --waiting", 0, r"5\n"),
    ("decr web 3 --waiting", 0, r"2\n"),
    ("incr web", 0, r"ok\n"),
    ("decr web", 0, r"ok\n"),
    ("incr data.base", 0, r"This watcher is a Singleton - .*\n"),
    ("incr data.base --waiting", 0, r"This watcher is a Singleton - .*\n"),
    ("signal web HUP", 0, r"ok\n"),
    ("signal web nope", 3, r"error: .*no signal\n"),
    ("set web numprocesses 2 --waiting", 0, r"ok\n"),
    ("set web stop_signal KILL --waiting", 0, r"ok\n"),
    ("set web hooks.after_stop no.such", 3, r"error: .*\n"),
    ("stop web --waiting", 0, r"ok\n"),
    ("status web", 0, r"stopped\n"),
    ("start web --waiting", 0, r"ok\n"),
    ("stop w* --match glob --waiting", 0, r"ok\n"),
    ("start --waiting", 0, r"ok\n"),
    ("restart web --waiting", 0, r"ok\n"),
    ("restart --waiting", 0, r"ok\n"),
    ("reload web --waiting", 0, r"ok\n"),
    ("reload --sequential --waiting", 0, r"ok\n"),
    ("reload --terminate --waiting", 0, r"ok\n"),
    ("restart nobody --match simple", 3, r"error: program nobody not found\n"),
    ("kill web --signum TERM --graceful_timeout 5", 0, r"ok\n"),
    ("add more sleep 1000", 0, r"ok\n"),
    ("start more --waiting", 0, r"ok\n"),
    ("add --start another sleep 1000", 0, r"ok\n"),
    ("add web sleep 1000", 3, r"error: .*web.*\n"),
    ("rm more", 0, r"ok\n"),
    ("rm nobody", 3, r"error: program nobody not found\n"),
    ("reloadconfig --waiting", 0, r"ok\n"),
    ("nonsense", 2, r"(?s).*unrecognized arguments: nonsense\n"),
    ("get web", 1, r".*\n"),
    ("ipython", 3, r"error: unknown command: 'ipython'.*\n"),
]


def circusctl(folder: Path, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [peers.BIN / "circusctl", "--endpoint", f"ipc://{folder}/orders", "--timeout", str(ANSWER_S), *words],
        env=peers.environ(), input=text, capture_output=True, text=True, timeout=2 * ANSWER_S,
    )  # fmt: skip


def test_every_command_is_answered_as_it_expects(house: House, tmp_path: Path) -> None:
    wrong = []
    for command, status, expected in TABLE:
        pid = str(min(house.pids("web"))) if "{web}" in command else ""
        done = circusctl(tmp_path, *command.replace("{web}", pid).split())
        said = done.stdout + done.stderr
        if done.returncode != status or not re.fullmatch(expected.replace("{web}", pid), said):
            wrong.append((command, done.returncode, said))
    assert wrong == [], wrong
    reply = json.loads(circusctl(tmp_path, "--json", "numwatchers").stdout)
    assert (reply["status"], reply["numwatchers"]) == ("ok", 3)
    shell = circusctl(tmp_path, text="numwatchers\nlist another\n")
    assert (shell.returncode, shell.stdout.count("active\n")) == (0, 3)
    assert "(circusctl) 3\n" in shell.stdout


def test_it_listens_and_ends_circusd(house: House, tmp_path: Path) -> None:
    program = [peers.PYTHON, "-u", peers.BIN / "circusctl", "--endpoint", f"ipc://{tmp_path}/events"]
    listening = subprocess.Popen([*program, "listen", "watcher.web."], env=peers.environ(), stdout=subprocess.PIPE)
    try:
        assert listening.stdout is not None
        # It does not say when it has subscribed.
        wait_for(lambda: circusctl(tmp_path, "incr", "web").returncode == 0 and _says(listening), "an event")
        assert listening.stdout.readline().startswith(b"b'watcher.web.")
    finally:
        listening.kill()
        listening.communicate()
    assert (circusctl(tmp_path, "quit", "--waiting").stdout, house.gone()) == ("ok\n", 0)
    gone = circusctl(tmp_path, "--timeout", "1", "status")
    assert (gone.returncode, gone.stderr[:9]) == (1, "Timed out")


def _says(listening: subprocess.Popen[bytes]) -> bool:
    import select

    return bool(select.select([listening.stdout], [], [], 0.5)[0])
