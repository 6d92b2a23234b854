"""Who depends on whom: the graph of watchers, and the words in which it is asked. Pure.

``after`` is order alone; ``requires`` and ``wants`` say besides that the other one is needed, and imply it. A graph has
those watchers that name others and those that are named; all others are outside of it and of no concern here.

A circle cannot be obeyed. A configuration with one is refused (config/dependencies); if one comes together all the
same, when an order by hand meets another file, the name that closes it is left out, so that nobody waits for ever.
"""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from circus.config.dependencies import find_circle


class Needs(Struct, frozen=True):
    """Names of watchers, as written in the configuration."""

    after: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.after or self.requires or self.wants)

    @property
    def names(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(dict.fromkeys((*self.requires, *self.wants, *self.after)))

    def without(self, name: str) -> Needs:
        return Needs(*(tuple(each for each in names if each != name) for names in self._each))

    @property
    def _each(self) -> tuple[tuple[str, ...], ...]:
        return self.after, self.requires, self.wants


NOTHING = Needs()


class Graph:
    """``needs``: of all watchers; those that need nothing may be left out."""

    def __init__(self, needs: Mapping[str, Needs]) -> None:
        self._needs = {name: each for name, each in needs.items() if each}
        while circle := find_circle({name: each.names for name, each in self._needs.items()}):
            self._needs[circle[-2]] = self._needs[circle[-2]].without(circle[-1])
        members = {name: each.names for name, each in self._needs.items()}
        order = graphlib.TopologicalSorter(members).static_order()
        self._ranks = {name: rank for rank, name in enumerate(order)}
        self._dependents: dict[str, set[str]] = {}
        self._requirers: dict[str, set[str]] = {}
        for name, each in self._needs.items():
            for other in each.names:
                self._dependents.setdefault(other, set()).add(name)
            for other in each.requires:
                self._requirers.setdefault(other, set()).add(name)

    def __contains__(self, name: str) -> bool:
        return name in self._ranks

    def __bool__(self) -> bool:
        return bool(self._ranks)

    def needs(self, name: str) -> Needs:
        return self._needs.get(name, NOTHING)

    def dependents(self, name: str) -> Iterable[str]:
        """Those that name it, for whatever reason."""
        return self._dependents.get(name, ())

    def upwards(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that are in the graph; who is named comes before who names it."""
        return sorted((name for name in names if name in self._ranks), key=self._ranks.__getitem__)

    def needed_by(self, names: Iterable[str]) -> list[str]:
        """What ``names`` require or want, and what that requires or wants; not themselves."""
        return self._reached(names, lambda name: (*self.needs(name).requires, *self.needs(name).wants))

    def requirers_of(self, names: Iterable[str]) -> list[str]:
        """Who requires one of ``names``, and who requires those; not themselves."""
        return self._reached(names, lambda name: self._requirers.get(name, ()))

    def _reached(self, names: Iterable[str], step: Callable[[str], Iterable[str]]) -> list[str]:
        begun = set(names)
        reached, ahead = set(begun), list(begun)
        while ahead:
            fresh = set(step(ahead.pop())) - reached
            reached |= fresh
            ahead += fresh
        return self.upwards(reached - begun)
