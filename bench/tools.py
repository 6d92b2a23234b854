"""What the measurements need built or installed: the worker, and the peers from the public registries."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

BENCH = Path(__file__).resolve().parent
BUILD = BENCH / "build"

#: The releases that are measured; a newer one is a change of the yardstick and is made here.
RELEASES = {"supervisor": "4.3.0", "circus": "0.19.0"}


@cache
def worker() -> Path:
    source, program = BENCH / "worker.c", BUILD / "worker"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    return program


@cache
def venv_of(package: str) -> Path:
    """The folder of programs of a virtual environment that has the peer ``package``."""
    folder = BUILD / f"{package}-{RELEASES[package]}"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", f"{package}=={RELEASES[package]}"], check=True)
        (folder / "installed").touch()
    return folder / "bin"
