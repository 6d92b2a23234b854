"""One world for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from packages.papa.tests.instants import world
from packages.papa.tests.instants.world import World


@pytest.fixture
def place(runtime_root: Path, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "children"
    folder.mkdir()
    with world.opened(folder) as opened:
        yield opened
