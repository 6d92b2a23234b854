"""Tries a program in a child before circusd gives its place to it: `rehearsal` is what runs there.

The child is a helper like any other: bounded, and reaped with all that it starts. All that it says when it fails is in
circusd's log.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import msgspec

from circus.control.succession import Rehearsed
from circus.engine import planning
from circus.errors import CircusError
from circus.probes import NotSo
from circus.probes.commands import Command, Commands
from circus.serving import Serving
from circus.upgrade import REHEARSAL, handover, rehearsal
from circus.upgrade.program import Program

log = logging.getLogger("circus.upgrade")

#: A cold start on a busy machine takes seconds.
PATIENCE_S = 30.0


async def rehearse(circusd: Serving, program: Program, environ: Mapping[str, str], control: str) -> Rehearsed:
    """``environ``: that of the program. Raises: CircusError conflict, with the reason why it cannot take over."""
    engine = circusd.engine
    told = rehearsal.Told(
        handover=handover.VERSION,
        name=engine.name,
        control=control,
        endpoint=str(engine.config.papa_endpoint or ""),
        files=planning.files_of(engine.config),
        watchers=_as_filed(circusd),
    )
    command = Command(
        program.argv,
        {**environ, REHEARSAL: "1"},
        os.getcwd(),
        engine.umask,
        told=msgspec.json.encode(told),
    )
    commands = Commands()
    try:
        said = await commands.ask(command, PATIENCE_S)
    except NotSo as error:
        raise _refused(program, str(error), error.said) from None
    finally:
        commands.close()
    try:
        found = msgspec.json.decode(said.rpartition("\n")[2], type=rehearsal.Found)
    except msgspec.DecodeError:
        raise _refused(program, "it does not know of upgrades", said) from None
    return Rehearsed(found.version, found.python, found.path, found.warnings)


def _refused(program: Program, why: str, said: str) -> CircusError:
    log.warning("upgrade refused program=%s: %s%s", program, why, f"\n{said}" if said else "")
    return CircusError(
        "conflict", f"{program} cannot take over: {why}", "circusd goes on as it is; its log has all of it"
    )


def _as_filed(circusd: Serving) -> dict[str, str]:
    """Digests of the watchers about which nothing was ordered by hand."""
    engine = circusd.engine
    edits, recalled = engine.edits, {name.lower() for name in engine.rolls.recalled}
    ordered = {name.lower() for name in (*edits.options, *edits.added, *edits.removed)} | recalled
    return {each.name: each.digest for each in engine.config.watchers if each.name.lower() not in ordered}
