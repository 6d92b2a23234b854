"""Where the budgets stand: their file, and the table of them in the documentation."""

from __future__ import annotations

import platform
from pathlib import Path

from tests.counts import budget
from tests.house import ROOT

FILE = Path(__file__).parent / "budgets.toml"

PAGE = ROOT / "docs" / "performance.md"

BEGIN, END = "<!-- counts -->\n", "<!-- end of counts -->\n"

#: That of the gate's main run. Others may have budgets, too.
BINDING = "3.11"


def python() -> str:
    """The version that runs this."""
    return ".".join(platform.python_version_tuple()[:2])


def budgets(version: str) -> budget.Budgets:
    return budget.parse(FILE.read_text(), version) if FILE.exists() else {}


def renew(counts: budget.Counts) -> None:
    """Of the version that runs this, in the file; in the documentation if it is the binding one."""
    versions = sorted({BINDING, python()})
    new = {version: budgets(version) for version in versions}
    new[python()] = budget.renewed(new[python()], counts)
    FILE.write_text(budget.render({version: each for version, each in new.items() if each}))
    PAGE.write_text(filled(PAGE.read_text()))


def filled(page: str) -> str:
    """The page with the table as it must be."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{PAGE.name} has no place for the table"
    return before + BEGIN + budget.table(budgets(BINDING)) + END + after
