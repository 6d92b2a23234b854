"""Watchers that depend on others, as the configuration has them: who is meant where circusd itself gives orders.

What follows from an order of a person, the cores decide; here is what a start of circusd and a change of the file mean.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from circus.config.model import WatcherConfig
from circus.engine.policy import needs_of
from circus.supervise.graph import Graph


def graph_of(configs: Iterable[WatcherConfig]) -> Graph:
    return Graph({config.name: needs_of(config) for config in configs})


def needed_by(
    configs: Iterable[WatcherConfig], names: Iterable[str], *, without: Collection[str] = frozenset()
) -> set[str]:
    """What ``names`` require or want, and what that needs; nothing comes along for those ``without``, nor they."""
    known = {config.name: config for config in configs if config.name not in without}
    return known.keys() & graph_of(known.values()).needed_by(names)


def requirers_of(configs: Iterable[WatcherConfig], names: Iterable[str]) -> set[str]:
    """Who requires one of ``names``, and who requires those."""
    return set(graph_of(configs).requirers_of(names))


def upwards(configs: Iterable[WatcherConfig], names: Iterable[str]) -> list[str]:
    """Those of ``names`` that depend on others or are depended on, who is named first."""
    return graph_of(configs).upwards(names)
