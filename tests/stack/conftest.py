"""The stack of examples/stack in a folder of its own: as root, and as an ordinary user beside it where the tests run as
root."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.stack.show import Stack

from tests.house import worker_number
from tests.outsiders.sites import open_folder
from tests.stack import ordinary

USERS = ["root", "ordinary"] if os.geteuid() == 0 else ["ordinary"]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports() -> tuple[int, int]:
    """One for nginx, and one whose nine successors are free, too: they are those of the slots' stats servers."""
    while True:
        # Below the range from which the system takes ports for clients, and those of tests.house.
        port = (1100 + 40 * worker_number() + random.randrange(40)) * 10
        if all(is_free(port + offset) for offset in range(10)):
            return port, port


@pytest.fixture(params=USERS)
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    with open_folder("papa-stack-") as folder:
        bin, uid = Path(sys.executable).parent, None
        if request.param == "ordinary" and os.geteuid() == 0:
            if reason := ordinary.problem():
                pytest.skip(reason)
            bin, uid = ordinary.install(folder / "programs"), ordinary.UID
        port, stats_port = free_ports()
        stack = Stack(folder / "my", bin, port=port, stats_port=stats_port, uid=uid)
        try:
            yield stack
        finally:
            stack.end()
