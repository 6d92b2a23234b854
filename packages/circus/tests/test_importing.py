from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from circus import importing


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "for_import_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text("from for_import_tests import large\nname = large.name\n")
    (folder / "small.py").write_text("name = 'small'\n")
    (folder / "large.py").write_text("name = 'large'\n")
    monkeypatch.syspath_prepend(tmp_path)
    for each in ("", ".small", ".large"):
        monkeypatch.delitem(sys.modules, f"{folder.name}{each}", raising=False)
    return folder.name


def test_a_module_comes_without_what_its_package_brings_and_the_package_is_whole_later(package: str) -> None:
    with importing.without_init(package):
        small = importing.find(f"{package}.small.name")
    assert small == "small"
    assert f"{package}.large" not in sys.modules and package not in sys.modules
    with pytest.raises(ModuleNotFoundError, match="no_such"), importing.without_init("there_is_no_such_package"):
        pass
    assert importing.find(f"{package}.name") == "large"
    loaded = sys.modules[package]
    with importing.without_init(package):
        assert sys.modules[package] is loaded, "it has all that already"


def test_circusd_carries_nothing_that_it_does_not_need() -> None:
    code = """
import sys
import circus.daemon.main
from circus.control.ops import Ops
from circus.control.routes import make_app
from circus.control.server import ControlServer
from circus.testing.circusd import FakeEngine
ControlServer(make_app(Ops(FakeEngine())), None)
unwanted = {"click", "multiprocessing", "uvicorn.main", "prometheus_client"}
unwanted |= {"zmq", "cryptography", "cronsim", "difflib"}
print(sorted(unwanted & sys.modules.keys()))
import uvicorn
uvicorn.run
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
