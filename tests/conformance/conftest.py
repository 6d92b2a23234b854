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
from tests.house import free_port

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
def kernel_port() -> Iterator[int]:
    """The port of a kernel that serves the whole run, in a runtime root of its own."""
    port = free_port()
    root = tempfile.mkdtemp(prefix="papa-conf-")
    previous = os.environ.get("PAPA_RUNTIME_DIR")
    os.environ["PAPA_RUNTIME_DIR"] = root
    yield port
    try:
        with Connection(port, client="the end", autostart=False) as connection:
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


#: Who the kernel is, who asks it, and on what way.
WORLDS = [
    "fake",
    *(
        f"{who}-{client}{way}"
        for who in ("fake", "kernel")
        for client in ("asyncio", "blocking")
        for way in ("", "-tcp")
    ),
]


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[object]:
    who, client, way = (*request.param.split("-"), "", "")[:3]
    if who == "fake":
        made = worlds.FakeWorld(client or "direct", is_tcp=way == "tcp")
        if made.server is not None:
            monkeypatch.setattr(launch, "open_connection", made.server.open_connection)
    else:
        made = worlds.RealWorld(client, str(tmp_path), request.getfixturevalue("kernel_port"), is_tcp=way == "tcp")
        monkeypatch.setattr(launch, "open_connection", made.open_connection)
    before = len(os.listdir("/proc/self/fd"))
    yield made
    made.close()
    assert len(os.listdir("/proc/self/fd")) <= before
