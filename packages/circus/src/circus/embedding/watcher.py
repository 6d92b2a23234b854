"""A watcher, as programs of the ancestors know it: a description, and once an arbiter has it, a hand on it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from circus.embedding.outcome import Outcome
from circus.errors import CircusError
from circus.legacy.exc import CallError

if TYPE_CHECKING:
    from circus.embedding.arbiter import Arbiter
    from circus.engine.faces import ProcessFace
    from circus.supervise.states import WatcherView

Reply = dict[str, Any]


class Watcher:
    """``options`` are those that a section ``[watcher:NAME]`` may have, as values of Python.

    What changes something returns an Outcome: coroutines await it, other threads call its ``result()``.
    """

    def __init__(self, name: str, cmd: str, args: str | list[str] | None = None, **options: Any) -> None:
        self.name = name
        self.cmd = cmd
        self.args = args
        self._given = options
        self._arbiter: Arbiter | None = None
        self._added: Outcome[None] | None = None

    @classmethod
    def load_from_config(cls, config: Mapping[str, Any]) -> Watcher:
        told = dict(config)
        name, cmd = str(told.pop("name")), told.pop("cmd")
        return cls(name, cmd, told.pop("args", None), **told)

    def given(self) -> dict[str, Any]:
        """As it was described."""
        return {"name": self.name, "cmd": self.cmd, "args": self.args, **self._given}

    def belong(self, arbiter: Arbiter, added: Outcome[None] | None = None) -> None:
        """It is a watcher of ``arbiter``; ``added``: as soon as this is done."""
        self._arbiter, self._added = arbiter, added

    def __await__(self) -> Generator[Any, None, Watcher]:
        """Until the arbiter knows it. Raises: what was wrong with it."""
        if self._added is not None:
            yield from self._added.__await__()
        return self

    def __repr__(self) -> str:
        return f"<watcher {self.name!r}>"

    # What it is ---------------------------------------------------------------------------------------------

    @property
    def arbiter(self) -> Arbiter:
        """Raises: CallError, when it has none."""
        if self._arbiter is None:
            raise CallError(f"watcher {self.name} belongs to no arbiter")
        return self._arbiter

    def status(self) -> str:
        """stopped, starting, active or stopping."""
        return self._view().state.value

    def is_active(self) -> bool:
        return self.status() == "active"

    def is_stopped(self) -> bool:
        return self.status() == "stopped"

    @property
    def numprocesses(self) -> int:
        """How many there shall be."""
        return self._view().numprocesses

    @property
    def processes(self) -> Mapping[int, ProcessFace]:
        """Those that run now, by pid: ``pid``, ``wid``, ``started``, ``age()``."""
        return self.arbiter.face_of(self.name).processes

    @property
    def pids(self) -> list[int]:
        return sorted(self.processes)

    def get_active_processes(self) -> list[ProcessFace]:
        return list(self.processes.values())

    def options(self) -> dict[str, Any]:
        """All of them, also those that nobody has given."""
        return self.arbiter.options_of(self.name)

    def _view(self) -> WatcherView:
        found = next((each for each in self.arbiter.views() if each.name.lower() == self.name.lower()), None)
        if found is None:
            raise CircusError("not-found", f"watcher {self.name!r} not found")
        return found

    # Orders -------------------------------------------------------------------------------------------------

    def start(self) -> Outcome[Reply]:
        return self._order("start", match="simple")

    def stop(self) -> Outcome[Reply]:
        return self._order("stop", match="simple")

    def restart(self) -> Outcome[Reply]:
        return self._order("restart", match="simple")

    def reload(self, graceful: bool = True, sequential: bool = False) -> Outcome[Reply]:
        return self._order("reload", graceful=graceful, sequential=sequential)

    def incr(self, nb: int = 1) -> Outcome[Reply]:
        return self._order("incr", nb=nb)

    def decr(self, nb: int = 1) -> Outcome[Reply]:
        return self._order("decr", nb=nb)

    def set_numprocesses(self, np: int) -> Outcome[Reply]:
        return self._order("set", options={"numprocesses": max(0, np)})

    def set_opt(self, key: str, val: Any) -> Outcome[Reply]:
        """An option, as the command `set` does: what needs new processes gets them."""
        return self.arbiter.set_option(self.name, key, val)

    def send_signal(self, pid: int, signum: int) -> None:
        """A pid that is none of its processes is ignored."""
        self.arbiter.face_of(self.name).send_signal(pid, signum)

    def _order(self, command: str, **props: Any) -> Outcome[Reply]:
        return self.arbiter.send_message(command, name=self.name, waiting=True, **props)
