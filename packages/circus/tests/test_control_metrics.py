from __future__ import annotations

import asyncio
import re
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from circus.control import dispatch, metrics
from circus.control.caller import OWNER, Caller
from circus.control.ops import Ops
from circus.control.scrapes import Doors, Page
from circus.engine.pictures import Layer, Picture, Use
from circus.engine.tallies import WAIT_BOUNDS, Histogram, Reason
from circus.errors import CircusError
from circus.streams.lag import Lag
from circus.supervise.states import SlotKey, SlotState
from circus.testing.circusd import FakeEngine, make_slot, make_watcher

EVIL = 'a"b\\c\nd{e="f"} 1\udc80'

#: What an answer of papa has, and more that nobody here knows.
PAPA = {
    "running": 3, "processes": 4, "sockets": 1, "values": 2, "connections": 1, "held_bytes": 10, "budget_bytes": 100,
    "journal_bytes": 9, "not_covered": 1, "dropped_bytes": 7, "faults": 0, "lost": 0,
    "vault": {"live": 9, "refused": 2}, "file_system": {"free_bytes": 5, "size_bytes": 6, "problems": ["x"]}, "new": {},
}  # fmt: skip


def whole_picture() -> Picture:
    """Everything that can be told, of at least one."""
    histogram = Histogram(WAIT_BOUNDS)
    histogram.note(0.002)
    slots = (
        make_slot(1, pid=4711, is_ready=True, health="healthy", started_at=1000.0),
        make_slot(2, state=SlotState.FATAL),
    )
    return Picture(
        started_at=1.0,
        watchers=(
            structs.replace(make_watcher("web"), slots=slots, numprocesses=2), make_watcher("job", 0),
            structs.replace(make_watcher("x"), name=EVIL),
        ),
        idle=frozenset(("job",)),
        lives={"web": {1: 3}},
        exits={"web": {Reason("exit", "1", "false"): 2}, EVIL: {Reason("signal", "SIGKILL", "away"): 1}},
        events={"web": {"reap": 2}, "": {"file_changed": 1}},
        survivors={"web": 1},
        notifiers={"chat": {"target": "https://x", "sent": 4, "failed": 3, "dropped": 2, "collapsed": 1, "waiting": 9}},
        jobs={"job": {"next_run": 2000.0, "last": {"state": "done", "ended_at": 1500.0}}},
        output={"web": {"stdout": {"bytes": 100, "gaps": 1, "dropped": 5, "sink_errors": 2}}},
        lags={("web", "stdout"): Lag(10, 4, 1.5, True), (EVIL, "stderr"): Lag()},
        uses={SlotKey("web", 1): Use(1.25, 4096, 2, 9), SlotKey(EVIL, 1): Use(0.0, 1, 1, None)},
        layers={"circusd": Layer(1.0, 2, 3.0, 4, 5, 6, 7), "papa": Layer(1.0, 2, 3.0, 1, 5, 6, None)},
        papa=PAPA,
        papa_s=0.001,
        loop_lag_s=0.002,
        mailbox=1,
        waits=histogram,
        warnings=2,
        replaced=3,
        took_s=0.01,
    )  # fmt: skip


def whole_doors() -> Doors:
    histogram = Histogram((0.1, 1.0))
    histogram.note(0.5)
    return Doors("1.0", {("status", "ok"): 1, ("stop", "not-found"): 2}, {"status": histogram}, 3, 8, 4, 5, 6, 7)


def rendered(picture: Picture, *, accept: str = "", caller: Caller = OWNER) -> str:
    return metrics.render(picture, whole_doors(), caller, accept)[0].decode()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float | None:
    return samples(text).get((name, frozenset(labels.items())))


def test_every_picture_has_all_that_it_can_tell() -> None:
    picture = whole_picture()
    empty = Picture(1.0)
    same = [each.name for each in fields(Picture) if getattr(picture, each.name) == getattr(empty, each.name)]
    assert same == ["started_at"], "so the tests below are about everything"


def test_watchers_and_slots_are_told_of_by_name_and_place_and_never_by_pid() -> None:
    text = rendered(whole_picture())
    assert value(text, "circus_watcher_state", watcher="web", state="active") == 1
    assert value(text, "circus_watcher_state", watcher="web", state="stopped") == 0
    assert value(text, "circus_watcher_processes_wanted", watcher="web") == 2
    assert value(text, "circus_watcher_processes_wanted", watcher="job") is None
    assert value(text, "circus_watcher_processes_running", watcher="web") == 1
    assert value(text, "circus_watcher_processes_ready", watcher="web") == 1
    assert value(text, "circus_watcher_survivors", watcher="web") == 1
    assert value(text, "circus_watcher_exits_total", watcher="web", reason="exit", code="1", ordered="false") == 2
    assert value(text, "circus_events_total", watcher="", event="file_changed") == 1
    assert value(text, "circus_slot_state", watcher="web", wid="2", state="fatal") == 1
    assert value(text, "circus_slot_state", watcher="web", wid="2", state="running") == 0
    assert value(text, "circus_slot_ready", watcher="web", wid="1") == 1
    assert value(text, "circus_slot_healthy", watcher="web", wid="1") == 1
    assert value(text, "circus_slot_healthy", watcher="web", wid="2") is None
    assert value(text, "circus_slot_restarts_total", watcher="web", wid="1") == 2
    assert value(text, "circus_slot_restarts_total", watcher="web", wid="2") == 0
    assert value(text, "circus_slot_start_time_seconds", watcher="web", wid="1") == 1000
    assert value(text, "circus_slot_start_time_seconds", watcher="web", wid="2") is None
    assert value(text, "circus_slot_cpu_seconds_total", watcher="web", wid="1") == 1.25
    assert value(text, "circus_slot_resident_memory_bytes", watcher="web", wid="1") == 4096
    assert value(text, "circus_slot_processes", watcher="web", wid="1") == 2
    assert value(text, "circus_slot_open_fds", watcher="web", wid="1") == 9
    names = {name for _, labels in samples(text) for name, _ in labels}
    assert names == {
        "watcher", "wid", "state", "stream", "reason", "code", "ordered", "event", "operation", "result", "le",
        "layer", "kind", "version", "notifier",
    }  # fmt: skip
    assert "4711" not in text


def test_output_jobs_layers_papa_and_requests_are_told_of() -> None:
    text = rendered(whole_picture())
    stdout = {"watcher": "web", "stream": "stdout"}
    assert value(text, "circus_output_written_bytes_total", **stdout) == 100
    assert value(text, "circus_output_dropped_bytes_total", **stdout) == 5
    assert value(text, "circus_output_gaps_total", **stdout) == 1
    assert value(text, "circus_output_sink_errors_total", **stdout) == 2
    assert value(text, "circus_output_held_bytes", **stdout) == 10
    assert value(text, "circus_output_unwritten_bytes", **stdout) == 4
    assert value(text, "circus_output_lag_seconds", **stdout) == 1.5
    assert value(text, "circus_output_sink_failing", **stdout) == 1
    assert value(text, "circus_job_next_run_timestamp_seconds", watcher="job") == 2000
    assert value(text, "circus_job_last_run_timestamp_seconds", watcher="job") == 1500
    assert value(text, "circus_job_last_run_ok", watcher="job") == 1
    assert value(text, "circus_layer_cpu_seconds_total", layer="circusd") == 1
    assert value(text, "circus_layer_context_switches_total", layer="papa", kind="voluntary") == 5
    assert value(text, "circus_layer_context_switches_total", layer="papa", kind="involuntary") == 6
    assert value(text, "circus_layer_open_fds", layer="circusd") == 7
    assert value(text, "circus_layer_open_fds", layer="papa") is None
    assert value(text, "circus_layer_loop_lag_seconds", layer="circusd") == 0.002
    assert value(text, "circus_layer_loop_lag_seconds", layer="papa") == 0.001
    assert value(text, "circus_mailbox_wait_seconds_bucket", le="0.001") == 0
    assert value(text, "circus_mailbox_wait_seconds_bucket", le="0.005") == 1
    assert value(text, "circus_mailbox_wait_seconds_count") == 1
    assert value(text, "circus_api_requests_total", operation="stop", result="not-found") == 2
    assert value(text, "circus_api_request_duration_seconds_bucket", operation="status", le="+Inf") == 1
    assert value(text, "circus_api_request_duration_seconds_sum", operation="status") == 0.5
    assert (value(text, "circus_event_listeners"), value(text, "circus_operations_unawaited")) == (3, 4)
    assert value(text, "circus_replacements_total") == 3
    assert (value(text, "circus_warnings"), value(text, "circus_mailbox_length")) == (2, 1)
    assert value(text, "circus_log_followers") == 8
    results = ("sent", "failed", "dropped", "collapsed")
    messages = [value(text, "circus_notifier_messages_total", notifier="chat", result=each) for each in results]
    assert (messages, value(text, "circus_notifier_waiting", notifier="chat")) == ([4, 3, 2, 1], 9)
    audit = [value(text, f"circus_audit_{each}") for each in ("lines_total", "dropped_total", "waiting")]
    assert audit == [5, 6, 7]
    told = {name.removeprefix("circus_papa_"): each for (name, _), each in samples(text).items() if "_papa_" in name}
    assert told == {
        "up": 1, "processes_running": 3, "processes": 4, "sockets": 1, "values": 2, "connections": 1, "held_bytes": 10,
        "budget_bytes": 100, "journal_bytes": 9, "uncovered": 1, "dropped_bytes_total": 7, "faults_total": 0,
        "lost_total": 0, "vault_refused_total": 2, "file_system_free_bytes": 5, "file_system_size_bytes": 6,
        "file_system_problems": 1,
    }  # fmt: skip


def test_without_an_answer_of_papa_it_is_said_to_be_down_and_nothing_is_made_up() -> None:
    text = rendered(replace(whole_picture(), papa=None, papa_s=None))
    assert value(text, "circus_papa_up") == 0
    assert value(text, "circus_papa_held_bytes") is None
    assert value(text, "circus_layer_loop_lag_seconds", layer="papa") is None


def test_a_name_may_have_any_characters_and_spoils_nothing() -> None:
    text = rendered(whole_picture())
    readable = EVIL.replace("\udc80", "?")
    assert value(text, "circus_watcher_state", watcher=readable, state="active") == 1
    assert value(
        text, "circus_watcher_exits_total", watcher=readable, reason="signal", code="SIGKILL", ordered="away"
    ) == 1  # fmt: skip
    line = re.compile(r"# (?:HELP|TYPE) \S+ .+|\w+(?:\{.*\})? \S+")
    assert [each for each in text.splitlines() if not line.fullmatch(each)] == []


def test_who_sees_only_some_watchers_hears_of_these_only() -> None:
    text = rendered(whole_picture(), caller=Caller("token", "test", patterns=("job",)))
    watchers = {dict(labels)["watcher"] for _, labels in samples(text) if "watcher" in dict(labels)}
    assert watchers == {"job"}
    assert "notifier=" not in text
    all_by_chance = rendered(Picture(1.0, events={"": {"x": 1}}), caller=Caller("token", "test", patterns=("job",)))
    assert value(all_by_chance, "circus_events_total", watcher="", event="x") is None
    assert value(text, "circus_papa_up") == 1


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
    ],
)
def test_the_form_is_the_one_that_is_asked_for(accept: str, media: str) -> None:
    data, found = metrics.render(whole_picture(), whole_doors(), OWNER, accept)
    assert found == media
    assert data.decode().endswith("# EOF\n") == media.startswith("application/openmetrics")


def test_both_forms_say_the_same() -> None:
    picture, accept = whole_picture(), "application/openmetrics-text;version=1.0.0"
    strict = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in openmetrics.text_string_to_metric_families(rendered(picture, accept=accept))
        for sample in family.samples
    }
    assert strict == samples(rendered(picture))


def test_every_metric_is_ours_has_help_and_a_name_by_the_rules() -> None:
    families = list(parser.text_string_to_metric_families(rendered(whole_picture())))
    for family in families:
        assert re.fullmatch(r"circus(_[a-z]+)+", family.name), family.name
        assert family.documentation[:1].isupper() or family.documentation.startswith("1 "), family.name
        assert family.samples, f"{family.name} is in none of these tests"
        for word in ("_ms", "_mb", "_kb", "_percent", "_minutes"):
            assert word not in family.name
    names = [family.name for family in families]
    assert len(names) == len(set(names))


@pytest.mark.needs("promtool")
def test_prometheus_has_nothing_to_say_against_them() -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=rendered(whole_picture()), capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_page_is_an_operation_like_others(tmp_path: Path) -> None:
    ops = Ops(FakeEngine(make_watcher("web", 2), make_watcher("db", 1)))

    def ask(caller: Caller = OWNER) -> Any:
        return asyncio.run(dispatch.dispatch(ops, caller, "GET", "/metrics"))

    assert value(ask()["text"], "circus_watcher_processes_running", watcher="web") == 2
    assert "db" not in ask(Caller("token", "test", patterns=("web",)))["text"]
    with pytest.raises(CircusError, match="may not metrics"):
        ask(Caller("token", "test", verbs=frozenset(("see",))))
    text = ask()["text"]
    assert value(text, "circus_api_requests_total", operation="metrics", result="ok") == 2
    assert value(text, "circus_api_requests_total", operation="metrics", result="forbidden") == 1
    page = asyncio.run(ops.metrics("application/openmetrics-text"))
    assert isinstance(page, Page) and page.media.startswith("application/openmetrics-text")
