"""The table of tiers: each file of tests has its line, and what did not run says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.outsiders import tiers

HERE = Path(__file__).parent


def report(nodeid: str, outcome: Any, when: Any = "call", why: Any = None) -> pytest.TestReport:
    return pytest.TestReport(nodeid, ("", None, ""), {}, outcome, why, when)


def test_every_file_is_of_a_tier_and_every_tier_has_its_files() -> None:
    named = [file for tier in tiers.TIERS for file in tier.files]
    assert len(named) == len(set(named))
    missing = [file for file in named if not (HERE.parent / file.removeprefix("tests/")).exists()]
    assert not missing
    files = {f"outsiders/{path.name}" for path in HERE.glob("test_*.py")} - {f"outsiders/{Path(__file__).name}"}
    assert files <= set(named)


def test_what_ran_is_counted_and_what_did_not_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "version_of", lambda tier: "" if tier.name == "redis-server" else "1.2")
    why = ("conftest.py", 1, "Skipped: needs the program redis-server")
    seen = tiers.gather(
        [
            report("tests/outsiders/test_nginx.py::test_a", "passed"),
            report("tests/outsiders/test_nginx.py::test_a", "passed", "teardown"),
            report("tests/outsiders/test_nginx.py::test_b", "failed", "setup"),
            report("tests/outsiders/test_redis.py::test_c", "skipped", "setup", why),
            report("tests/outsiders/test_redis.py::test_d", "skipped", "setup", why),
            report("tests/peers/test_classes.py::test_e", "passed"),
        ]
    )
    rows = {line.split("  ")[0]: line.split() for line in tiers.table(seen)}
    assert rows["nginx"] == ["nginx", "1.2", "1", "1", "0"]
    assert " ".join(rows["redis-server"]) == "redis-server not here 0 0 2: needs the program redis-server"
    assert rows["circus 0.19"][-3:] == ["1", "0", "0"]
