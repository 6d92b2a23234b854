"""Programs of the ancestors, unchanged, with our papa: a manager of 2022, its tests, papa 1.0.6's tests and client.

They live in an environment of their own (`make ancestors`), in which papa is 1.0.6; with our sources on PYTHONPATH it
is ours. Our circus is never there: it has the same name.
"""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent
BIN = HERE.parents[1] / ".venv-ancestors" / "bin"
PYTHON = BIN / "python"
PAPA_SOURCES = HERE.parents[1] / "packages" / "papa" / "src"


def environ(root: Path, *, papa: Path | None = PAPA_SOURCES, **more: str) -> dict[str, str]:
    """What such a program sees; without ``papa`` it gets papa 1.0.6."""
    chosen = {name: os.environ[name] for name in ("HOME", "LANG", "TZ") if name in os.environ}
    chosen.update(PATH=f"{BIN}:{os.environ['PATH']}", PAPA_RUNTIME_DIR=str(root), PYTHONDONTWRITEBYTECODE="1")
    if papa is not None:
        chosen["PYTHONPATH"] = str(papa)
    return {**chosen, **more}
