"""A picture of circusd as metrics for Prometheus: names, labels and help of each, once. Pure; imported when asked for.

The idea: a family after the other is made, rendered and forgotten, so that a thousand slots cost no memory for long.
Labels are names of watchers, numbers of slots and words of ours, never pids: there are as many series as there are
places. `docs/metrics.md` explains them to people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.samples import Sample

from circus.control.caller import Caller
from circus.control.scrapes import Doors
from circus.engine.pictures import CIRCUSD, PAPA, Layer, Picture
from circus.engine.tallies import Histogram
from circus.streams.lag import Lag
from circus.supervise.states import SlotKey, SlotState, SlotView, WatcherState, WatcherView

_SLOT = ("watcher", "wid")
_STREAM = ("watcher", "stream")
_RESULTS = ("sent", "failed", "dropped", "collapsed")
_NO_LAG = Lag()

#: Of a page of OpenMetrics.
_END = b"# EOF\n"

Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float]]


def render(picture: Picture, doors: Doors, caller: Caller, accept: str) -> tuple[bytes, str]:
    """The page, and its media type: the one that ``accept`` asks for, of those that there are."""
    encode, media = choose_encoder(accept)
    # One by one: the lines of all together would cost circusd a megabyte for ever.
    pieces = [encode(_One(family)).removesuffix(_END) for family in _Page(picture, doors, caller).families()]
    if media.startswith("application/openmetrics-text"):
        pieces.append(_END)
    return b"".join(pieces), media


class _One:
    """What the encoders take for a registry."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


class _Page:
    def __init__(self, picture: Picture, doors: Doors, caller: Caller) -> None:
        self._picture = picture
        self._doors = doors
        self._watchers = [each for each in picture.watchers if caller.sees(each.name)]
        self._seen = {each.name for each in self._watchers}
        self._sees_all = caller.sees_all

    def families(self) -> Iterator[Metric]:
        yield from self._of_watchers()
        yield from self._of_slots()
        yield from self._of_output()
        yield from self._of_jobs()
        yield from self._of_notifiers()
        yield from _of_circusd(self._picture, self._doors)
        yield from _of_layers(self._picture)
        yield from _of_papa(self._picture)

    def _of_watchers(self) -> Iterator[Metric]:
        picture, watchers = self._picture, self._watchers
        yield _gauge(
            "circus_watcher_state", "1 for the state that the watcher is in, 0 for the others", ("watcher", "state"),
            (((each.name, state.value), each.state is state) for each in watchers for state in WatcherState),
        )  # fmt: skip
        yield _gauge(
            "circus_watcher_processes_wanted",
            "Processes that the watcher should have now; not told of jobs and of what starts on demand", ("watcher",),
            (
                ((each.name,), each.numprocesses if each.wants_up else 0)
                for each in watchers
                if each.name not in picture.idle
            ),
        )  # fmt: skip
        yield _gauge(
            "circus_watcher_processes_running", "Processes of the watcher that live and have not been told to end",
            ("watcher",), (((each.name,), sum(map(_is_running, each.slots))) for each in watchers),
        )  # fmt: skip
        yield _gauge(
            "circus_watcher_processes_ready", "Processes of the watcher that are ready", ("watcher",),
            (((each.name,), sum(slot.is_ready for slot in each.slots)) for each in watchers),
        )  # fmt: skip
        yield _gauge(
            "circus_watcher_survivors", "Processes that are left of the watcher's stopped ones", ("watcher",),
            (((each.name,), picture.survivors.get(each.name, 0)) for each in watchers),
        )  # fmt: skip
        yield _counter(
            "circus_watcher_exits",
            "Ends of the watcher's processes: by status or signal, and whether circusd had ordered them",
            ("watcher", "reason", "code", "ordered"),
            (
                ((name, reason.how, reason.code, reason.ordered), count)
                for name in sorted(self._seen)
                for reason, count in picture.exits.get(name, {}).items()
            ),
        )
        told = ["", *sorted(self._seen)] if self._sees_all else sorted(self._seen)
        yield _counter(
            "circus_events", "Events that circusd has published, by watcher; those of none are its own",
            ("watcher", "event"),
            (((name, event), count) for name in told for event, count in picture.events.get(name, {}).items()),
        )  # fmt: skip

    def _of_slots(self) -> Iterator[Metric]:
        picture = self._picture
        slots = [((each.name, str(slot.wid)), each, slot) for each in self._watchers for slot in each.slots]
        yield _gauge(
            "circus_slot_state", "1 for the state that the slot is in, 0 for the others", (*_SLOT, "state"),
            (((*key, state.value), slot.state is state) for key, _, slot in slots for state in SlotState),
        )  # fmt: skip
        yield _gauge(
            "circus_slot_ready", "Whether the process in the slot is ready", _SLOT,
            ((key, slot.is_ready) for key, _, slot in slots),
        )  # fmt: skip
        yield _gauge(
            "circus_slot_healthy", "Whether the process in the slot is healthy, where somebody asks it", _SLOT,
            ((key, slot.health == "healthy") for key, _, slot in slots if slot.health),
        )  # fmt: skip
        yield _counter(
            "circus_slot_restarts", "Processes that came after the first one in the slot, whatever the reason", _SLOT,
            ((key, max(0, _lives(picture, watcher, slot) - 1)) for key, watcher, slot in slots),
        )  # fmt: skip
        yield _gauge(
            "circus_slot_start_time_seconds", "When the process in the slot was started, since 1970", _SLOT,
            ((key, slot.started_at) for key, _, slot in slots if slot.started_at is not None and slot.pid is not None),
        )  # fmt: skip
        used = [
            (key, use)
            for key, watcher, slot in slots
            if (use := picture.uses.get(SlotKey(watcher.name, slot.wid))) is not None
        ]
        yield _counter(
            "circus_slot_cpu_seconds", "Time of processors of the slot's process and all below it", _SLOT,
            ((key, use.cpu_s) for key, use in used),
        )  # fmt: skip
        yield _gauge(
            "circus_slot_resident_memory_bytes", "Resident memory of the slot's process and all below it", _SLOT,
            ((key, use.memory_bytes) for key, use in used),
        )  # fmt: skip
        yield _gauge(
            "circus_slot_processes", "The slot's process and all below it", _SLOT,
            ((key, use.processes) for key, use in used),
        )  # fmt: skip
        yield _gauge(
            "circus_slot_open_fds", "File descriptors that the slot's process has open, without those below it", _SLOT,
            ((key, use.descriptors) for key, use in used if use.descriptors is not None),
        )  # fmt: skip

    def _of_output(self) -> Iterator[Metric]:
        output, lags = self._picture.output, self._picture.lags
        known = {(name, stream): told for name, streams in output.items() for stream, told in streams.items()}
        keys = sorted(key for key in known.keys() | lags.keys() if key[0] in self._seen)
        for field_, name, documentation in (
            ("bytes", "circus_output_written_bytes", "Output that was written to where it belongs"),
            ("dropped", "circus_output_dropped_bytes", "Output that was lost before it could be written"),
            ("gaps", "circus_output_gaps", "Places at which output was lost"),
            ("sink_errors", "circus_output_sink_errors", "Times that where the output belongs began to refuse it"),
        ):
            yield _counter(name, documentation, _STREAM, ((key, known.get(key, {}).get(field_, 0)) for key in keys))
        told = [(key, lags.get(key, _NO_LAG)) for key in keys]
        yield _gauge(
            "circus_output_held_bytes", "Output that papa keeps, because nobody has acknowledged it yet", _STREAM,
            ((key, lag.held_bytes) for key, lag in told),
        )  # fmt: skip
        yield _gauge(
            "circus_output_unwritten_bytes", "Output that papa has and its file or receiver has not", _STREAM,
            ((key, lag.unwritten_bytes) for key, lag in told),
        )  # fmt: skip
        yield _gauge(
            "circus_output_lag_seconds", "For how long the oldest unwritten byte has been there", _STREAM,
            ((key, lag.seconds) for key, lag in told),
        )  # fmt: skip
        yield _gauge(
            "circus_output_sink_failing", "Whether the file or receiver of the output refuses it now", _STREAM,
            ((key, lag.is_failing) for key, lag in told),
        )  # fmt: skip

    def _of_jobs(self) -> Iterator[Metric]:
        jobs = sorted((name, job) for name, job in self._picture.jobs.items() if name in self._seen)
        yield _gauge(
            "circus_job_next_run_timestamp_seconds", "When the job runs next, since 1970", ("watcher",),
            _times((name, job.get("next_run")) for name, job in jobs),
        )  # fmt: skip
        last = [(name, run) for name, job in jobs if isinstance(run := job.get("last"), dict)]
        yield _gauge(
            "circus_job_last_run_timestamp_seconds", "When the job's last run ended, since 1970", ("watcher",),
            _times((name, run.get("ended_at")) for name, run in last),
        )  # fmt: skip
        yield _gauge(
            "circus_job_last_run_ok", "Whether the job's last run has ended well", ("watcher",),
            (((name,), run.get("state") == "done") for name, run in last),
        )  # fmt: skip

    def _of_notifiers(self) -> Iterator[Metric]:
        """They tell of all watchers."""
        told = sorted(self._picture.notifiers.items()) if self._sees_all else []
        yield _counter(
            "circus_notifier_messages",
            "Messages: sent, failed for good, dropped because the queue was full, or collapsed into others",
            ("notifier", "result"),
            (((name, result), _number(each.get(result))) for name, each in told for result in _RESULTS),
        )
        yield _gauge(
            "circus_notifier_waiting", "Messages that wait to be sent", ("notifier",),
            (((name,), _number(each.get("waiting"))) for name, each in told),
        )  # fmt: skip


def _of_circusd(picture: Picture, doors: Doors) -> Iterator[Metric]:
    yield _gauge("circus_build_info", "Always 1", ("version",), [((doors.version,), 1)])
    yield _gauge("circus_warnings", "Warnings that status has", (), [((), picture.warnings)])
    yield _counter(
        "circus_replacements", "How often circusd was replaced after a crash, a hang or too much use",
        (), [((), picture.replaced)],
    )  # fmt: skip
    yield _counter(
        "circus_api_requests", "Requests that were answered, by operation and result", ("operation", "result"),
        sorted(doors.results.items()),
    )  # fmt: skip
    yield _histogram(
        "circus_api_request_duration_seconds", "Until a request was answered; of a stream, until it began",
        ("operation",), (((name,), each) for name, each in sorted(doors.durations.items())),
    )  # fmt: skip
    yield _gauge("circus_event_listeners", "Connections that listen to events", (), [((), doors.listeners)])
    yield _gauge("circus_log_followers", "Connections that follow logs", (), [((), doors.followers)])
    yield _gauge("circus_operations_unawaited", "Orders under way that nobody waits for", (), [((), doors.unawaited)])
    yield _counter("circus_audit_lines", "Lines that stand in the audit trail", (), [((), doors.audit_written)])
    yield _counter("circus_audit_dropped", "Lines that the audit trail lacks", (), [((), doors.audit_dropped)])
    yield _gauge("circus_audit_waiting", "Lines that wait for the disk", (), [((), doors.audit_waiting)])
    yield _gauge("circus_mailbox_length", "Facts and orders that wait for the loop", (), [((), picture.mailbox)])
    if picture.waits is not None:
        yield _histogram(
            "circus_mailbox_wait_seconds", "Until the loop came to a fact or an order", (), [((), picture.waits)]
        )
    yield _gauge("circus_scrape_look_seconds", "How long circusd took to find all this out", (), [((), picture.took_s)])


def _of_layers(picture: Picture) -> Iterator[Metric]:
    layers = sorted(picture.layers.items())

    def told(value: Callable[[Layer], float | None]) -> Samples:
        return (((name,), found) for name, layer in layers if (found := value(layer)) is not None)

    label = ("layer",)
    yield _counter("circus_layer_cpu_seconds", "Time of processors", label, told(lambda each: each.cpu_s))
    yield _gauge("circus_layer_resident_memory_bytes", "Resident memory", label, told(lambda each: each.memory_bytes))
    yield _gauge("circus_layer_open_fds", "File descriptors that are open", label, told(lambda each: each.descriptors))
    yield _gauge("circus_layer_threads", "Threads", label, told(lambda each: each.threads))
    yield _gauge(
        "circus_layer_start_time_seconds", "When it was started, since 1970", label, told(lambda each: each.started_at)
    )
    yield _counter(
        "circus_layer_context_switches",
        "Of the thread that has the loop: voluntary ones are its wake-ups, the others those of a busy machine",
        ("layer", "kind"),
        (
            ((name, kind), count)
            for name, layer in layers
            for kind, count in (("voluntary", layer.slept), ("involuntary", layer.preempted))
        ),
    )
    lags = {CIRCUSD: picture.loop_lag_s, PAPA: picture.papa_s}
    yield _gauge(
        "circus_layer_loop_lag_seconds",
        "For how long the loop of circusd let somebody wait just now; of papa, how long it took to answer a ping",
        label, (((name,), lag) for name, lag in lags.items() if lag is not None),
    )  # fmt: skip


#: Of papa's status: key, metric, what it is. Those in the second table only grow.
_PAPA_NOW = (
    ("running", "circus_papa_processes_running", "Processes that papa has and that live"),
    ("processes", "circus_papa_processes", "Processes that papa has, with those whose end nobody has acknowledged"),
    ("sockets", "circus_papa_sockets", "Sockets that papa holds"),
    ("values", "circus_papa_values", "Values that papa keeps"),
    ("connections", "circus_papa_connections", "Clients that are connected to papa"),
    ("held_bytes", "circus_papa_held_bytes", "Output that papa keeps"),
    ("budget_bytes", "circus_papa_budget_bytes", "Output that papa keeps at most, of all processes together"),
    ("journal_bytes", "circus_papa_journal_bytes", "Size of papa's journal"),
    ("not_covered", "circus_papa_uncovered", "Processes and sockets that would be lost if papa were killed now"),
)
_PAPA_EVER = (
    ("dropped_bytes", "circus_papa_dropped_bytes", "Output that papa had to drop"),
    ("faults", "circus_papa_faults", "Faults of its own that papa has contained"),
    ("lost", "circus_papa_lost", "Processes and sockets that were lost by the kill of an earlier papa"),
)


def _of_papa(picture: Picture) -> Iterator[Metric]:
    yield _gauge("circus_papa_up", "Whether papa answers", (), [((), picture.papa is not None)])
    status = picture.papa or {}
    for key, name, documentation in _PAPA_NOW:
        yield _gauge(name, documentation, (), _one(status.get(key)))
    for key, name, documentation in _PAPA_EVER:
        yield _counter(name, documentation, (), _one(status.get(key)))
    vault, disk = status.get("vault", {}), status.get("file_system", {})
    yield _counter(
        "circus_papa_vault_refused", "Times that the vault did not take what shall outlive papa", (),
        _one(vault.get("refused")),
    )  # fmt: skip
    yield _gauge(
        "circus_papa_file_system_free_bytes", "What is free where papa keeps its state", (),
        _one(disk.get("free_bytes")),
    )  # fmt: skip
    yield _gauge(
        "circus_papa_file_system_size_bytes", "How large the file system is where papa keeps its state", (),
        _one(disk.get("size_bytes")),
    )  # fmt: skip
    problems = disk.get("problems")
    yield _gauge(
        "circus_papa_file_system_problems", "What this file system refuses now", (),
        _one(None if problems is None else len(problems)),
    )  # fmt: skip


# Small things -----------------------------------------------------------------------------------------------


def _gauge(name: str, documentation: str, labels: Sequence[str], samples: Samples) -> Metric:
    return _filled(GaugeMetricFamily(name, documentation, labels=labels), name, labels, samples)


def _counter(name: str, documentation: str, labels: Sequence[str], samples: Samples) -> Metric:
    """``name`` is without `_total`."""
    return _filled(CounterMetricFamily(name, documentation, labels=labels), f"{name}_total", labels, samples)


def _filled(family: Metric, name: str, labels: Sequence[str], samples: Samples) -> Metric:
    """One after the other, when they are rendered: thousands at once would cost circusd a megabyte for ever."""
    lazily: Any = (
        Sample(name, dict(zip(labels, map(_text, values), strict=True)), float(value)) for values, value in samples
    )
    family.samples = lazily
    return family


def _histogram(
    name: str, documentation: str, labels: Sequence[str], told: Iterable[tuple[Labels, Histogram]]
) -> Metric:
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for values, histogram in told:
        buckets, count = [], 0
        for bound, of_bound in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            count += of_bound
            buckets.append((bound, float(count)))
        family.add_metric(list(values), buckets, histogram.sum)
    return family


def _text(label: str) -> str:
    """Names of files that are no text (surrogates) must not spoil the page."""
    return label if label.isascii() else label.encode("utf-8", "replace").decode()


def _one(value: object) -> Samples:
    return [((), float(value))] if isinstance(value, int | float) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _times(told: Iterable[tuple[str, object]]) -> Samples:
    return (((name,), float(at)) for name, at in told if isinstance(at, int | float))


def _is_running(slot: SlotView) -> bool:
    return slot.pid is not None and slot.state in (SlotState.STARTING, SlotState.RUNNING)


def _lives(picture: Picture, watcher: WatcherView, slot: SlotView) -> int:
    return picture.lives.get(watcher.name, {}).get(slot.wid, 0)
