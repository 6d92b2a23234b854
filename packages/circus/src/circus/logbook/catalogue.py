"""Which logs there are, and whose: one small file below the state directory, so that a reader needs no circusd."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from circus.logbook.writing import MAX_LOGS, log_id

FORMAT = 1

NAME = "catalogue.json"

#: The catalogue of MAX_LOGS logs is far smaller; anything larger is not ours.
MAX_BYTES = 8 << 20

#: A file that the processes write to by circusd, or circusd's own copy of output that goes elsewhere.
FILE, STORE = "file", "store"


@dataclass(slots=True)
class Entry:
    """A log: the real path, what it is, and the streams of which watchers run into it."""

    path: str
    kind: str = FILE
    watchers: dict[str, set[str]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return log_id(self.path)


def note(entries: dict[str, Entry], path: str, kind: str, watcher: str, stream: str) -> bool:
    """Add it, as the latest; False when it stands there already."""
    known = entries.get(path)
    if known is not None and known.kind == kind and stream in known.watchers.get(watcher, ()):
        return False
    entry = known or Entry(path, kind)
    entry.kind = kind
    entry.watchers.setdefault(watcher, set()).add(stream)
    entries.pop(path, None)
    entries[path] = entry
    while len(entries) > MAX_LOGS:
        del entries[next(iter(entries))]
    return True


def encode(entries: Mapping[str, Entry]) -> bytes:
    logs = [
        {
            "path": each.path,
            "kind": each.kind,
            "watchers": {name: sorted(each.watchers[name]) for name in each.watchers},
        }
        for each in entries.values()
    ]
    # Without an indent, as only then the encoder is the one in C.
    return json.dumps({"format": FORMAT, "logs": logs}).encode()


def decode(data: bytes) -> dict[str, Entry]:
    """By path, the latest last. Raises: ValueError."""
    try:
        fields = json.loads(data)
        if fields["format"] != FORMAT:
            raise ValueError(f"format {fields['format']} is not known here")
        return {
            str(row["path"]): Entry(
                str(row["path"]),
                str(row["kind"]),
                {str(name): {str(each) for each in streams} for name, streams in row["watchers"].items()},
            )
            for row in fields["logs"]
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a catalogue of logs: {error!r}") from error


def load(logs: str) -> dict[str, Entry]:
    """The catalogue below ``logs``; an empty one where there is none, or none that can be read.

    Raises: OSError, but for a file that is not there.
    """
    try:
        with open(os.path.join(logs, NAME), "rb") as file:
            return decode(file.read(MAX_BYTES))
    except (FileNotFoundError, ValueError):
        return {}


def save(logs: str, entries: Mapping[str, Entry]) -> None:
    """Raises: OSError."""
    os.makedirs(logs, mode=0o700, exist_ok=True)
    path = os.path.join(logs, NAME)
    with open(f"{path}.new", "wb") as file:
        file.write(encode(entries))
    os.replace(f"{path}.new", path)
