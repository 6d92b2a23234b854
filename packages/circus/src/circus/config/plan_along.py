"""Watchers that a change takes along, because they depend on one that it is about, or that one needs them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from circus.config.model import CircusConfig, WatcherConfig


def restarted_with(names: Iterable[str], config: CircusConfig) -> dict[str, str]:
    """Who requires one of ``names``, or who requires those: name -> why."""
    requirers = {each.name: each.requires for each in config.watchers}
    found: dict[str, str] = {}
    ahead = list(names)
    while ahead:
        required = ahead.pop()
        for name, requires in requirers.items():
            if required in requires and name not in found:
                found[name] = f"requires {required}, which restarts"
                ahead.append(name)
    return found


def started_with(names: Iterable[str], config: CircusConfig, without: Iterable[str]) -> dict[str, str]:
    """What ``names`` require or want, and what that needs: name -> why. Nothing comes along ``without``."""
    needs: Mapping[str, WatcherConfig] = {each.name: each for each in config.watchers}
    barred = set(without)
    found: dict[str, str] = {}
    ahead = list(names)
    while ahead:
        needing = needs[ahead.pop()]
        for name in (*needing.requires, *needing.wants):
            if name in needs and name not in found and name not in barred:
                found[name] = f"needed by {needing.name}"
                ahead.append(name)
    return found
