"""test_systemd.py is for machines on which a test may run a systemd of its own; where it may not, it is not there."""

from __future__ import annotations

from tests.service import systemd

collect_ignore = [] if systemd.can_run() else ["test_systemd.py"]
