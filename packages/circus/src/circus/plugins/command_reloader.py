"""Restarts a watcher when its program, or a file that its command names, is another one than before."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
from collections.abc import Mapping
from typing import Any

from circus.config import plugins as known
from circus.plugins import settings
from circus.plugins.base import CircusPlugin
from circus.plugins.loop import PeriodicCallback

log = logging.getLogger("circus.plugins")

#: Real path and time of change of a file.
State = tuple[str, int]


class CommandReloader(CircusPlugin):
    name = "command_reloader"

    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        self._period = PeriodicCallback(
            self.look_after, settings.read(known.COMMAND_RELOADER, config)["loop_rate"] * 1000, self.loop
        )
        self._files: dict[str, dict[str, State]] = {}  # watcher -> file -> how it was
        self._is_current = False  # what is known of the watchers' commands

    def handle_init(self) -> None:
        self._period.start()
        self.look_after()

    def handle_stop(self) -> None:
        self._period.stop()

    def handle_recv(self, _data: tuple[bytes, bytes]) -> Any:
        self._is_current = False

    def handle_gap(self, _missed: int | None) -> None:
        self._is_current = False

    def look_after(self) -> None:
        if not self._is_current:
            self._learn()
        for watcher, files in self._files.items():
            changed = [path for path, before in files.items() if (now := state_of(path)) not in (None, before)]
            if changed:
                files |= {path: now for path in changed if (now := state_of(path)) is not None}
                log.info("%s is restarted: %s changed", watcher, ", ".join(changed))
                self.cast("restart", name=watcher, match="simple")

    def _learn(self) -> None:
        """Ask for the commands; a file that is known stays as it was seen first."""
        files: dict[str, dict[str, State]] = {}
        for watcher in self.call("list").get("watchers", ()):
            if not watcher.startswith("plugin:"):
                options = self.call("options", name=watcher).get("options", {})
                before = self._files.get(watcher, {})
                states = {path: before.get(path) or state_of(path) for path in files_of(options)}
                files[watcher] = {path: state for path, state in states.items() if state is not None}
        self._files, self._is_current = files, True


def files_of(options: Mapping[str, Any]) -> list[str]:
    """The files that a command names: its program, and every word that is one."""
    try:
        words = [
            *shlex.split(str(options.get("cmd") or "")),
            *shlex.split(str(options.get("args") or "")),
        ]
    except ValueError:
        return []
    if not words:
        return []
    directory = str(options.get("working_dir") or "") or os.getcwd()
    program = str(options.get("executable") or "") or words[0]
    if "/" not in program:
        program = shutil.which(program) or program
    paths = dict.fromkeys(os.path.join(directory, word) for word in (program, *words[1:]))
    return [path for path in paths if os.path.isfile(path)]


def state_of(path: str) -> State | None:
    """None while there is none: it is about to be replaced."""
    try:
        return os.path.realpath(path), os.stat(path).st_mtime_ns
    except OSError:
        return None
