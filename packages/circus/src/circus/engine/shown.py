"""What is shown of watchers: their options, and in what they differ from the file and from what runs."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from circus.config import options
from circus.engine import files, history, survivors
from circus.engine.view import REMOVED, EngineView
from circus.errors import CircusError

ADDED = "added by hand"

#: What is remembered besides: not an order, but what an order forgives.
FAILED = "it has failed: its budget is counted"

if TYPE_CHECKING:
    from circus.config.model import CircusConfig
    from circus.engine.engine import Engine


def view(engine: Engine, needs_restart: str) -> EngineView:
    """Everything at one moment; ``needs_restart`` says what only another circusd will obey."""
    survived = engine.trees.survivors()
    troubles = (
        engine.link.trouble,
        *engine.keeper.troubles,
        *engine.troubles.values(),
        *engine.unheeded.values(),
        *engine.rolls.refused.values(),
        *engine.pump.troubles(),
        *engine.telling.troubles(),
        *(f"{name}: left of what has ended: {survivors.tell(left, len(left))}" for name, left in survived.items()),
        needs_restart,
    )
    # What goes wrong now comes before what was known at the start: the first one is seen by everybody.
    warnings = [trouble for trouble in troubles if trouble]
    warnings += [str(finding) for finding in engine.config.warnings]
    return EngineView(
        name=engine.name,
        pid=os.getpid(),
        started_at=engine.started_at,
        config=engine.config.path,
        watchers=engine.sampler.tell(engine.fleet.snapshot()),
        sockets=tuple(engine.sockets.rows.values()),
        kernel=dict(engine.kernel.hello),
        foreign=tuple(engine.foreign),
        drift=drift(engine),
        by_hand=by_hand(engine),
        warnings=tuple(warnings),
        survivors={name: [each.to_json() for each in left] for name, left in survived.items()},
        jobs={name: job for name in engine.configs if (job := engine.jobs.shown(name)) is not None},
        said=engine.probing.said(),
        warden=engine.warden,
    )


async def exits(engine: Engine, name: str) -> list[dict[str, object]]:
    """The ends of the watcher's processes that are remembered, as far as they are on the disk.

    Raises:
        CircusError: unavailable, when the disk does not give them.
    """
    directory = engine.memory.path.parent
    try:
        found = await asyncio.to_thread(files.bounded, lambda: history.read(directory))
    except (OSError, ValueError) as error:
        raise CircusError("unavailable", f"{directory / history.NAME} cannot be read: {error}") from None
    return [each.to_json() for each in history.latest(found) if each.watcher.lower() == name.lower()]


def options_of(engine: Engine, name: str) -> dict[str, object]:
    """All options of the watcher under the names of the configuration, as numbers and flags where they are some.

    The count is the present one; what is written for hooks, streams and limits, and what only hooks know, is text.
    """
    config = engine.config_of(name)
    shown: dict[str, object] = dict(config.written)
    for option in options.WATCHER.values():
        if not option.idle:
            shown[option.name] = getattr(config, option.attribute)
    shown["numprocesses"] = engine.fleet.watchers[config.name].policy.numprocesses
    shown["env"] = dict(config.env)
    for key, stream in (("stdout_stream", config.stdout_stream), ("stderr_stream", config.stderr_stream)):
        if stream is not None:
            shown.setdefault(f"{key}.class", stream.class_name)  # as written: several are built on one
    return shown


def global_options(config: CircusConfig) -> dict[str, object]:
    """What counts for this circusd as a whole; the ancestors' addresses are empty unless the file has them."""
    shown: dict[str, object] = {"multicast_endpoint": None}
    for option in options.CIRCUS.values():
        if hasattr(config, option.attribute):
            shown[option.name] = getattr(config, option.attribute)
    if config.umask is not None:
        shown["umask"] = f"{config.umask:03o}"
    return shown


def drift(engine: Engine) -> dict[str, str]:
    old: dict[str, list[int]] = {}
    for process in engine.lives.hosted:
        config = engine.configs.get(process.slot.watcher)
        if config is not None and not process.has_exited and process.digest != config.digest:
            old.setdefault(config.name, []).append(process.pid)
    return {
        name: f"runs with options from before a change: pid {', '.join(map(str, pids))}" for name, pids in old.items()
    }


def remembered(engine: Engine) -> dict[str, list[str]]:
    """Watcher -> what would be otherwise if nobody had ordered anything, and if it had never failed.

    Only names of options: a command or an environment may hold a secret.
    """
    edits, memory = engine.edits, engine.memory
    told: dict[str, list[str]] = {name: [REMOVED] for name in edits.removed}
    told |= {name: [ADDED] for name in edits.added}
    for name, keys in edits.options.items():
        told.setdefault(engine.find(name) or name, []).append(f"set by hand: {', '.join(sorted(keys))}")
    for name, config in engine.configs.items():
        if (count := memory.count(name, config.numprocesses)) != config.numprocesses:
            told.setdefault(name, []).append(f"numprocesses {count} by hand, {config.numprocesses} in the file")
        if memory.is_stopped(name) and name not in edits.added:
            told.setdefault(name, []).append("stopped by hand")
        if memory.standing(name) is not None:
            told.setdefault(name, []).append(FAILED)
    return told


def by_hand(engine: Engine) -> dict[str, str]:
    told = {name: [each for each in what if each != FAILED] for name, what in remembered(engine).items()}
    return {name: "; ".join(what) for name, what in told.items() if what}
