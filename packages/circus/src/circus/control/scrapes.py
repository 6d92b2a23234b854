"""A page of metrics: the picture is taken by the engine, the text is made in a thread, and nothing of it is kept."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import circus
from circus.control.caller import Caller
from circus.control.face import EngineFace
from circus.control.requests import Requests


class Page(NamedTuple):
    """Text that is sent as it is, with its media type."""

    data: bytes
    media: str


async def scrape(
    engine: EngineFace, caller: Caller, requests: Requests, *, accept: str, listeners: int, unawaited: int
) -> Page:
    """What ``caller`` sees of it."""
    picture = await engine.picture()
    results = dict(requests.results)
    durations = {operation: each.copy() for operation, each in requests.durations.items()}

    def render() -> Page:
        from circus.control import metrics  # and with it 2 MB, which only those pay who collect metrics

        doors = metrics.Doors(circus.__version__, results, durations, listeners, unawaited)
        return Page(*metrics.render(picture, doors, sees=caller.sees, accept=accept))

    return await asyncio.to_thread(render)
