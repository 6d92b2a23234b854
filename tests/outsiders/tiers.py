"""The tiers: which programs of other people there are, in which version, and what of it ran. A plugin of pytest.

`pytest -p tests.outsiders.tiers` prints a line for each tier at its end; a tier of which nothing ran says why.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import ancestors, peers

#: A program that is asked for its version answers at once.
ANSWER_S = 20

PIP_VERSION = "import importlib.metadata as m; print(m.version('circus'))"


@dataclass(frozen=True, slots=True)
class Tier:
    """``files`` end the paths of its test files. ``asked``: the command that says its version."""

    name: str
    asked: tuple[str, ...]
    files: tuple[str, ...]


TIERS = [
    Tier("nginx", ("nginx", "-v"), ("outsiders/test_nginx.py",)),
    Tier("uWSGI", ("uwsgi_python3", "--version"), ("outsiders/test_uwsgi.py",)),
    Tier("gunicorn", (str(Path(sys.executable).with_name("gunicorn")), "--version"), ("outsiders/test_gunicorn.py",)),
    Tier("redis-server", ("redis-server", "--version"), ("outsiders/test_redis.py",)),
    Tier("PostgreSQL", ("postgres", "--version"), ("outsiders/test_postgres.py",)),
    Tier("sd_notify services", ("systemd-notify", "--version"), ("outsiders/test_notify.py",)),
    Tier("telnet", ("telnet", "--version"), ("outsiders/test_telnet.py",)),
    Tier("curl", ("curl", "--version"), ("outsiders/test_curl.py",)),
    Tier("Prometheus", ("prometheus", "--version"), ("outsiders/test_prometheus.py", "journeys/test_metrics.py")),
    Tier("circus 0.19", (str(peers.PYTHON), "-c", PIP_VERSION), ("tests/peers/",)),
    Tier("circus 0.17 (its tests)", (str(ancestors.PYTHON), "-c", PIP_VERSION), ("ancestors/test_circus_tests.py",)),
    Tier(
        "papa 1.0.6",
        (str(ancestors.PYTHON), "-c", PIP_VERSION.replace("circus", "papa")),
        ("ancestors/test_circus.py", "ancestors/test_old_client.py", "ancestors/test_papa_tests.py"),
    ),
]


def version_of(tier: Tier) -> str:
    """Empty where there is no such program."""
    program = shutil.which(tier.asked[0]) or _beside_the_path(tier.asked[0])
    if not program:
        return ""
    try:
        done = subprocess.run([program, *tier.asked[1:]], capture_output=True, text=True, timeout=ANSWER_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"? ({error})"
    number = re.search(r"\d+\.\d[\w.+-]*", done.stdout + done.stderr)
    return number[0] if number else "?"


def _beside_the_path(name: str) -> str:
    """Debian keeps the programs of PostgreSQL there, as several versions may be installed."""
    return next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), "")


@dataclass(slots=True)
class Seen:
    """What became of the tests of one tier."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def gather(reports: Iterable[pytest.TestReport]) -> dict[str, Seen]:
    seen = {tier.name: Seen() for tier in TIERS}
    for report in reports:
        for tier in TIERS:
            if any(file in report.nodeid for file in tier.files):
                found = seen[tier.name]
                if report.skipped:
                    found.counts["skipped"] += 1
                    found.reasons[_reason(report)] += 1
                elif report.failed or report.when == "call":
                    found.counts["failed" if report.failed else "passed"] += 1
    return seen


def _reason(report: pytest.TestReport) -> str:
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return told.removeprefix("Skipped: ")


def table(seen: dict[str, Seen]) -> list[str]:
    rows = [("tier", "version", "passed", "failed", "skipped")]
    for tier in TIERS:
        found = seen[tier.name]
        why = "; ".join(found.reasons)
        skipped = f"{found.counts['skipped']}" + (f": {why}" if why else "")
        rows.append(
            (
                tier.name,
                version_of(tier) or "not here",
                str(found.counts["passed"]),
                str(found.counts["failed"]),
                skipped,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for kind in ("passed", "failed", "skipped", "error")
        for report in terminalreporter.stats.get(kind, [])
        if isinstance(report, pytest.TestReport)
    ]
    terminalreporter.section("outsiders")
    for line in table(gather(reports)):
        terminalreporter.write_line(line)
