"""A real kernel under a private root for tests of the clients, ended with all that it hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import papa
from papa.client import debug


@pytest.fixture
def real_root(runtime_root: Path) -> Iterator[Path]:
    """A runtime root; kernels that a test starts under it are ended."""
    yield runtime_root
    debug.end_kernels(str(runtime_root))


@pytest.fixture
def client(real_root: Path) -> Iterator[papa.Papa]:
    """A published client of a real kernel."""
    with papa.Papa() as client:
        yield client
