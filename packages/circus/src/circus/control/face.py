"""What operations need of the engine: the one seam between the doors and what they steer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from circus.bus import Bus
from circus.supervise import events
from circus.supervise.actions import Finish
from circus.supervise.states import WatcherView


class ViewFace(Protocol):
    """What the engine shows of itself at one moment."""

    @property
    def watchers(self) -> Sequence[WatcherView]: ...
    @property
    def sockets(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def kernel(self) -> Mapping[str, Any]: ...
    @property
    def foreign(self) -> Sequence[Any]: ...
    @property
    def drift(self) -> Mapping[str, Any]: ...
    @property
    def by_hand(self) -> Mapping[str, str]: ...
    @property
    def warnings(self) -> Sequence[object]: ...


class EngineFace(Protocol):
    """What operations need of the engine.

    ``stats`` answers {watcher: {pid: what is known, or a sentence why nothing is}}.
    """

    @property
    def name(self) -> str: ...
    @property
    def started_at(self) -> float: ...
    @property
    def config_path(self) -> str: ...
    @property
    def bus(self) -> Bus: ...

    def snapshot(self) -> ViewFace: ...
    async def order(self, make: Callable[[int], events.Order], /) -> Finish: ...
    async def signal(
        self,
        name: str,
        signum: int,
        /,
        *,
        pid: int | None = None,
        children: bool = False,
        recursive: bool = False,
    ) -> int: ...
    async def stats(
        self, name: str | None = None, pid: int | None = None, extended: bool = False
    ) -> Mapping[str, Mapping[Any, Any]]: ...
    def options(self, name: str, /) -> Mapping[str, Any]: ...
    async def set_options(self, name: str, texts: Mapping[str, str], /) -> list[str]: ...
    async def reloadconfig(self) -> Any: ...
    async def quit(self) -> None: ...
    async def shutdown(self) -> None: ...
