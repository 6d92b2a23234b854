"""Tests for machines that let a test have a container, or a systemd of its own; elsewhere they are not there."""

from __future__ import annotations

from tests.service import container, receivers, systemd

collect_ignore = [
    *([] if systemd.can_run() else ["test_systemd.py"]),
    *([] if receivers.can_run() else ["test_receivers.py"]),
    *([] if container.can_run() else ["test_container.py"]),
]
