from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from papa.client import launch
from papa.client.blocking import Connection
from papa.errors import PapaError


def _load_world() -> ModuleType:
    """The helper module beside this file: pytest's importlib mode puts no directory on the path."""
    path = Path(__file__).with_name("world.py")
    spec = importlib.util.spec_from_file_location("papa_conformance_world", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


worlds = _load_world()


@pytest.fixture(scope="session")
def kernel_root() -> Iterator[str]:
    """A runtime root with a kernel that serves the whole run."""
    root = tempfile.mkdtemp(prefix="papa-conf-")
    previous = os.environ.get("PAPA_RUNTIME_DIR")
    os.environ["PAPA_RUNTIME_DIR"] = root
    yield root
    try:
        with Connection(client="the end", autostart=False) as connection:
            connection.request("exit", force=True)
            while connection.wait(30.0):
                pass
    except PapaError:
        pass
    if previous is None:
        del os.environ["PAPA_RUNTIME_DIR"]
    else:
        os.environ["PAPA_RUNTIME_DIR"] = previous
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(params=["fake", "fake-asyncio", "fake-blocking", "kernel-asyncio", "kernel-blocking"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[object]:
    who, _, client = request.param.partition("-")
    if who == "fake":
        made = worlds.FakeWorld(client or "direct")
        if made.server is not None:
            monkeypatch.setattr(launch, "open_connection", made.server.open_connection)
    else:
        request.getfixturevalue("kernel_root")
        made = worlds.RealWorld(client, str(tmp_path))
    before = len(os.listdir("/proc/self/fd"))
    yield made
    made.close()
    assert len(os.listdir("/proc/self/fd")) <= before
