"""The new circusd in a child of the old one: everything that a start would do, as far as it changes nothing.

It is the very program that would be executed, with the same arguments, environment and directory, told by a variable
that it shall only try. So it fails where a start would fail. What only the old one knows comes on standard input, what
it has found out goes, as one line of JSON, to standard output; a failure is a line on standard error and status 1.

It imports all of circus that a circusd may need later, so that nothing of it is missing or broken.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import pkgutil
import platform
import sys
from pathlib import Path

import msgspec

import circus
from circus import hooks
from circus.config import load
from circus.config.model import CircusConfig, ConfigInvalid
from circus.control import endpoints
from circus.engine import history, memory, planning, runbook
from circus.engine.names import Names
from circus.engine.startup import survivor_of
from circus.errors import CircusError
from circus.streams import store
from circus.upgrade import handover
from papa.client.aio import AsyncPapa
from papa.errors import PapaError

#: What a circusd never imports: other programs, and what has libraries of its own.
OTHERS = (
    "circus.cli.", "circus.tui.", "circus.testing.", "circus.plugins.", "circus.drill.",
    "circus.circusctl.", "circus.circustop.", "circus.green.",
    "circus.legacy.zmq_client.", "circus.legacy.zmq_feed.", "circus.legacy.stats.", "circus.stats.client.",
    "circus.client.", "circus.consumer.", "circus.util.", "circus.stream.", "circus.exc.",
)  # fmt: skip

#: The first bytes of a file have its format.
HEAD_BYTES = 4 << 20

MAX_NAMED = 5


class Told(msgspec.Struct, forbid_unknown_fields=False):
    """By the circusd that runs: its ``name``, ``control`` socket and kernel (``endpoint``), the ``files`` of its
    configuration and what was in them (digests), its ``watchers`` (name -> digest) as these files have them."""

    handover: int
    name: str
    control: str
    endpoint: str
    files: dict[str, str]
    watchers: dict[str, str]


class Found(msgspec.Struct):
    """``warnings`` of the configuration."""

    version: str
    python: str
    path: str
    warnings: list[str] = []


def main(config_path: str) -> None:
    """Ends the process."""
    try:
        told = msgspec.json.decode(sys.stdin.buffer.read(), type=Told)
        found = rehearse(told, config_path)
    except ConfigInvalid as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(str(next(each for each in error.findings if each.severity == "error")))
    except (CircusError, PapaError) as error:
        sys.exit(error.message)
    except msgspec.DecodeError as error:
        sys.exit(f"what the running circusd says is not understood: {error}")
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    sys.stdout.flush()
    os._exit(0)  # whatever threads a user's module has begun


def rehearse(told: Told, config_path: str) -> Found:
    """Raises: CircusError, PapaError, ImportError, whatever a broken module raises."""
    import_all()
    config = load.load(os.path.abspath(config_path), os.environ)
    hooks.check(config.watchers)
    _check_configuration(config, told)
    _check_state(memory.state_directory(told.name))
    asyncio.run(_check_kernel(told))
    if told.handover != handover.VERSION:
        raise CircusError("conflict", "the versions are too far apart: `circusctl quit`, and start the new one")
    warnings = [f"{each}" for each in config.warnings[:MAX_NAMED]]
    return Found(circus.__version__, platform.python_version(), os.path.dirname(circus.__file__), warnings)


def import_all() -> list[str]:
    """The names. Raises: whatever a broken module raises; a library that is not installed only where it is one of
    circus's own."""
    names = []
    for found in pkgutil.walk_packages(circus.__path__, "circus."):
        if f"{found.name}.".startswith(OTHERS):
            continue
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith(("circus", "papa")):
                raise
        names.append(found.name)
    return names


def _check_configuration(config: CircusConfig, told: Told) -> None:
    files = planning.files_of(config)
    if edited := sorted(path for path in files.keys() | told.files.keys() if files.get(path) != told.files.get(path)):
        raise CircusError(
            "conflict", f"{edited[0]} was edited since circusd has read it: `circusctl reloadconfig` first, or undo it"
        )
    for what, now, before in (
        ("name", config.name, told.name),
        ("control socket", endpoints.resolve(config.control or config.name), told.control),
        ("papa's endpoint", str(config.papa_endpoint or ""), told.endpoint),
    ):
        if now != before:
            raise CircusError("conflict", f"circusd's {what} would be {now}, and is {before}")
    digests = {each.name: each.digest for each in config.watchers}
    if moved := sorted(name for name, digest in told.watchers.items() if digests.get(name) != digest):
        raise CircusError(
            "conflict",
            f"this version understands the configuration otherwise, and would restart {_named(moved)}",
        )


def _check_state(directory: Path) -> None:
    for path, number, lines in (
        (directory / "memory.json", memory.FORMAT, False),
        (directory / history.NAME, history.FORMAT, True),
        (directory / runbook.NAME, runbook.FORMAT, True),
    ):
        try:
            with path.open("rb") as file:
                data = file.read(HEAD_BYTES)
            head = msgspec.json.decode(data.split(b"\n", 1)[0] if lines else data)
            written = head.get("format", number) if isinstance(head, dict) else number
        except (OSError, msgspec.DecodeError):
            continue  # it is not there, or damaged, which a start survives
        if isinstance(written, int) and written > number:
            raise CircusError(
                "conflict",
                f"{path} is of format {written}, and this version knows {number}: orders by hand would be lost",
            )


async def _check_kernel(told: Told) -> None:
    names = Names(told.name)
    client = f"circusd {told.name} rehearsal"
    papa = await AsyncPapa.connect(told.endpoint or None, client=client, autostart=False)
    try:
        rows = await papa.list("processes")
        values = await papa.list("values", f"{names.prefix}sink.*")
    finally:
        await papa.close()
    ours = [row for row in rows if row["meta"].get("circusd") == told.name]
    if strange := sorted(row["name"] or str(row["pid"]) for row in ours if survivor_of(row) is None):
        raise CircusError("conflict", f"this version does not know how {_named(strange)} were started")
    for row in values:
        try:
            store.decode(row["value"])
        except ValueError as error:
            raise CircusError(
                "conflict", f"this version does not understand where {row['name']} stands: {error}"
            ) from None


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
