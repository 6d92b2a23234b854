"""What counts after the file was read: its configuration, with the orders by hand that it has not overruled.

Nothing is changed by finding out, so that a plan and what carries it out come to the same result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from circus import hooks
from circus.config import amend, load
from circus.config.amend import Edits
from circus.config.model import CircusConfig, ConfigInvalid
from circus.errors import CircusError

if TYPE_CHECKING:
    from circus.engine.engine import Engine


class Filed(NamedTuple):
    """What the file says with those orders that it has not ``overruled`` (watchers).

    ``unheeded``: watcher -> why what was ordered of it is not possible now.
    """

    config: CircusConfig
    edits: Edits
    overruled: tuple[str, ...]
    unheeded: dict[str, str]


def in_force(engine: Engine, filed: CircusConfig, ordered: Edits) -> Filed:
    """``filed`` with what of ``ordered`` it has not overruled.

    An order that can no longer be carried out (a directory has gone) is kept and said: its watcher stays as it is.
    """
    assert filed.document is not None
    edits = amend.in_force(filed.document, ordered)
    overruled = tuple(sorted(set(ordered.watchers) - set(edits.watchers)))
    if edits == amend.NOTHING:
        return Filed(filed, edits, overruled, {})
    try:
        return Filed(_checked(engine, filed, edits, edits.watchers), edits, overruled, {})
    except CircusError:
        pass  # which one it is, is found out now
    good, wrong = [], {}
    for name in edits.watchers:
        try:
            _checked(engine, filed, edits.only([name]), [name])
        except CircusError as error:
            wrong[name] = f"{error.message}: what was ordered by hand is not in force"
        else:
            good.append(name)
    config = _as_they_are(engine, _checked(engine, filed, edits.only(good), good), wrong)
    return Filed(config, edits, overruled, wrong)


def _as_they_are(engine: Engine, config: CircusConfig, names: Iterable[str]) -> CircusConfig:
    """``config`` with these watchers as they run now."""
    watchers = {each.name.lower(): each for each in config.watchers}
    watchers |= {name.lower(): engine.configs[found] for name in names if (found := engine.find(name)) is not None}
    return replace(config, watchers=tuple(watchers.values()))


async def amended(engine: Engine, edits: Edits, names: Iterable[str]) -> CircusConfig:
    """The file with these orders; what they say of the watchers in ``names`` is possible. Raises: CircusError."""
    names = list(names)
    return engine.rolls.as_they_are(await asyncio.to_thread(_checked, engine, engine.config, edits, names), names)


def _checked(engine: Engine, filed: CircusConfig, edits: Edits, names: Iterable[str]) -> CircusConfig:
    """Raises: CircusError config-invalid, in one sentence."""
    meant = {name.lower() for name in names}
    try:
        config = load.amended(filed, edits, engine.environ, meant)
        hooks.check(each for each in config.watchers if each.name.lower() in meant)
    except ConfigInvalid as error:
        wrong = [each for each in error.findings if each.severity == "error"]
        if len(wrong) == 1:
            raise CircusError("config-invalid", wrong[0].what, wrong[0].hint) from None
        told = "; ".join(f"{each.what} ({each.hint})" for each in wrong)
        raise CircusError("config-invalid", told, "nothing was changed") from None
    return config
