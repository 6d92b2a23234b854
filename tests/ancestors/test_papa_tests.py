"""The tests that papa 1.0.6 and circus 0.17.2 have of their own, run against our client and kernel, one by one."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import ancestors

pytestmark = pytest.mark.needs(str(ancestors.PYTHON))

#: What is not run, and why.
EXCLUDED = {
    "ProcessTest.test_process_with_small_buffer": (
        "keeps 14 bytes of output, counted without their times; our bound counts what is really kept, times included"
    ),
}

#: What binds to an interface of that name, which not every machine has.
OF_ETH0 = {"SocketTest.test_inet_interface", "SocketTest.test_inet6_interface"}

PASSING = [
    "ProcessTest.test_bad_process",
    "ProcessTest.test_bad_socket_reference",
    "ProcessTest.test_bad_working_dir",
    "ProcessTest.test_echo_server_with_echo_client",
    "ProcessTest.test_echo_server_with_normal_socket",
    "ProcessTest.test_echo_server_with_reuseport",
    "ProcessTest.test_multiple_watchers",
    "ProcessTest.test_one_process_two_parallel_watchers",
    "ProcessTest.test_one_process_two_serial_watchers",
    "ProcessTest.test_process_with_close_output_early",
    "ProcessTest.test_process_with_close_output_late",
    "ProcessTest.test_process_with_err_redirected_to_out",
    "ProcessTest.test_process_with_no_buffer",
    "ProcessTest.test_process_with_no_out",
    "ProcessTest.test_process_with_none_executable",
    "ProcessTest.test_process_with_out_and_err",
    "ProcessTest.test_process_with_watch_immediately",
    "ProcessTest.test_two_list_processes_full_output",
    "ProcessTest.test_two_list_processes_wait_for_one_to_close",
    "SocketTest.test_already_exists",
    "SocketTest.test_file_socket",
    "SocketTest.test_inet",
    "SocketTest.test_inet6",
    "SocketTest.test_inet6_interface",
    "SocketTest.test_inet_interface",
    "SocketTest.test_wildcard",
    "ValueTest.test_value",
    "ValueTest.test_wildcard_clear",
]

OF_CIRCUS = ["test_file_stream", "test_stream", "test_timed_rotating_file_stream", "test_watched_file_stream"]


def installed(name: str) -> Path:
    (found,) = (ancestors.BIN.parent / "lib").glob(f"python*/site-packages/{name}")
    return found


def run(root: Path, folder: Path, name: str) -> None:
    """One test of the ancestors', by its full name, with ``folder`` as working and temporary directory."""
    done = subprocess.run(
        [ancestors.PYTHON, "-m", "unittest", "-v", name],
        cwd=folder,
        env=ancestors.environ(root, TMPDIR=str(folder), LOGNAME=getpass.getuser()),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Ran 1 test ", done.stderr, re.MULTILINE), done.stderr


def test_every_test_of_papa_1_is_run_or_excluded_by_name() -> None:
    source = (installed("tests") / "__init__.py").read_text()
    names = re.findall(r"^class (\w+)|^    def (test_\w+)", source, re.MULTILINE)
    found, group = set(), ""
    for class_name, test_name in names:
        group = class_name or group
        if test_name:
            found.add(f"{group}.{test_name}")
    assert len(found) == 29
    assert found == {*PASSING, *EXCLUDED}


@pytest.mark.parametrize("name", [n for n in PASSING if n not in OF_ETH0 or os.path.exists("/sys/class/net/eth0")])
def test_papa_1_passes_its_own_test(root: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(installed("tests") / "__init__.py", tmp_path / "papa_tests.py")
    shutil.copytree(ancestors.HERE / "executables", tmp_path / "executables")
    run(root, tmp_path, f"papa_tests.{name}")
    assert not list(tmp_path.glob("papa-debug-*"))


@pytest.mark.parametrize("name", OF_CIRCUS)
def test_circus_passes_its_own_test_of_papa(root: Path, tmp_path: Path, name: str) -> None:
    run(root, tmp_path, f"circus.tests.test_papa_stream.TestPapaStream.{name}")
