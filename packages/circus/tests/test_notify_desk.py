from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from circus.bus import SERIOUS, Event
from circus.config.model import NotifierConfig
from circus.notify import desk as desks
from circus.notify import messages
from circus.notify.desk import Desk, Outcome
from circus.notify.messages import Message, Sender

GOOD = Outcome()
BAD = Outcome("no")
SENDER = Sender("shop", "host1", "abc")


def desk(**options: Any) -> Desk:
    return Desk(NotifierConfig(name="ops", url="http://h/", **options))


def event(name: str = "fatal", watcher: str = "web", at: float = 0.0, **fields: object) -> Event:
    return Event(at, watcher, name, fields)


def deliver(found: Desk, now: float, outcome: Outcome = GOOD) -> Message | None:
    message = found.take(now)
    if message is not None:
        found.settle(message, outcome, now, told_missed=found.missed)
    return message


# Which ------------------------------------------------------------------------------------------------------


def test_by_default_those_are_told_that_somebody_should_look_at() -> None:
    found = desk()
    assert all(found.wants(event(name)) for name in SERIOUS if not name.startswith("notify_"))
    assert not any(found.wants(event(name)) for name in ("spawn", "reap", "start"))


@pytest.mark.parametrize("events", [(), ("*",), ("notify_*",)])
def test_no_notifier_tells_of_notifiers(events: tuple[str, ...]) -> None:
    assert not any(desk(events=events).wants(event(name, "")) for name in ("notify_failed", "notify_dropped"))


@pytest.mark.parametrize(
    ("watchers", "told", "wanted"),
    [
        (("*",), event(watcher=""), True),
        (("web*",), event(watcher="Web-1"), True),
        (("WEB*",), event(watcher="web-1"), True),
        (("web*",), event(watcher="db"), False),
        (("web*",), event(watcher=""), False),
        (("web*",), event("sink_failed", "", watchers=["db", "web"]), True),
        (("db2",), event("sink_failed", "", watchers=["db", "web"]), False),
    ],
)
def test_patterns_choose_watchers(watchers: tuple[str, ...], told: Event, wanted: bool) -> None:
    assert desk(watchers=watchers).wants(told) is wanted


def test_patterns_choose_events() -> None:
    found = desk(events=("un*", "reap"))
    assert [found.wants(event(name)) for name in ("unhealthy", "reap", "fatal")] == [True, True, False]


# When -------------------------------------------------------------------------------------------------------


def test_a_crash_loop_is_one_message_and_then_one_in_a_while_with_a_number() -> None:
    found = desk(every_s=60.0)
    told = []
    for second in range(1000):
        found.hear(event(at=float(second)), float(second))
        if (message := deliver(found, float(second))) is not None:
            told.append((second, message.count, message.first_at))
    assert told[0] == (0, 1, 0.0)
    assert len(told) == 17
    assert all(later[0] - earlier[0] == 60 for earlier, later in itertools.pairwise(told))
    assert sum(count for _, count, _ in told) + found.untold == 1000
    assert told[1][2] == 1.0, "when the first one of them was"


def test_other_events_and_other_watchers_are_told_of_at_once() -> None:
    found = desk()
    for each in (event(), event("limit"), event(watcher="db"), event()):
        found.hear(each, 0.0)
    assert [deliver(found, 0.0) is not None for _ in range(4)] == [True, True, True, False]


def test_a_timer_is_wanted_for_what_was_counted_and_for_nothing_else() -> None:
    found = desk(every_s=60.0)
    found.hear(event(), 0.0)
    assert deliver(found, 0.0) is not None
    assert found.due(1.0) is None
    found.hear(event(), 10.0)
    assert found.due(11.0) == 60.0
    assert found.take(59.9) is None
    message = deliver(found, 60.0)
    assert message is not None and message.count == 1
    assert found.due(61.0) is None
    found.hear(event(), 200.0)
    message = deliver(found, 200.0)
    assert message is not None and message.count == 1, "long after it is told at once again"


def test_without_a_pause_every_event_has_its_message() -> None:
    found = desk(every_s=0.0)
    for _ in range(3):
        found.hear(event(), 0.0)
    assert [deliver(found, 0.0) is not None for _ in range(4)] == [True, True, True, False]


def test_what_is_known_of_events_has_a_bound_and_loses_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "MAX_KNOWN", 10)
    found = desk(queue=1000)
    for _ in range(3):
        for number in range(50):
            found.hear(event(watcher=f"w{number}"), 0.0)
    assert len(found._known) == 10
    told = 0
    while (message := deliver(found, 0.0)) is not None:
        told += message.count
    assert told + found.untold == 150


# How often --------------------------------------------------------------------------------------------------


def test_an_attempt_that_fails_is_made_again_after_pauses_that_grow() -> None:
    found = desk(retries=3, backoff_s=2.0)
    found.hear(event(), 0.0)
    at, times = 0.0, []
    while found.waiting:
        message = found.take(at)
        assert message is not None
        times.append(at)
        is_given_up = found.settle(message, BAD, at, told_missed=0)
        assert is_given_up is (len(times) == 4)
        due = found.due(at)
        if due is not None:
            assert found.take(due - 0.01) is None
            at = due
    assert times == [0.0, 2.0, 6.0, 14.0]
    assert (found.sent, found.failed, found.missed, found.error) == (0, 1, 1, "no")


def test_no_pause_is_longer_than_its_bound_and_a_server_may_ask_for_more() -> None:
    found = desk(retries=50, backoff_s=1.0)
    found.hear(event(), 0.0)
    pauses = []
    for outcome in (Outcome("HTTP 429", retry_after_s=30.0), *[BAD] * 20, Outcome("HTTP 503", retry_after_s=1e9)):
        message = found.take(1000.0)
        assert message is not None
        found.settle(message, outcome, 0.0, told_missed=0)
        pauses.append(found._not_before)
    assert pauses[0] == 30.0
    assert max(pauses) == pauses[-1] == desks.MAX_PAUSE_S


def test_what_another_attempt_would_not_better_is_given_up_at_once() -> None:
    found = desk(retries=5)
    found.hear(event(), 0.0)
    message = found.take(0.0)
    assert message is not None
    assert found.settle(message, Outcome("HTTP 404", is_final=True), 0.0, told_missed=0)
    assert (found.waiting, found.failed) == (0, 1)


def test_one_is_under_way_at_a_time_and_they_are_told_in_order() -> None:
    found = desk(retries=1, backoff_s=1.0)
    for watcher in "abc":
        found.hear(event(watcher=watcher), 0.0)
    first = found.take(0.0)
    assert first is not None and found.take(0.0) is None
    found.settle(first, BAD, 0.0, told_missed=0)
    assert found.take(0.5) is None, "the others wait behind it"
    told = [message.event.watcher for _ in range(3) if (message := deliver(found, 1.0)) is not None]
    assert told == ["a", "b", "c"]


def test_of_a_full_queue_the_oldest_goes_and_the_next_message_says_how_many_are_missing() -> None:
    found = desk(queue=3)
    hanging_first = None
    for number in range(10):
        found.hear(event(watcher=f"w{number}"), 0.0)
        hanging_first = hanging_first or found.take(0.0)
    assert hanging_first is not None and hanging_first.event.watcher == "w0"
    assert (found.waiting, found.dropped, found.missed) == (4, 6, 6)
    found.settle(hanging_first, GOOD, 0.0, told_missed=0)
    message = found.take(0.0)
    assert message is not None and message.event.watcher == "w7"
    found.hear(event(watcher="w10"), 0.0)
    found.hear(event(watcher="w11"), 0.0)
    found.settle(message, GOOD, 0.0, told_missed=6)
    assert found.missed == 1, "what was dropped meanwhile is told of by the one after"


def test_a_test_comes_before_all_others_once_and_changes_no_count_of_what_was_missed() -> None:
    found = desk()
    found.hear(event(), 0.0)
    first = found.take(0.0)
    assert first is not None
    found.settle(first, BAD, 0.0, told_missed=0)
    test = found.test(5.0)
    assert found.take(0.0) is test, "also in the pause of another"
    assert found.settle(test, BAD, 0.0, told_missed=0) is False
    assert (found.waiting, found.failed, found.error) == (1, 0, "no")
    other = found.test(6.0)
    found.withdraw(other)
    assert found.take(0.0) is None


def test_who_leaves_tells_what_was_counted_and_tries_nothing_twice() -> None:
    found = desk(retries=5, backoff_s=100.0)
    found.hear(event(), 0.0)
    message = found.take(0.0)
    assert message is not None
    found.settle(message, BAD, 0.0, told_missed=0)
    found.hear(event(), 1.0)
    found.hear(event(), 2.0)
    found.leave()
    assert deliver(found, 2.0, BAD) == message
    last = deliver(found, 2.0, GOOD)
    assert last is not None and last.count == 2
    assert (found.waiting, found.untold, found.failed, found.sent) == (0, 0, 1, 1)


# What is said -----------------------------------------------------------------------------------------------


def test_a_message_says_all_of_an_event() -> None:
    message = Message(7, event(at=100.5, reason="gave up\nafter 5", wid=2, env=b"x"), 3, 90.0)
    said = json.loads(messages.as_json(message, SENDER, notifier="ops", attempt=2, missed=4))
    text = "shop on host1: web fatal reason=gave up after 5 wid=2 (3 times since 00:01:30Z)"
    assert said == {
        "id": "abc-ops-7",
        "notifier": "ops",
        "circusd": "shop",
        "host": "host1",
        "event": "fatal",
        "watcher": "web",
        "at": 100.5,
        "text": text,
        "count": 3,
        "first_at": 90.0,
        "missed": 4,
        "attempt": 2,
        "fields": {"reason": "gave up\nafter 5", "wid": 2, "env": "b'x'"},
    }
    variables = messages.as_variables(message, SENDER, notifier="ops", missed=4)
    assert variables == {
        "CIRCUS_NOTIFIER": "ops",
        "CIRCUS_NAME": "shop",
        "CIRCUS_EVENT": "fatal",
        "CIRCUS_WATCHER": "web",
        "CIRCUS_TEXT": text,
        "CIRCUS_COUNT": "3",
        "CIRCUS_MISSED": "4",
    }


def test_a_message_has_a_bound_and_survives_odd_names() -> None:
    long = Message(1, event(reason="x" * 10_000_000, path="/a\udc80"))
    body = messages.as_json(long, SENDER, notifier="ops", attempt=1, missed=0)
    assert len(body) < messages.MAX_BYTES
    assert json.loads(body)["fields"] == {}
    odd = Message(1, event(path="/a\udc80\0"))
    assert json.loads(messages.as_json(odd, SENDER, notifier="ops", attempt=1, missed=0))["fields"]["path"]
    assert "\0" not in messages.as_variables(odd, replace(SENDER, host="a\0b"), notifier="ops", missed=0)["CIRCUS_TEXT"]
