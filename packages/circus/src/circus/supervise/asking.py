"""The hooks of a watcher as questions: one at a time is waited for, and an answer that comes too late does not count.

A hook cannot be called back. Whoever stops waiting for it leaves it running, and a hook is never asked a second time
while it runs: the question is put again when the old answer has come, so that no two answers can be confused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from circus.supervise.actions import Action, RunHook


class Asking:
    """``running`` are hooks that an earlier watcher of the same name has left running."""

    def __init__(self, watcher: str, emit: Callable[[Action], None], running: Iterable[str] = ()) -> None:
        self.answer: bool | None = None  # to the latest question
        self.running = set(running)  # hooks that will answer
        self._watcher = watcher
        self._emit = emit
        self._awaited = ""
        self._must_repeat = False

    def ask(self, hook: str, configured: frozenset[str]) -> None:
        """A hook that is not configured agrees at once."""
        self._awaited, self._must_repeat, self.answer = hook, hook in self.running, None
        if self._must_repeat:
            return
        if hook in configured:
            self.running.add(hook)
            self._emit(RunHook(self._watcher, hook, is_awaited=True))
        else:
            self._awaited, self.answer = "", True

    def hear(self, hook: str, ok: bool, configured: frozenset[str]) -> None:
        if hook not in self.running:
            return
        self.running.discard(hook)
        if hook != self._awaited:
            return
        if self._must_repeat:
            self.ask(hook, configured)
        else:
            self._awaited, self.answer = "", ok
