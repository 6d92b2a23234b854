"""A site is a folder with what stands in examples/services, and a circusd that is started on one of the files there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import machine

from tests.house import ROOT, House, opened, wait_for
from tests.stack import ordinary

SERVICES = ROOT / "examples/services"

UID = ordinary.UID


@contextlib.contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """That every user may enter, with a path short enough for sockets; at the end nothing runs in it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    try:
        yield folder
        wait_for(lambda: not machine.marked(str(folder)), "nothing of it left")
    finally:
        machine.end(str(folder))
        shutil.rmtree(folder)


@contextlib.contextmanager
def site(name: str, *changes: tuple[str, str], uid: int | None = None) -> Iterator[House]:
    """A circusd that has started nothing yet, with the file of that name changed as told.

    The folder of the services belongs to ``uid``, as whom the file's program runs; None: as circusd.
    """
    shown = (SERVICES / f"{name}.ini").read_text()
    missing = [old for old, _ in changes if old not in shown]
    assert not missing, f"{name}.ini has no {missing}"
    with open_folder("papa-out-") as folder:
        services = folder / "house" / "services"
        shutil.copytree(SERVICES, services, ignore=shutil.ignore_patterns("__pycache__"))
        (services / "temp").mkdir()
        for path in services.iterdir():
            if path.is_file():
                text = path.read_text()
                for old, new in changes:
                    text = text.replace(old, new)
                path.write_text(text.replace("/srv/services", str(services)))
        config = (services / f"{name}.ini").read_text()
        if uid is not None and os.geteuid() == 0:
            for path in (services, *services.rglob("*")):
                os.chown(path, uid, uid)
        with opened(folder / "house", config) as house:
            yield house


def services(house: House) -> Path:
    return house.folder / "services"


def is_ready(house: House, watcher: str, *, unlike: int) -> bool:
    """Its only process is another one than ``unlike``, and serves."""
    slots = json.loads(house.asked("--json", "status", watcher))["slots"]
    return any(slot["ready"] and slot["pid"] not in (None, unlike) for slot in slots)


def as_user(name: str) -> list[tuple[str, str]]:
    """The change of a file: its user may not be there. Who is not root cannot choose."""
    return [(f"uid = {name}\n", f"uid = {UID}\n" if os.geteuid() == 0 else "")]
