"""What a worker's thread is sent off to do for one file: write what was decided, look, decide what is next.

The idea: one trip of the thread for each turn of a channel. Nothing here touches the event loop's things: sources come
as views, and what was found goes back in a `Trip`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from circus import clock
from circus.logbook.copies import Kept
from circus.logbook.writing import Laid
from circus.streams import compare, filling, plan
from circus.streams.laid import kept_of, laid_of
from circus.streams.sinks import FileSink, Sink, Written
from circus.streams.store import Intent, Place, SourceKey
from circus.streams.tap import View


@dataclass(slots=True)
class Trip:
    """What a thread brings back; ``batch`` is what it wrote, ``error`` why it could not go on."""

    batch: filling.Batch | None = None
    written: Written | None = None
    place: Place | None = None
    survey: plan.Survey | None = None
    error: OSError | None = None
    laid: Laid | None = None  # for the index
    kept: list[Kept] = field(default_factory=list)  # for the store


class Permit:
    """To write, for one trip: it is withdrawn when a source leaves a disk that hangs.

    ``batch``: what the thread, or an earlier circusd, has begun to write: how much of it stands there nobody can say.
    """

    def __init__(self, batch: filling.Batch | None = None) -> None:
        self._lock = threading.Lock()
        self._is_withdrawn = False
        self.batch = batch

    def begin(self, batch: filling.Batch) -> bool:
        """By the thread, before it writes; False: not any more."""
        with self._lock:
            if not self._is_withdrawn:
                self.batch = batch
            return not self._is_withdrawn

    def withdraw(self) -> filling.Batch | None:
        """From now on nothing more is begun; what was."""
        with self._lock:
            self._is_withdrawn = True
            return self.batch


def travel(
    sink: Sink,
    batch: filling.Batch | None,
    views: list[View],
    survey: Callable[[list[View], Place, bool], plan.Survey],
    is_announced: Callable[[Place, filling.Batch], bool],
    permit: Permit,
    *,
    keeps_copies: bool = False,
) -> Trip:
    """Write the batch, look where the file stands, decide the next batch.

    One that is covered by what the kernel knows already is written at once: a quiet file's new line. Without a permit
    nothing is written or decided. ``keeps_copies``: what goes into no file is brought back for the store.
    """
    trip = Trip()
    try:
        while True:
            if batch is not None:
                if not permit.begin(batch):
                    return trip
                by_key = {view.key: view for view in views}
                trip.batch, trip.written = batch, sink.write(batch, by_key)
                if isinstance(sink, FileSink):
                    trip.laid = sink.laid(trip.written, by_key, int(clock.wall() * 1e9))
                elif keeps_copies:
                    trip.kept = kept_of(batch.segments, trip.written.done, by_key, int(clock.wall() * 1e9))
                trip.place, trip.error = trip.written.place, trip.written.error
                if trip.error is not None:
                    return trip
                done = trip.written.done
                views = [replace(view, start=done.get(view.key, view.start)) for view in views]
            trip.place = sink.look()
            trip.survey = survey(views, trip.place, bool(trip.written and trip.written.done))
            batch = trip.survey.batch
            if trip.batch is not None or batch is None or not is_announced(trip.place, batch):
                return trip
    except OSError as error:
        trip.error = error
        return trip


def settle(sink: Sink, intent: Intent, views: Mapping[SourceKey, View], permit: Permit) -> compare.Finding | None:
    """Find out what stands in the file of an earlier circusd, and complete what was cut in the middle.

    None without a permit. Raises: OSError.
    """
    if isinstance(sink, FileSink):
        sink.guard()
    finding = compare.compare(intent, views)
    if not permit.begin(filling.Batch(intent.segments)):
        return None
    compare.complete(finding)
    finding.laid = _laid(intent.path, finding, views)
    if isinstance(sink, FileSink):
        try:
            place = sink.look()
        except OSError:
            return finding  # the first trip meets the same, and says it
        is_same = (place.dev, place.ino) == (intent.place.dev, intent.place.ino)
        if is_same or finding.found_at == sink.path:
            sink.last = finding.last
        if is_same and intent.begins_anew:
            sink.dated_s = intent.place.dated_s  # it was not rotated yet
        elif is_same or (intent.begins_anew and not finding.doubt):
            sink.dated_s = intent.dated_s
    return finding


def _laid(path: str, finding: compare.Finding, views: Mapping[SourceKey, View]) -> Laid | None:
    """What was found is indexed as what is written: whoever wrote it may not have come to that."""
    if not finding.stretches:
        return None
    try:
        with open(finding.found_at, "rb", buffering=0) as file:
            laid = laid_of(path, file.fileno(), finding.stretches, views, int(clock.wall() * 1e9))
            return replace(laid, is_again=True) if laid is not None else None
    except OSError:
        return None
