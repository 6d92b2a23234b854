"""The client library of papa 1.0.6, unchanged, with our kernel: its text door over TCP and over a unix socket."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from papa import places
from papa.client.blocking import Connection
from tests import ancestors
from tests.house import free_port, wait_for

pytestmark = pytest.mark.needs(str(ancestors.PYTHON))


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_an_old_client_lists_makes_watches_acknowledges_and_ends(root: Path, way: str) -> None:
    endpoint: str | int = free_port() if way == "tcp" else str(root / "papa.sock")
    Connection(endpoint, client="test").close()
    path = root / "u.sock"
    done = subprocess.run(
        [ancestors.PYTHON, ancestors.HERE / "executables" / "old_client.py", str(endpoint), str(path)],
        env=ancestors.environ(root, papa=None),
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "site-packages" in told["module"], "papa 1.0.6 itself was asked"
    assert told["empty"] == [{}, {}, {}]

    assert (told["value"], told["values"], told["removed"]) == ("two words", {"note": "two words"}, None)

    port, fileno = told["socket"].pop("port"), told["socket"].pop("fileno")
    assert told["socket"] == {"family": "inet", "type": "stream", "backlog": 7, "host": "127.0.0.1"}
    assert told["same_socket"] is True
    assert "has already been created" in told["other_socket"]
    assert told["unix"].pop("fileno") != fileno
    assert told["unix"] == {"family": "unix", "type": "stream", "backlog": 5, "path": str(path), "umask": "63"}
    assert told["sockets"] == ["s", "u"]

    assert told["process"]["running"] is True
    assert "/no/such/program" in told["bad"]
    assert told["rest"] == {"out": f"hello there {fileno} {port}\n", "err": "oh\n", "closed": [["p", 3]]}
    assert told["exit_code"] == {"p": 3}
    assert told["after"] == {}
    assert told["immediately"] == [["q", 0]]
    assert (told["long"], told["busy"], told["nothing"]) == (True, False, [{}, {}])

    wait_for(lambda: not os.path.exists(places.resolve(endpoint).directory), "the end of the kernel")
    assert not path.exists()
