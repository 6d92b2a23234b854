"""What the measurements need built or installed: programs in C, and the peers from the public registries.

Everything ends in ``build/``, nothing in the system, and root is not needed. What cannot be installed here says why
in one line (`Unmeasured`): the peer is then left out by name, and the run goes on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

BENCH = Path(__file__).resolve().parent
BUILD = BENCH / "build"

#: The releases that are measured; a newer one is a change of the yardstick and is made here.
RELEASES = {
    "supervisor": "4.3.0",
    "circus": "0.19.0",
    "pm2": "7.0.4",
    "runit": "2.1.2-54",
    "s6": "2.11.3.2-1",
}

#: The last circus that knew papa, and that papa. Both need a Python that has long been replaced.
CIRCUS_WITH_PAPA = ("circus==0.17.2", "papa==1.0.6")
OLD_PYTHON = "python3.9"

#: What a Debian package needs besides libc; these names carry their versions.
LIBRARIES = {"runit": (), "s6": ("libs6-2.11", "libskarnet2.13", "libexecline2.9")}

#: An installer that waits longer has no network.
INSTALL_S = 300


class Unmeasured(Exception):
    """The peer cannot be installed here, or cannot take part in a measurement. It says why in one line."""


@cache
def program(name: str) -> Path:
    source, built = BENCH / f"{name}.c", BUILD / name
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(exist_ok=True)
        # Another run that builds it, too, must not execute half of it.
        fresh = BUILD / f".{name}-{os.getpid()}"
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", fresh, source], check=True)
        fresh.rename(built)
    return built


def worker() -> Path:
    return program("worker")


@cache
def venv_of(package: str) -> Path:
    """The folder of programs of a virtual environment that has the peer ``package``."""
    release = f"{package}-{RELEASES[package]}"
    return _venv(BUILD / release, sys.executable, f"{package}=={RELEASES[package]}")


@cache
def venv_with_papa() -> Path:
    return _venv(BUILD / "-".join(CIRCUS_WITH_PAPA).replace("==", "-"), _old_python(), *CIRCUS_WITH_PAPA)


def _old_python() -> str:
    """Raises: Unmeasured where there is none."""
    installed = [*sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9")), shutil.which(OLD_PYTHON)]
    for python in filter(None, installed):
        # A shim of pyenv is on the PATH where the Python behind it is not.
        if not subprocess.run([python, "-c", ""], capture_output=True).returncode:
            return str(python)
    raise Unmeasured(f"no {OLD_PYTHON} on PATH or in ~/.pyenv/versions")


def _venv(folder: Path, python: str, *requirements: str) -> Path:
    if not (folder / "installed").exists():
        _run(python, "-m", "venv", "--clear", str(folder))
        _run(str(folder / "bin/pip"), "install", "--quiet", *requirements)
        (folder / "installed").touch()
    return folder / "bin"


@cache
def node_modules_of(package: str) -> Path:
    """The folder of programs of an installation by npm that has the peer ``package``."""
    release = RELEASES[package]
    folder = BUILD / f"{package}-{release}"
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        quiet = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        _run("npm", "install", "--prefix", str(folder), *quiet, f"{package}@{release}")
        (folder / "installed").touch()
    return folder / "node_modules/.bin"


@cache
def unpacked(package: str) -> Path:
    """The root of what the Debian package ``package`` contains, and its libraries."""
    folder = BUILD / f"{package}-{RELEASES[package]}"
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        wanted = (f"{package}={RELEASES[package]}", *LIBRARIES[package])
        _run("apt-get", "download", *wanted, folder=folder)
        for archive in folder.glob("*.deb"):
            _run("dpkg-deb", "-x", str(archive), str(folder))
        (folder / "installed").touch()
    return folder


def _run(*argv: str, folder: Path | None = None) -> None:
    """Raises: Unmeasured with the last line that it said."""
    what = " ".join([Path(argv[0]).name, *argv[1:3]])
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S)
    except FileNotFoundError:
        raise Unmeasured(f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unmeasured(f"{what}: not done after {INSTALL_S} s") from None
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines() or [f"status {done.returncode}"]
        errors = [line for line in said if line.startswith(("E:", "ERROR", "npm error"))]
        raise Unmeasured(f"{what}: {(errors or said)[-1]}")
