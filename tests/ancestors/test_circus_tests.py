"""Tests of circus 0.17.2, the last release that brings them along, towards our circusd: what they order by ZMQ.

Later releases are published without tests. All that begin with an arbiter to which a client gives orders are run,
unless they stand below with a reason. The rest of that suite looks at classes of its own in its own process: no circusd
of ours would be asked.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from bench import machine

from tests import ancestors
from tests.ancestors.test_papa_tests import installed
from tests.house import BIN

pytestmark = pytest.mark.needs(str(ancestors.PYTHON))

#: module -> its classes of which every test is run or excluded.
CLASSES = {
    "test_arbiter": ["TestTrainer"],
    "test_circusctl": ["CommandlineTest", "CLITest"],
    "test_client": ["TestClient"],
    "test_command_kill": ["KillCommandTest"],
    "test_command_signal": ["SignalCommandTest", "SignalRecursiveCommandTest"],
    "test_stdin_socket": ["StdinSocketTest"],
    "test_stream": ["TestWatcher"],
    "test_umask": ["UmaskTest"],
    "test_watcher": ["TestWatcher"],
}

OF_OBJECTS = "looks into the arbiter's or a stream's object, which is in another process"
OF_STATISTICS = "expects circusd-stats among the watchers: here circusd itself tells the statistics"
OF_HASTE = "expects that a process answers a signal within 0.1 s"
OF_START = "expects that a start that was not waited for has ended"
OF_HELP = "asks no circusd"

#: What is not run, and why.
EXCLUDED = {
    "test_arbiter.TestTrainer.test_add_watcher6": OF_START,
    "test_arbiter.TestTrainer.test_plugins": OF_OBJECTS,
    "test_arbiter.TestTrainer.test_rm_watcher_nostop": "waits for the process as its parent, which papa is",
    "test_arbiter.TestTrainer.test_stop_watchers3": OF_START,
    "test_circusctl.CommandlineTest.test_command_already_running": (
        "expects a refusal while another order is carried out: here both are"
    ),
    "test_circusctl.CommandlineTest.test_help_for_add_command": OF_HELP,
    "test_circusctl.CommandlineTest.test_help_invalid_command": OF_HELP,
    "test_circusctl.CommandlineTest.test_help_switch_no_command": OF_HELP,
    "test_client.TestClient.test_client": "asks for values of an environment: here they are shown as ***",
    "test_command_kill.KillCommandTest.test_exits_within_graceful_timeout": OF_HASTE,
    "test_command_kill.KillCommandTest.test_kills_after_graceful_timeout": OF_HASTE,
    "test_command_signal.SignalCommandTest.test_handler": OF_STATISTICS,
    "test_command_signal.SignalRecursiveCommandTest.test_handler": OF_STATISTICS,
    "test_stdin_socket.StdinSocketTest.test_stdin_socket": OF_OBJECTS,
    "test_stdin_socket.StdinSocketTest.test_stdin_socket_missing_raises": OF_OBJECTS,
    **dict.fromkeys(
        (
            f"test_stream.TestWatcher.test_{name}"
            for name in (
                "file_stream",
                "watched_file_stream",
                "timed_rotating_file_stream",
                "stream",
                "stop_and_restart",
            )
        ),
        OF_OBJECTS,
    ),
    "test_watcher.TestWatcher.test_arbiter_reference": OF_OBJECTS,
    "test_watcher.TestWatcher.test_unexisting": OF_OBJECTS,
    "test_watcher.TestWatcher.test_max_age": "expects that `set max_age` restarts: here it counts for those that run",
}

#: Each starts a circusd; so many take some seconds.
AT_ONCE = 6


def found() -> list[str]:
    names = []
    for module, classes in CLASSES.items():
        source = (installed("circus") / "tests" / f"{module}.py").read_text()
        group = ""
        for class_name, test_name in re.findall(r"^class (\w+)|^    def (test_\w+)", source, re.MULTILINE):
            group = class_name or group
            if test_name and group in classes:
                names.append(f"{module}.{group}.{test_name}")
    return names


RUN = [name for name in found() if name not in EXCLUDED] if ancestors.PYTHON.exists() else []


def test_what_is_excluded_is_there_and_most_is_run() -> None:
    assert set(EXCLUDED) <= set(found())
    assert (len(RUN), len(EXCLUDED)) == (32, 23)


@pytest.mark.parametrize("at", range(0, len(RUN), AT_ONCE))
def test_circus_passes_its_own_tests_towards_our_circusd(tmp_path: Path, at: int) -> None:
    names = RUN[at : at + AT_ONCE]
    program = [ancestors.PYTHON, ancestors.HERE / "executables/elsewhere.py", BIN / "circusd"]
    try:
        done = subprocess.run(
            [*program, *(f"circus.tests.{name}" for name in names)],
            cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=250,
            env=ancestors.environ(tmp_path, papa=None, SUITE_FOLDER=str(tmp_path), ASYNC_TEST_TIMEOUT="120"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert re.search(rf"^Ran {len(names)} tests? ", done.stderr, re.MULTILINE), done.stderr
        assert "skipped" not in done.stderr
    finally:
        machine.end(str(tmp_path))
