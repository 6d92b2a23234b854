"""Circles among those that depend on each other. Pure."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping


def find_circle(named: Mapping[str, Iterable[str]]) -> list[str]:
    """Names of which each names the next, the first one again at the end; empty if there is no circle."""
    try:
        graphlib.TopologicalSorter(named).prepare()
    except graphlib.CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]
    return []
