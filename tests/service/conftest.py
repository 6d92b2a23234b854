"""Tests for machines that let a test have a container, or a systemd of its own; elsewhere they are not there."""

from __future__ import annotations

from tests.service import container, systemd

collect_ignore = [
    *([] if systemd.can_run() else ["test_systemd.py"]),
    *([] if container.can_run() else ["test_container.py"]),
]
