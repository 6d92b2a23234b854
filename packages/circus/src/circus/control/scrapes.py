"""A page of metrics: the picture is taken by the engine, the text is made in a thread, and nothing of it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from circus.control.caller import Caller
from circus.control.face import EngineFace
from circus.engine.tallies import Histogram


class Page(NamedTuple):
    """Text that is sent as it is, with its media type."""

    data: bytes
    media: str


@dataclass(frozen=True, slots=True)
class Doors:
    """What the doors know."""

    version: str
    results: Mapping[tuple[str, str], int] = field(default_factory=dict)  # requests, by operation and result
    durations: Mapping[str, Histogram] = field(default_factory=dict)
    listeners: int = 0
    followers: int = 0
    unawaited: int = 0
    audit_written: int = 0
    audit_dropped: int = 0
    audit_waiting: int = 0


async def scrape(engine: EngineFace, caller: Caller, doors: Doors, accept: str) -> Page:
    """What ``caller`` sees of it."""
    picture = await engine.picture()

    def render() -> Page:
        from circus.control import metrics  # and with it 2 MB, which only those pay who collect metrics

        return Page(*metrics.render(picture, doors, caller, accept))

    return await asyncio.to_thread(render)
