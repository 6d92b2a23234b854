from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import House, opened

CONFIG = """
[circus]
name = peers
endpoint = ipc://{folder}/orders
pubsub_endpoint = ipc://{folder}/events
stats_endpoint = ipc://{folder}/stats

[watcher:web]
cmd = sleep 1000
numprocesses = 2
graceful_timeout = 20

[watcher:Data.base]
cmd = sleep 1000
singleton = true

[socket:front]
host = 127.0.0.1
port = 0
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A circusd that the programs find at ``tmp_path``: orders, events, stats."""
    with opened(tmp_path / "house", CONFIG.format(folder=tmp_path), CIRCUSCTL_ENDPOINT="peers") as house:
        house.start()
        yield house
