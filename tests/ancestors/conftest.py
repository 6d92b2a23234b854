from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from papa.client import debug


@pytest.fixture
def root(runtime_root: Path) -> Iterator[Path]:
    """A runtime root whose kernels, and what they host, are ended afterwards."""
    yield runtime_root
    debug.end_kernels(str(runtime_root))
