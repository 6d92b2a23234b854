"""Programs of the published circus 0.19, unchanged, with our circusd: its circusctl, its classes, its circus-top.

They live in an environment of their own (`make peers`), because their package has the name of ours.
"""

from __future__ import annotations

import os
from pathlib import Path

BIN = Path(__file__).parents[2] / ".venv-peers" / "bin"
PYTHON = BIN / "python"


def environ(**more: str) -> dict[str, str]:
    """What such a program sees."""
    chosen = {name: os.environ[name] for name in ("HOME", "LANG", "TZ") if name in os.environ}
    return {**chosen, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1", **more}
