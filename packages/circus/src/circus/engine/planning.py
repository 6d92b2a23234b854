"""Plans of a `reloadconfig`: the world as it is, and what the file would make of it. Nothing is touched for one.

The files are read beside the loop. A plan is not kept: whoever applies one is checked against a new one, and the last
few are remembered only to say what has moved.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from circus.config import plan as plans
from circus.config.amend import NOTHING
from circus.config.model import CircusConfig
from circus.config.plan import Facts, Plan, Up, World
from circus.engine import filing
from circus.errors import CircusError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

#: Plans of which it is remembered what they were made of; who applies one has asked for it minutes ago.
MAX_REMEMBERED = 10

ASK_AGAIN = "nothing was changed; look at `circusctl reloadconfig --plan` again"


class Planned(NamedTuple):
    plan: Plan
    world: World
    filed: filing.Filed


class Plans:
    """The last ones that somebody has seen."""

    def __init__(self) -> None:
        self._facts: OrderedDict[str, Facts] = OrderedDict()

    def remember(self, plan: Plan) -> None:
        self._facts[plan.id] = plan.facts
        self._facts.move_to_end(plan.id)
        if len(self._facts) > MAX_REMEMBERED:
            self._facts.popitem(last=False)

    def check(self, expected: str, planned: Planned, world: World) -> None:
        """``world`` is as it is now, ``planned`` was made just before.

        Raises: CircusError conflict, unless the plan that is ``expected`` is still the plan.
        """
        if planned.plan.id == expected and world == planned.world:
            return
        known = self._facts.get(expected)
        if known is None and planned.plan.id != expected:
            raise CircusError("conflict", f"no plan {expected[:40]!r} is known since circusd started", ASK_AGAIN)
        moved = plans.moved(known or {}, planned.plan.facts) or "an order came in between"
        raise CircusError("conflict", f"plan {expected} does not hold any more: {moved}", ASK_AGAIN)


async def plan(engine: Engine) -> Plan:
    """Raises: ConfigInvalid, with every problem of the file."""
    planned = await draw_up(engine)
    engine.plans.remember(planned.plan)
    return planned.plan


async def draw_up(engine: Engine) -> Planned:
    """Raises: ConfigInvalid, with every problem of the file."""
    return await asyncio.to_thread(_draw_up, engine, world_of(engine))


def _draw_up(engine: Engine, world: World) -> Planned:
    read = engine.read()
    filed = filing.in_force(engine, read, world.edits)
    made = plans.make(
        world, filed.config, filed.edits, unheeded=filed.unheeded, files=files_of(read), environ=engine.environ
    )
    return Planned(made, world, filed)


def files_of(config: CircusConfig) -> dict[str, str]:
    """All that was read: path -> digest."""
    document = config.document
    assert document is not None
    files = dict(document.digests)
    for word, text in document.env_files.items():
        path = os.path.join(os.path.dirname(document.path), word.removeprefix("-"))
        said = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else b""
        files[path] = hashlib.sha256(said).hexdigest() if text is not None else "missing"
    return files


def world_of(engine: Engine) -> World:
    running, memory = engine.config, engine.memory
    views = engine.fleet.snapshot()
    counts = {each.name: memory.count(each.name, each.numprocesses) for each in running.watchers}
    return World(
        running,
        engine.edits,
        up={
            view.name: Up(view.wants_up, view.wants_up or any(slot.pid for slot in view.slots), view.numprocesses)
            for view in views
        },
        counts={each.name: counts[each.name] for each in running.watchers if counts[each.name] != each.numprocesses},
        stopped=memory.stopped,
        left=memory.left,
        sockets={name: row.get("id") for name, row in engine.sockets.rows.items()},
        texts=dict.fromkeys(engine.rolls.recalled & engine.rolls.refused.keys(), (None, NOTHING)) | engine.rolls.texts,
    )
