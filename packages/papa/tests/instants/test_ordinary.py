"""The same for an ordinary user, with the limits that such a one has: few descriptors, a small send buffer."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import machine
from tests.house import own_uid, wait_for

import papa

UID = own_uid()

#: What a login session has.
NOFILE = 1024

#: The system's: root's own may lie where nobody else may look.
PYTHON = "/usr/bin/python3" if os.geteuid() == 0 else sys.executable

pytestmark = [
    pytest.mark.needs("strace", PYTHON),
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; others are ordinary already"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where everybody may read the program, and write below ``tmp``."""
    folder = Path(tempfile.mkdtemp(prefix="papa-ordinary-", dir="/tmp"))
    folder.chmod(0o755)
    ignored = shutil.ignore_patterns("__pycache__", "test_*", "conftest.py")
    shutil.copytree(Path(papa.__file__).parent, folder / "papa", ignore=ignored)
    shutil.copytree(Path(__file__).parent, folder / "packages" / "papa" / "tests" / "instants", ignore=ignored)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o777)
    yield folder
    try:
        wait_for(lambda: not machine.marked(str(folder)), "the end of all that was started")
    finally:
        machine.end(str(folder))
        shutil.rmtree(folder)


@pytest.mark.parametrize("scene", ["Spawn", "Commit", "Recovery"])
def test_an_ordinary_user_loses_nothing_either(folder: Path, scene: str) -> None:
    done = subprocess.run(
        [PYTHON, "-m", "packages.papa.tests.instants", scene, "--every", "15" if scene != "Recovery" else "90"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "TMPDIR": str(folder / "tmp")},
        user=UID,
        group=UID,
        extra_groups=[],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (NOFILE, NOFILE)),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert ", 0 broken" in done.stdout
