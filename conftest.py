"""What all tests share: programs that may be missing, and nothing left behind.

A test marked ``needs("nginx")`` is skipped by name where that program is missing. Under PAPA_TEST_NO_SKIP=1,
as in the gate, every skip is a failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from bench import machine

NO_SKIP = os.environ.get("PAPA_TEST_NO_SKIP") == "1"

#: How long what a test started may need to go after the test let go of it.
LEAVE_S = 30.0


#: Whose tests take longest begin first, so that at the end nobody waits for one of them.
LONGEST = ("tests/counts/", "tests/chaos/", "tests/soak/", "tests/stack/", "tests/ancestors/", "tests/journeys/")


#: How long an example takes says how busy the machine is. In the gate they are the same ones each time: what chance
#: finds elsewhere is nobody's fault who changes something else.
hypothesis.settings.register_profile(
    "house", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], derandomize=NO_SKIP
)
hypothesis.settings.load_profile("house")


def pytest_configure() -> None:
    # Who runs tests in the background of a script ignores it, and so would every program that they start.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((n for n, folder in enumerate(LONGEST) if item.nodeid.startswith(folder)), len(LONGEST))

    items.sort(key=place)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            if shutil.which(program) is None:
                pytest.skip(f"needs the program {program}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    report = yield
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped, and here a skip is a failure: {report.longrepr}"
    return report


@pytest.fixture
def runtime_root(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A private runtime root; at the end no process may run with it, and none does."""
    root = tmp_path_factory.mktemp("run")
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(root))
    yield root
    left = _wait_until_gone(root)
    machine.end(str(root))
    assert not left, f"processes were left behind: {left}"


def _wait_until_gone(root: Path) -> dict[int, str]:
    deadline = time.monotonic() + LEAVE_S
    while (left := machine.marked(str(root))) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
