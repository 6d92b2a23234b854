"""What people ordered by hand, kept over a restart and a reboot: counts, watchers that were stopped, options that were
set, watchers that were added and removed; and how watchers stand that failed (supervise/recall).

One JSON file, replaced by rename after fsync, so that a crash leaves the old or the new one; the keeper brings it to
the disk. What the file of the configuration says wins over a remembered wish only if that file changed the very thing
since. A damaged file, and one of a newer circusd, is set aside under another name, said, and never stops a start.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from circus.config import amend
from circus.config.amend import Amendment, Edits
from circus.engine import files

log = logging.getLogger("circus.memory")

#: Raised when an older circusd would misunderstand what is written.
FORMAT = 1
#: A file of wishes is small; anything larger is not ours.
MAX_BYTES = 4 << 20


def state_directory(name: str) -> Path:
    """Where circusd ``name`` keeps what must outlive a reboot.

    ``PAPA_RUNTIME_DIR`` makes a private root wholly private; else root has /var/lib/circus, a user XDG_STATE_HOME.
    """
    private = os.environ.get("PAPA_RUNTIME_DIR")
    if private:
        return Path(private) / "state" / "circus" / name
    if os.geteuid() == 0:
        return Path("/var/lib/circus") / name
    base = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    return Path(base) / "circus" / name


class Memory:
    """The wishes of one circusd, by the watchers' names, whatever their case. ``on_change`` is told of each new one."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "memory.json"
        self.trouble = ""  # what was lost, for status
        self.on_change: Callable[[], None] | None = None
        self._is_changed = False
        self._is_unread = False  # the file hung when it was to be read
        self._counts: dict[str, tuple[int, int]] = {}  # watcher -> (wished, what the file said then)
        self._stopped: set[str] = set()
        self._edits = amend.NOTHING
        self._file = ""  # the configuration that the orders are about
        self._used_file = ""  # the one that this circusd runs
        self._left: set[str] = set()
        self._standings: dict[str, dict[str, Any]] = {}  # watcher -> its digest and how it stands
        self._formers: dict[str, dict[str, str]] = {}  # watcher -> what runs on in place of the file's (engine/formers)
        self._load()

    @property
    def left(self) -> frozenset[str]:
        """The watchers, in lower case, that were removed and whose processes go on."""
        return frozenset(self._left)

    def remember_left(self, left: Iterable[str]) -> None:
        names = {name.lower() for name in left}
        if names != self._left:
            self._left = names
            self._save()

    def use(self, file: str) -> None:
        """It is asked for the configuration in ``file``.

        Orders about another one have no effect, and are kept until there is one about this.
        """
        self._used_file = file

    def _is_about_another(self) -> bool:
        return bool(self._used_file) and self._file not in ("", self._used_file)

    def _take_over(self) -> None:
        if self._is_about_another():
            self._counts, self._stopped, self._edits = {}, set(), amend.NOTHING
        self._file = self._used_file or self._file

    def edits(self, file: str) -> Edits:
        """What was ordered about the configuration in ``file``."""
        return self._edits if self._file in ("", file) else amend.NOTHING

    def remember_edits(self, edits: Edits, file: str) -> None:
        if edits != self.edits(file):
            self._take_over()
            self._edits, self._file = edits, file
            self._save()

    def count(self, watcher: str, in_file: int) -> int:
        """The number of processes to run, where the configuration says ``in_file``."""
        known = {} if self._is_about_another() else self._counts
        wished, said_then = known.get(watcher.lower(), (in_file, in_file))
        return wished if said_then == in_file else in_file

    def reconcile(self, in_file: Mapping[str, int]) -> None:
        """Drop the wishes that ``in_file``, the counts of the file, overrules: they shall not come back with it."""
        if self._is_about_another():
            return
        counts = {name.lower(): count for name, count in in_file.items()}
        overruled = [name for name, (_, then) in self._counts.items() if counts.get(name, then) != then]
        for name in overruled:
            del self._counts[name]
        if overruled:
            self._save()

    @property
    def stopped(self) -> frozenset[str]:
        """In lower case."""
        return frozenset() if self._is_about_another() else frozenset(self._stopped)

    def is_stopped(self, watcher: str) -> bool:
        return watcher.lower() in self._stopped and not self._is_about_another()

    def remember_count(self, watcher: str, wished: int, in_file: int) -> None:
        name = watcher.lower()
        if wished != in_file:
            self._take_over()
        elif self._is_about_another():
            return
        if wished == in_file:
            changed = self._counts.pop(name, None) is not None
        else:
            changed = self._counts.get(name) != (wished, in_file)
            self._counts[name] = (wished, in_file)
        if changed:
            self._save()

    def remember_stopped(self, watchers: set[str], stopped: bool) -> None:
        names = {watcher.lower() for watcher in watchers}
        old = set() if self._is_about_another() else self._stopped
        new = old | names if stopped else old - names
        if new != old:
            self._take_over()
            self._stopped = new
            self._save()

    def standing(self, watcher: str) -> Mapping[str, Any] | None:
        """As it was remembered, after `keep_standings`."""
        return self._standings.get(watcher.lower())

    def remember_standing(self, watcher: str, digest: str, content: dict[str, Any] | None) -> None:
        """How a watcher with options of this ``digest`` stands; None: there is nothing to say."""
        if content is not None:
            self._standings[watcher.lower()] = {"digest": digest, **content}
        elif self._standings.pop(watcher.lower(), None) is None:
            return
        self._save()

    def keep_standings(self, digests: Mapping[str, str]) -> None:
        """Drop those of watchers that are not there, or have other options by now."""
        folded = {name.lower(): digest for name, digest in digests.items()}
        kept = {name: each for name, each in self._standings.items() if each.get("digest") == folded.get(name)}
        if kept != self._standings:
            self._standings = kept
            self._save()

    @property
    def formers(self) -> Mapping[str, dict[str, str]]:
        """By names in lower case."""
        return self._formers

    def remember_former(self, watcher: str, content: dict[str, str] | None) -> None:
        """What a watcher runs with in place of what the file says; None: it runs with that."""
        if content == self._formers.get(watcher.lower()):
            return
        self._formers.pop(watcher.lower(), None)
        if content is not None:
            self._formers[watcher.lower()] = content
        self._save()

    def forget(self, watcher: str) -> None:
        self.remember_standing(watcher, "", None)
        self.remember_former(watcher, None)
        if self._is_about_another():
            return
        name = watcher.lower()
        known = name in self._stopped or name in self._counts
        self._stopped.discard(name)
        self._counts.pop(name, None)
        if known:
            self._save()

    # The disk -----------------------------------------------------------------------------------------------

    def take(self) -> bytes | None:
        """What is to be written, if anything has changed since it was taken."""
        if not self._is_changed:
            return None
        self._is_changed = False
        return self.encode()

    def give_back(self) -> None:
        """It could not be written."""
        self._is_changed = True

    def write(self, content: bytes) -> None:
        """``content`` is on the disk when this returns. Raises: OSError."""
        if self._is_unread:
            self.trouble = f"remembered wishes were not read: {files.set_aside(self.path, 'unread')}"
            self._is_unread = False
        else:
            self.trouble = ""
        files.replace_whole(self.path, content)

    def _load(self) -> None:
        try:
            data = files.bounded(self._read)
        except FileNotFoundError:
            return
        except OSError as error:
            self._is_unread = True
            self._complain(f"cannot read {self.path}: {error.strerror}")
            return
        number: object = FORMAT
        try:
            if len(data) > MAX_BYTES:
                raise ValueError(f"larger than {MAX_BYTES} bytes")
            content = json.loads(data)
            number = content["format"]
            if number != FORMAT:
                raise ValueError(f"format {number!r} is not {FORMAT}")
            counts = {str(k).lower(): (int(v["wished"]), int(v["in_file"])) for k, v in content["counts"].items()}
            stopped = {str(name).lower() for name in content["stopped"]}
            edits, about = _edits_from(content), str(content.get("file", ""))
            left = {str(name).lower() for name in content.get("left", ())}
            standings = {str(name).lower(): dict(each) for name, each in content.get("standings", {}).items()}
            formers = {
                str(name).lower(): {str(key): str(text) for key, text in each.items()}
                for name, each in content.get("formers", {}).items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            is_newer = isinstance(number, int) and number > FORMAT
            aside = files.set_aside(self.path, "newer" if is_newer else "damaged")
            what = "file of a newer circusd" if is_newer else "damaged file"
            self._complain(f"remembered wishes are lost: {what} {aside} ({error})")
            return
        self._counts, self._stopped, self._left, self._formers = counts, stopped, left, formers
        self._edits, self._file, self._standings = edits, about, standings

    def _read(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(MAX_BYTES + 1)

    def encode(self) -> bytes:
        content = {
            "format": FORMAT,
            "counts": {k: {"wished": w, "in_file": f} for k, (w, f) in sorted(self._counts.items())},
            "stopped": sorted(self._stopped),
            "file": self._file,
            "options": {
                name: {key: {"text": each.text, "in_file": each.in_file} for key, each in keys.items()}
                for name, keys in self._edits.options.items()
            },
            "added": self._edits.added,
            "removed": self._edits.removed,
            "left": sorted(self._left),
            "standings": self._standings,
            "formers": self._formers,
        }
        encoded = json.dumps(content, indent=1).encode()
        if len(encoded) > MAX_BYTES:  # what was ordered has to find room
            self._complain(f"of {len(self._standings)} watchers that fail it is not remembered how: it is too much")
            content["standings"] = {}
            encoded = json.dumps(content, indent=1).encode()
        if len(encoded) > MAX_BYTES:
            self._complain(f"what {len(self._formers)} watchers ran with before is not remembered: it is too much")
            content["formers"] = {}
            encoded = json.dumps(content, indent=1).encode()
        return encoded

    def _save(self) -> None:
        self._is_changed = True
        if self.on_change is not None:
            self.on_change()

    def _complain(self, what: str) -> None:
        self.trouble = what
        log.warning("%s", what)


def _edits_from(content: Mapping[str, Any]) -> Edits:
    """Earlier releases knew of none."""
    options = {
        str(name): {str(key): Amendment(str(each["text"]), _text(each["in_file"])) for key, each in keys.items()}
        for name, keys in content.get("options", {}).items()
    }
    added = {
        str(name): {str(key): str(text) for key, text in keys.items()}
        for name, keys in content.get("added", {}).items()
    }
    return Edits(options, added, {str(name): str(each) for name, each in content.get("removed", {}).items()})


def _text(value: object) -> str | None:
    return None if value is None else str(value)
