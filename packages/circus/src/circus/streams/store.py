"""What a sink is about to write, as a value of the kernel: pure encoding and decoding.

The idea: an *intent* holds everything that is needed to render the batch again (segments, times, line state) and to
recognise the file as it stood before (device, inode, size, a hash of its first bytes). One atomic commit
acknowledges a batch and sets the intent of the next one, so that at every instant the kernel knows exactly which
bytes may or may not stand in the file.

A last segment may be *open*: "from here on as far as the stream goes". A file with one source has an open intent
while it is quiet, and a new line costs one commit instead of two.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from circus.config.values import COLORS
from circus.streams.render import Look

#: Sources of one intent whose places are told beside its segments.
MAX_OVERTAKEN = 500

#: The end of an open segment.
OPEN = -1

DATA, GAP, DOUBT = "data", "gap", "doubt"

#: So many first bytes of a file tell it from another one that got its inode.
HASHED_BYTES = 256

#: Version 1 knows of no files that are rotated by time, and of no JSON.
VERSION = 2
READABLE = (1, 2)


class SourceKey(NamedTuple):
    """One stream of one process of the kernel."""

    kernel_id: int
    stream: str


NOBODY = SourceKey(0, "")


@dataclass(frozen=True, slots=True)
class Segment:
    """The bytes ``start`` to ``end`` of a source; a gap: bytes that were dropped; a doubt: ``end`` is their number.

    ``look`` None: as they were written; a mark is text then.
    """

    source: SourceKey
    start: int
    end: int
    kind: str = DATA
    look: Look | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A file before a batch. ``last`` wrote its end, ``at_line_start``: it ends with a newline, or is empty.

    ``dated_s``: a moment, in seconds since 1970, of the interval that the file is of; 0 while it is empty.
    """

    dev: int
    ino: int
    size: int
    head_hash: str
    at_line_start: bool = True
    last: SourceKey = NOBODY
    dated_s: int = 0


@dataclass(frozen=True, slots=True)
class Intent:
    """``rotate``: the number of backups if the batch begins by rotating, else 0. ``at_ns`` dates unstamped bytes.

    ``aside``: the interval that the file is named after if it is rotated by time; ``rotate`` 0 keeps all then.
    ``dated_s`` is that of the file when the batch is written. ``overtaken``: up to where sources stood in the file of
    which the kernel had dropped more when they were to be acknowledged there: it does not know it of them.
    """

    path: str
    place: Place
    segments: tuple[Segment, ...] = ()
    rotate: int = 0
    at_ns: int = 0
    aside: str = ""
    dated_s: int = 0
    overtaken: tuple[tuple[SourceKey, int], ...] = ()

    @property
    def begins_anew(self) -> bool:
        """Whether the batch begins by rotating."""
        return bool(self.rotate or self.aside)

    @property
    def open_segment(self) -> Segment | None:
        return self.segments[-1] if self.segments and self.segments[-1].end == OPEN else None

    def looks(self) -> dict[SourceKey, Look]:
        """How lines of each source stand in the file, as far as the intent tells."""
        told = dict.fromkeys([key for key, _ in self.overtaken] + [each.source for each in self.segments], Look())
        told.update((each.source, each.look) for each in self.segments if each.kind == DATA and each.look)
        return told

    def allows(self, other: Intent) -> bool:
        """Whether this intent, being committed, covers what ``other`` is about to write."""
        if (self.path, self.place, self.rotate) != (other.path, other.place, other.rotate):
            return False
        if (self.aside, self.dated_s) != (other.aside, other.dated_s):
            return False
        if self.segments == other.segments:
            return all(segment.look is None for segment in self.segments) or self.at_ns == other.at_ns
        mine = self.open_segment
        if mine is None or len(self.segments) != 1 or len(other.segments) != 1:
            return False
        theirs = other.segments[0]
        return replace(theirs, end=OPEN) == mine


def value_name(prefix: str, path: str) -> str:
    """The name of a file's intent in the kernel; ``path`` is the real path."""
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{prefix}sink.{digest[:24]}"


def hash_head(data: bytes) -> str:
    """The hash of a file's first HASHED_BYTES, or of all of it while it is shorter."""
    return hashlib.sha256(data[:HASHED_BYTES]).hexdigest()[:24]


def encode(intent: Intent) -> str:
    """The intent as text."""
    place = intent.place
    looks = sorted({segment.look for segment in intent.segments if segment.look is not None})
    return json.dumps(
        {
            "v": VERSION,
            "path": intent.path,
            "dev": place.dev,
            "ino": place.ino,
            "size": place.size,
            "head": place.head_hash,
            "bol": place.at_line_start,
            "last": list(place.last),
            "dated": place.dated_s,
            "rotate": intent.rotate,
            "aside": intent.aside,
            "dating": intent.dated_s,
            "at": intent.at_ns,
            "overtaken": [[*source, offset] for source, offset in intent.overtaken[:MAX_OVERTAKEN]],
            "looks": looks,
            "segments": [
                [
                    *segment.source,
                    segment.start,
                    segment.end,
                    segment.kind,
                    -1 if segment.look is None else looks.index(segment.look),
                ]
                for segment in intent.segments
            ],
        },
        separators=(",", ":"),
    )


def _look_of_format(written: str) -> Look:
    """Of version 1, where the code of the colour stood before the format."""
    match = re.fullmatch(r"\033\[0;3([1-7]);40m(.*)", written, re.DOTALL)
    return Look(time_format=match[2], color=COLORS[int(match[1]) - 1]) if match else Look(time_format=written)


def decode(text: str) -> Intent:
    """The intent that `encode` made.

    Raises: ValueError saying what is wrong with the text.
    """
    try:
        fields: dict[str, Any] = json.loads(text)
        if fields["v"] not in READABLE:
            raise ValueError(f"version {fields['v']} of an intent is not known here")
        if "looks" in fields:
            looks = [
                Look(str(form), str(time), str(color), str(watcher), int(wid))
                for form, time, color, watcher, wid in fields["looks"]
            ]
        else:
            looks = [_look_of_format(str(each)) for each in fields["formats"]]
        return Intent(
            path=str(fields["path"]),
            place=Place(
                dev=int(fields["dev"]),
                ino=int(fields["ino"]),
                size=int(fields["size"]),
                head_hash=str(fields["head"]),
                at_line_start=bool(fields["bol"]),
                last=SourceKey(int(fields["last"][0]), str(fields["last"][1])),
                dated_s=int(fields.get("dated", 0)),
            ),
            segments=tuple(
                Segment(SourceKey(int(id_), str(stream)), int(start), int(end), str(kind), (*looks, None)[int(number)])
                for id_, stream, start, end, kind, number in fields["segments"]
            ),
            rotate=int(fields["rotate"]),
            at_ns=int(fields["at"]),
            aside=str(fields.get("aside", "")),
            dated_s=int(fields.get("dating", 0)),
            overtaken=tuple(
                (SourceKey(int(id_), str(stream)), int(offset)) for id_, stream, offset in fields.get("overtaken", ())
            ),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not an intent: {error!r} in {text[:80]!r}") from error
