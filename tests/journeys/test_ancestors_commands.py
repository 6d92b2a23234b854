"""Every command of Circus 0.17 to 0.19, with the names and arguments that it has there, given to our circusctl.

Where ours answers otherwise on purpose, docs/migrating.md says so. A program of 0.19 that asks our circusd is in
tests/peers.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from circus.cli.words import COMMANDS
from tests.house import BIN, House, opened, wait_for

CONFIG = """
[circus]
name = old

[watcher:web]
cmd = sleep 1000
numprocesses = 2
graceful_timeout = 20

[watcher:Data.base]
cmd = sleep 1000
singleton = true

[socket:front]
host = 127.0.0.1
port = 0
"""

#: Command line, exit status, and the whole of what is printed (of both streams) as a regular expression. In this order;
#: {web} is a pid of that watcher.
TABLE = [
    ("--version", 0, r"\S+\n"),
    ("--help", 0, r"(?s)usage: circusctl .*  status  +state of the watchers\n.*"),
    ("--help status", 0, r"(?s)usage: circusctl status .*State of the watchers\..*"),
    ("status --help", 0, r"(?s)usage: circusctl status .*State of the watchers\..*"),
    ("status", 0, r"Data\.base: active\nweb: active\n"),
    ("status WEB", 0, r"active\n"),
    ("status nobody", 3, r"error: watcher 'nobody' not found\n  hint: .*\n"),
    ("list", 0, r"Data\.base,web\n"),
    ("list web", 0, r"\d+,\d+\n"),
    ("numwatchers", 0, r"2\n"),
    ("numprocesses", 0, r"3\n"),
    ("numprocesses web", 0, r"2\n"),
    ("get web cmd numprocesses graceful_timeout", 0, r"cmd: sleep 1000\ngraceful_timeout: 20\.0\nnumprocesses: 2\n"),
    ("get web nothing", 3, r"error: web: 'nothing' option not found\n  hint: .*\n"),
    ("get web", 2, r"error: .*KEY\n  hint: .*\n"),
    ("options web", 0, r"(?s).*\bcmd: sleep 1000\n.*numprocesses: 2\n.*"),
    ("globaloptions", 0, r"(?s).*check_delay: 5\.0\n.*endpoint: None\n.*pubsub_endpoint: None\n.*stats_endpoint: .*"),
    ("globaloptions endpoint", 0, r"endpoint: None\n"),
    ("globaloptions nothing", 3, r"error: 'nothing' option not found\n  hint: .*\n"),
    ("dstats", 0, r"Main Process:\n   \d+  circusd \S+ -?\d+ .*\npapa:\n   \d+ .*\n"),
    ("stats", 0, r"(?s)web:\n\d+: \d+  sleep .*Data\.base:\n\d+: \d+  sleep .*\n"),
    ("stats web", 0, r"web:\n(\d+: \d+  sleep \S+ -?\d+ .*\n){2}"),
    ("stats --extended web", 0, r"web:\n(\d+: \d+  sleep .*\n){2}"),
    ("stats web {web}", 0, r"web:\n{web}: {web}  sleep .*\n"),
    ("listsockets", 0, r"\d+:socket 'front' at 127\.0\.0\.1:\d+\n"),
    ("incr web --waiting", 0, r"3\n"),
    ("incr web 2 --waiting", 0, r"5\n"),
    ("decr web 2 --waiting", 0, r"3\n"),
    ("decr --waiting web", 0, r"2\n"),
    ("incr data.base", 0, r"1\nwarning: Data\.base is a singleton: .*\n"),
    ("signal web {web} URG", 0, r"ok\n"),
    ("signal web SIGURG --children", 0, r"ok\n"),
    ("signal web 23 --recursive", 0, r"ok\n"),
    ("signal web nope", 3, r"error: 'nope' is no signal\n  hint: .*\n"),
    ("set web numprocesses 2 --waiting", 0, r"ok\n"),
    ("set web stop_signal KILL graceful_timeout 3", 0, r"ok\n"),
    ("set web hooks.after_stop no.such", 3, r"error: web: after_stop: hook no\.such: .*\n  hint: .*\n"),
    ("set web numprocesses", 2, r"error: numprocesses has no value\n  hint: .*\n"),
    ("stop web --waiting", 0, r"ok\n"),
    ("status web", 0, r"stopped\n"),
    ("start web --waiting", 0, r"ok\n"),
    ("stop w* --match glob --waiting", 0, r"ok\n"),
    ("start we. --match regex --waiting", 0, r"ok\n"),
    ("restart nobody --match simple", 3, r"error: watcher 'nobody' not found\n  hint: .*\n"),
    ("restart web --waiting", 0, r"ok\n"),
    ("restart --waiting", 0, r"ok\n"),
    ("start --waiting", 0, r"ok\n"),
    ("reload web --waiting", 0, r"ok\n"),
    ("reload --sequential --waiting", 0, r"ok\n"),
    ("reload --terminate --waiting", 0, r"ok\n"),
    ("kill web {web} --signum TERM --graceful_timeout 5 --waiting", 0, r"ok\n"),
    ("kill web", 0, r"ok\n"),
    ("add more sleep 1000", 0, r"ok\n"),
    ("start more --waiting", 0, r"ok\n"),
    ("add --start another sleep 1000", 0, r"ok\n"),
    ("add web sleep 1000", 3, r"error: watcher 'web' exists already\n  hint: .*\n"),
    ("rm more --waiting", 0, r"ok\n"),
    ("rm nobody", 3, r"error: watcher 'nobody' not found\n  hint: .*\n"),
    ("rm another", 0, r"ok\n"),
    ("reloadconfig --waiting", 0, r"(?s)nothing changed\n.*ok\n"),
    ("nonsense", 2, r"error: unknown command 'nonsense'\n  hint: .*\n"),
    ("ipython", 2, r"error: ipython .* gone\n  hint: .*\n"),
    ("--timeout 1 --endpoint nobody status", 1, r"error: no circusd answers at .*\n  hint: .*\n"),
    ("--ssh_keyfile key status", 2, r"error: --ssh_keyfile is for --ssh\n  hint: .*\n"),
    ("--ssh -oProxyCommand=x status", 2, r"error: --ssh '-oProxyCommand=x' is no place\n  hint: .*\n"),
]

#: With tests of their own: it does not end by itself, and it ends circusd.
ELSEWHERE = {"listen", "quit"}

#: As `circusctl --help` of 0.19 lists them.
ANCESTORS = [
    "add", "decr", "dstats", "get", "globaloptions", "incr", "ipython", "kill", "list", "listen", "listsockets",
    "numprocesses", "numwatchers", "options", "quit", "reload", "reloadconfig", "restart", "rm", "set", "signal",
    "start", "stats", "status", "stop",
]  # fmt: skip

#: A stand-in for ssh: it says how it was called, and runs what it was given with a shell, as sshd does.
SSH = """\
#!/bin/sh
for last; do :; done
echo "$@" > "{folder}/called"
exec /bin/sh -c "$last"
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path / "house", CONFIG, CIRCUSCTL_ENDPOINT="old") as house:
        house.start()
        yield house


def test_every_command_of_the_ancestors_is_there(house: House) -> None:
    wrong = []
    for command, status, expected in TABLE:
        pid = str(min(wait_for(lambda: house.pids("web"), "web runs"))) if "{web}" in command else ""
        done = house.run(BIN / "circusctl", *shlex.split(command.replace("{web}", pid)))
        said = done.stdout + done.stderr
        if done.returncode != status or not re.fullmatch(expected.replace("{web}", pid), said):
            wrong.append((command, done.returncode, said))
    assert wrong == []
    assert house.run(BIN / "circusctl", "quit", "--waiting").stdout == "ok\n"


def test_the_table_has_them_all_and_they_are_ours_but_one() -> None:
    asked = {word for command, _, _ in TABLE for word in command.split()}
    assert set(ANCESTORS) <= asked | ELSEWHERE
    assert set(ANCESTORS) - COMMANDS.keys() == {"ipython"}


#: The module, its words, exit status, and what is printed as a regular expression. There is no circusd-stats: circusd
#: publishes statistics itself.
PROGRAMS = [
    ("circus.circusd", "--version", 0, r"\d+\.\S+\n"),
    ("circus.circusd", "", 0, r"(?s)usage: circusd .*"),
    ("circus.circusd", "--log-level DEBUG --version", 0, r"\d+\.\S+\n"),
    ("circus.circusd", "--log-level loud x.ini", 2, r"(?s).*--log-level.*"),
    ("circus.circusctl", "--version", 0, r"\d+\.\S+\n"),
    ("circus.plugins.host", "--version", 0, r"\d+\.\S+\n"),
    ("circus.plugins.host", "", 2, r".*CLASS.*\n"),
    ("circus.circustop", "--version", 0, r"\d+\.\S+\n"),
]


@pytest.mark.parametrize(("module", "words", "status", "expected"), PROGRAMS)
def test_the_programs_of_the_ancestors(module: str, words: str, status: int, expected: str) -> None:
    # As their entry points are called: not every environment has the scripts again since the last one was added.
    code = f"import sys; from {module} import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert re.fullmatch(expected, done.stdout + done.stderr), done


def test_the_raw_answer_in_one_line_or_in_many(house: House) -> None:
    assert house.ctl("--json", "numwatchers").stdout == '{"numwatchers": 2}\n'
    assert house.ctl("--json", "--prettify", "numwatchers").stdout == '{\n    "numwatchers": 2\n}\n'
    refused = house.ctl("--json", "status", "nobody")
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (3, "not-found")


def test_by_ssh_the_circusctl_there_is_asked(house: House, tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text(SSH.format(folder=tmp_path))
    program.chmod(stat.S_IRWXU)
    house.environ["PATH"] = f"{tmp_path}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}"
    asked = [BIN / "circusctl", "--ssh", "ann@host:2222", "--ssh_keyfile", "key", "--json"]
    done = house.run(*asked, "list", "we[b]", "--match", "glob")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(json.loads(done.stdout)["answers"]) == ["web"]
    called = (tmp_path / "called").read_text()
    assert called == "-p 2222 -i key -- ann@host circusctl --json list 'we[b]' --match glob\n"
    done = house.run(BIN / "circusctl", "--ssh=[::1]:22", "status", "it's $HOME")
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, 'error: watcher "it\'s $HOME" not found')
    assert (tmp_path / "called").read_text().startswith("-p 22 -- ::1 circusctl status ")
    done = house.run("/bin/sh", "-c", f"{BIN}/circusctl --ssh host status web <&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "active\n", "")


def test_without_a_program_for_ssh_it_says_so(house: House, tmp_path: Path) -> None:
    house.environ["PATH"] = str(tmp_path)
    done = house.run(BIN / "circusctl", "--ssh", "host", "status")
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        ["error: --ssh needs the program ssh, which cannot be run: No such file or directory",
         "  hint: install the OpenSSH client"],
    )  # fmt: skip
