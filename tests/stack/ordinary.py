"""The programs of this project in a place that every user of the machine may read: a checkout of root's may be closed.

The interpreter is the system's, because root's own may lie in a closed place as well.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path("/usr/bin/python3")
ENTRIES = {"circusd": "circus.circusd", "circusctl": "circus.circusctl", "papa": "papa.cli"}

#: The traditional number of `nobody`.
UID = 65534


def problem() -> str:
    """Why there can be no such place; empty if there can."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not PYTHON.exists():
        return f"needs {PYTHON}"
    found = subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    return "" if found.startswith(f"{version}.") else f"needs {PYTHON} to be Python {version}, not {found}"


def install(folder: Path) -> Path:
    """Copy what is needed at run time to ``folder``; the directory with circusd, circusctl and papa."""
    library, bin = folder / "lib", folder / "bin"
    for package in ("papa", "circus"):
        source = ROOT / "packages" / package / "src"
        shutil.copytree(source, library, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for line in (ROOT / "requirements" / "runtime.txt").read_text().splitlines():
        name, found, _ = line.partition("==")
        if found:
            _copy(name.strip(), library)
    bin.mkdir()
    for name, module in ENTRIES.items():
        program = bin / name
        start = f"import sys\nsys.path.insert(0, {str(library)!r})\nfrom {module} import main\nsys.exit(main())\n"
        program.write_text(f"#!{PYTHON}\n{start}")
        program.chmod(0o755)
    return bin


def _copy(distribution: str, library: Path) -> None:
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return  # pinned for another platform
    for file in files:
        if ".." not in file.parts:
            target = library / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)
