"""promtool reads what circusd tells; that a whole Prometheus collects it: tests/journeys/test_metrics.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.house import opened, ticker

pytestmark = pytest.mark.needs("promtool", "curl")


def test_metrics_are_as_prometheus_wants_them(runtime_root: Path) -> None:
    with opened(runtime_root / "house", ticker("web", count=2)) as house:
        house.start()
        page = subprocess.run(
            ["curl", "-sS", "--unix-socket", house.folder / "run/circus-default.sock", "http://localhost/metrics"],
            capture_output=True, timeout=60, check=True,
        ).stdout  # fmt: skip
        assert b"circus_watcher_processes_ready" in page
        checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
