from __future__ import annotations

import subprocess
import sys


def test_circusd_carries_nothing_that_it_does_not_need() -> None:
    code = """
import sys, types
import circus.daemon.main
from circus.control.ops import Ops
from circus.control.routes import make_app
from circus.control.server import ControlServer
from circus.testing.circusd import FakeEngine
ControlServer(make_app(Ops(FakeEngine())), types.SimpleNamespace(sock=None))
unwanted = {"prometheus_client", "zmq", "cryptography", "cronsim", "difflib", "rich", "textual"}
print(sorted(unwanted & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
