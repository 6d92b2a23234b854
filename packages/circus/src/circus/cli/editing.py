"""The line that a person types into the shell of circusctl: editing, TAB, and a history that outlives the shell.

Without readline, as some Pythons are built, lines are typed as they are.
"""

from __future__ import annotations

import contextlib
import glob
import os

from circus.cli import completion, quoting
from circus.cli.completer import Names

try:
    import readline
except ImportError:
    readline = None  # type: ignore[assignment]

#: Lines that are kept.
MAX_HISTORY = 1000


class Editor:
    """``options`` hold for all lines; ``own``: words that the shell itself knows."""

    def __init__(self, options: list[str], *, own: list[str]) -> None:
        self._options, self._own = options, own
        self._history = history_path()
        self._matches: list[str] = []
        if readline is None:
            return
        self._read_history()
        readline.set_auto_history(False)
        readline.set_history_length(MAX_HISTORY)
        readline.set_completer_delims(" \t\n")
        readline.set_completer(self._complete)
        is_libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")

    def keep(self, line: str) -> None:
        """In the history; one that begins with a blank is nobody's business."""
        if readline is None or not line.strip() or line[0] in " \t":
            return
        count = readline.get_current_history_length()
        if count and readline.get_history_item(count) == line:
            return
        readline.add_history(line)
        with contextlib.suppress(OSError):  # a disk that is full is no trouble of the one who types
            readline.append_history_file(1, self._history)

    def _read_history(self) -> None:
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._history), mode=0o700, exist_ok=True)
            # Made here, as readline goes by the umask; lines may have secrets in them.
            os.close(os.open(self._history, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            os.chmod(self._history, 0o600)
            readline.read_history_file(self._history)

    def _complete(self, _begun: str, state: int) -> str | None:
        if state == 0:
            line = readline.get_line_buffer()[: readline.get_endidx()]
            self._matches = list(self.matches(line, readline.get_begidx()))
        return self._matches[state] if state < len(self._matches) else None

    def matches(self, line: str, start: int) -> list[str]:
        """What may take the place of the end of ``line`` from ``start`` on."""
        before, begun = quoting.split(line)
        if before[:1] == ["circusctl"]:
            del before[0]
        asked = [*self._options, *before]
        found = completion.complete(asked, begun.value, Names(asked))
        candidates = list(found.words) + (_files(begun.value) if found.is_files else [])
        if not before:
            candidates += [word for word in self._own if word.startswith(begun.value)]
        rests = [quoting.rest(word, begun, max(0, start - len(line) + len(begun.raw))) for word in candidates]
        return [_ended(rest, begun.quote) for rest in rests if rest is not None]


def _ended(rest: str, quote: str) -> str:
    """With what follows: nothing, where more of the same word does."""
    return rest if rest.endswith(("/", "=")) else f"{rest}{quote} "


def _files(begun: str) -> list[str]:
    found = sorted(glob.glob(f"{glob.escape(begun)}*"))
    return [f"{path}/" if os.path.isdir(path) else path for path in found]


def history_path() -> str:
    """Of this user, beside what circusd keeps of his: see `engine.memory`."""
    private = os.environ.get("PAPA_RUNTIME_DIR")
    state = f"{private}/state" if private else os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "circusctl", "history")
