"""What stands on the screen of circus-top, and in which order: its cores."""

from __future__ import annotations

from typing import Any

import pytest

from circus.cli.columns import width_of
from circus.errors import CircusError
from circus.tui import orders, painting, rows, sparks
from circus.tui.choosing import Choice
from circus.tui.loglines import MAX_LINES, LogLine, LogLines, of_answer
from circus.tui.orders import BY_WORD, Target
from circus.tui.rows import Trouble
from circus.tui.sparks import History

SLOT: dict[str, Any] = {
    "wid": 1, "state": "running", "pid": 7, "started_at": 100.0, "reason": "", "last_status": None, "health": "",
}  # fmt: skip
WATCHER: dict[str, Any] = {
    "name": "web", "state": "active", "numprocesses": 1, "wants_up": True, "reason": "", "slots": [SLOT],
}  # fmt: skip
DOWN = {"state": "stopped", "wants_up": False, "slots": []}


def slot(**changes: Any) -> dict[str, Any]:
    return {**SLOT, **changes}


def head(watcher: dict[str, Any] | None = None, **status: Any) -> rows.Row:
    told = {"watchers": [{**WATCHER, **(watcher or {})}], **status}
    return rows.groups(told, History(), {}, 0.0)[0].head


@pytest.mark.parametrize(
    ("watcher", "status", "trouble", "why"),
    [
        ({}, {}, Trouble.WELL, ""),
        ({}, {"by_hand": {"web": "2 instead of 1"}}, Trouble.WELL, "2 instead of 1"),
        (DOWN, {}, Trouble.DOWN, ""),
        ({"slots": [slot(state="fatal", pid=None, reason="it gave up")]}, {}, Trouble.FAILED, "it gave up"),
        ({"slots": [slot(state="backoff", pid=None, reason="ended")]}, {}, Trouble.BACKOFF, "ended"),
        ({"slots": [slot(state="exited", pid=None, last_status=3)]}, {}, Trouble.FAILED, "ended with status 3"),
        ({"slots": [slot(state="exited", pid=None, last_status=-9)]}, {}, Trouble.FAILED, "killed by signal 9"),
        ({"slots": [slot(state="exited", pid=None, last_status=0)]}, {}, Trouble.WELL, ""),
        ({"slots": [slot(state="stopped", pid=None, reason="no port")]}, {}, Trouble.FAILED, "no port"),
        ({"slots": [slot(health="unhealthy")]}, {}, Trouble.UNHEALTHY, "its health check fails"),
        ({"slots": [slot(reason="uses too much")]}, {}, Trouble.UNHEALTHY, "uses too much"),
        ({"slots": [slot(state="starting", reason="not ready yet")]}, {}, Trouble.UNREADY, "not ready yet"),
        ({"slots": [slot(state="starting")]}, {}, Trouble.CHANGING, ""),
        ({"state": "starting", "waits_for": ["db", "mq"]}, {}, Trouble.BLOCKED, "waits for db, mq"),
        ({"state": "stopped", "slots": [], "reason": "max_retry"}, {}, Trouble.FAILED, "max_retry"),
        ({}, {"drift": {"web": "cmd is another one"}}, Trouble.DRIFTED, "cmd is another one"),
        (DOWN, {"survivors": {"web": [{"pid": 9}]}}, Trouble.LEFT, "1 left of ended processes: 9"),
        ({"reload": "2 of 4 replaced"}, {}, Trouble.CHANGING, "2 of 4 replaced"),
        (
            {"job": {"last": {"state": "failed", "reason": "status 1"}, "next_run": 5.0}, **DOWN},
            {}, Trouble.FAILED, "the last run failed: status 1",
        ),
    ],
)  # fmt: skip
def test_a_watcher_says_its_worst_trouble_and_why(
    watcher: dict[str, Any], status: dict[str, Any], trouble: Trouble, why: str
) -> None:
    row = head(watcher, **status)
    assert (row.trouble, row.why) == (trouble, why)


def test_the_worst_processes_of_many_speak_for_their_watcher() -> None:
    waiting = [slot(wid=wid, state="backoff", pid=None, reason="ended") for wid in (2, 3)]
    row = head({"slots": [SLOT, *waiting], "numprocesses": 3})
    assert (row.trouble, row.state, row.why) == (Trouble.BACKOFF, "backoff", "2 of 3; web.2: ended")
    assert (row.up, row.wanted) == (1, 3)


def test_what_crashes_again_and_again_stays_in_trouble_while_it_runs_for_a_moment() -> None:
    falls: rows.Falls = {}

    def trouble(slots: list[dict[str, Any]], now: float) -> tuple[Trouble, str]:
        row = rows.groups({"watchers": [{**WATCHER, "slots": slots}]}, History(), falls, now)[0].head
        return row.trouble, row.why

    waiting = [slot(state="backoff", pid=None, reason="ended with status 3; next attempt after 4 s")]
    assert trouble(waiting, 0.0)[0] == Trouble.BACKOFF
    assert trouble([SLOT], 5.0) == (Trouble.SHAKY, "just back: ended with status 3")
    assert trouble([slot(state="stopped", pid=None)], 6.0)[0] == Trouble.WELL
    assert trouble([SLOT], rows.SHAKY_S + 0.1) == (Trouble.WELL, "")
    assert falls == {}


def sample(at: float, pid: int, cpu: float | None, memory: int) -> dict[str, Any]:
    return {"at": at, "pid": pid, "cpu": cpu, "memory": memory}


def test_figures_are_of_the_process_that_runs_and_add_up_for_a_watcher() -> None:
    history = History()
    history.add({"web": {"1": [sample(1, 6, 50.0, 9), sample(2, 7, None, 10)], "2": [sample(2, 8, 30.0, 20)]}})
    history.add({"web": {"1": [sample(2, 7, None, 10), sample(3, 7, 40.0, 11)]}})
    status = {"watchers": [{**WATCHER, "slots": [SLOT, slot(wid=2, pid=8), slot(wid=3, pid=9)]}]}
    group = rows.groups(status, history, {}, 0.0)[0]
    assert [(row.cpu, row.memory) for row in group.slots] == [(40.0, 11), (30.0, 20), (None, None)]
    assert (group.head.cpu, group.head.memory) == (70.0, 31)
    assert group.slots[0].cpus == (50.0, 0.0, 40.0)
    assert group.head.cpus == (50.0, 0.0, 70.0)
    assert history.latest_at == 3
    history.keep([("web", 2)])
    assert not history.of(("web", 1)) and history.of(("web", 2))


def test_a_curve_is_as_high_as_its_largest_value_and_as_long_as_all_others() -> None:
    assert sparks.curve([0, 50, 100], 100) == "     ▁▅█"
    assert sparks.curve([0, 0], 0.0, sparks.PLAIN) == "      __"
    assert len(sparks.curve(list(range(100)), 99)) == sparks.LENGTH


def names(choice: Choice, groups: list[rows.Group]) -> list[str]:
    return [row.name for row in choice.rows(groups)]


def some_groups() -> list[rows.Group]:
    history = History()
    history.add({"big": {"1": [sample(1, 1, 5.0, 900)]}, "busy": {"1": [sample(1, 2, 90.0, 100)]}})
    watchers = [
        {**WATCHER, "name": "big", "slots": [slot(pid=1, started_at=50.0)]},
        {**WATCHER, "name": "busy", "slots": [slot(pid=2, started_at=80.0), slot(wid=2, pid=3)]},
        {**WATCHER, "name": "bad", "slots": [slot(state="fatal", pid=None, reason="it gave up")]},
        {**WATCHER, "name": "off", **DOWN},
    ]
    return rows.groups({"watchers": watchers}, history, {}, 0.0)


def test_rows_are_sorted_by_what_was_chosen_and_the_other_way_round() -> None:
    choice, groups = Choice(), some_groups()
    assert names(choice, groups) == ["bad", "big", "busy", "off"]
    expected = {
        "cpu": ["busy", "big", "bad", "off"],
        "memory": ["big", "busy", "bad", "off"],
        "age": ["busy", "big", "bad", "off"],
        "name": ["bad", "big", "busy", "off"],
    }
    for key, order in expected.items():
        choice.sort_by(key)
        assert names(choice, groups) == order
    choice.sort_by("name")
    assert names(choice, groups) == ["off", "busy", "big", "bad"]
    choice.sort_by("cpu")
    assert not choice.is_reversed


def test_rows_are_filtered_by_words_and_shown_below_their_watcher_or_alone() -> None:
    choice, groups = Choice(sort="name"), some_groups()
    choice.toggle("busy")
    assert names(choice, groups) == ["bad", "big", "busy", "busy.1", "busy.2", "off"]
    choice.filter = "BUSY.2"
    assert names(choice, groups) == ["busy", "busy.2"]
    choice.filter = "gave failed"
    assert names(choice, groups) == ["bad"]
    choice.filter = "busy failed"
    assert names(choice, groups) == []
    choice.filter, choice.is_flat = "", True
    assert names(choice, groups) == ["bad.1", "big.1", "busy.1", "busy.2", "off"]
    choice.is_flat, choice.is_all_open = False, True
    assert len(choice.rows(groups)) == 8


def text(line: painting.Line) -> str:
    return "".join(piece for piece, _ in line)


@pytest.mark.parametrize("width", [40, 80, 100, 120, 200])
@pytest.mark.parametrize("name", ["web", "a-very-long-name-of-a-watcher-that-somebody-has-given", "名前" * 20])
def test_no_line_is_wider_than_the_terminal(width: int, name: str) -> None:
    row = head({"name": name, "slots": [slot(reason="it uses " + "much " * 80)]})
    down = head({"name": name, "slots": [slot(state="fatal", pid=None, reason="it gave up, " * 20)]})
    layout = painting.Layout.of(width, width_of(name))
    for each in (row, down):
        lines = [painting.row_line(each, layout, 200.0, levels=sparks.BLOCKS, is_below=True)]
        for line in (*lines, *painting.detail_lines(each, width)):
            assert width_of(text(line).rstrip()) <= width
    assert len(text(painting.head_line(layout))) <= width


def test_a_wide_terminal_tells_why_beside_the_figures_and_a_narrow_one_below() -> None:
    row = head({"slots": [slot(reason="it uses more memory than it may")]})

    def line(width: int) -> str:
        layout = painting.Layout.of(width, 3)
        return text(painting.row_line(row, layout, 200.0, levels=sparks.PLAIN, is_below=False))

    assert "it uses" in line(120) and "it uses" not in line(80)
    first, second = painting.detail_lines(row, 30)
    assert (text(first), text(second)) == (" web: it uses more memory than", "   it may")


def test_what_is_shown_has_nothing_that_a_terminal_would_obey() -> None:
    row = head({"slots": [slot(reason="\x1b[2J\nboo")], "name": "we\x1bb"})
    layout = painting.Layout.of(120, 10)
    assert text(painting.row_line(row, layout, 200.0, levels=sparks.BLOCKS, is_below=False)).isprintable()


@pytest.mark.parametrize(
    ("count", "said"), [(None, ""), (900, "900B"), (2048, "2K"), (1.5 * 2**20, "1.5M"), (300 * 2**30, "300G")]
)
def test_sizes_are_short(count: float | None, said: str) -> None:
    assert painting.size(count) == said


@pytest.mark.parametrize(
    ("word", "target", "said", "line", "path", "body"),
    [
        ("restart", Target("web"), "", "restart web", "restart", {"wait": False, "match": "simple"}),
        ("stop", Target("a b*"), "", "stop 'a b*' --match simple", "stop", {"wait": False, "match": "simple"}),
        ("numprocesses", Target("web"), " 3 ", "numprocesses web 3", "count", {"wait": False, "count": 3}),
        ("incr", Target("web", 7), "", "incr web", "count", {"wait": False, "delta": 1}),
        ("decr", Target("web"), "", "decr web", "count", {"wait": False, "delta": -1}),
        ("signal", Target("web", 7), "usr1", "signal web 7 USR1", "signal", {"pid": 7, "signum": "USR1"}),
        ("signal", Target("web"), "15", "signal web 15", "signal", {"pid": None, "signum": 15}),
        ("kill", Target("web", 7), "", "kill web 7", "kill", {"wait": False, "pid": 7}),
    ],
)
def test_an_order_is_what_circusctl_would_be_told(
    word: str, target: Target, said: str, line: str, path: str, body: dict[str, object]
) -> None:
    made = orders.order(BY_WORD[word], target, said=said, endpoint="shop")
    assert made.line == f"circusctl --endpoint shop {line}"
    assert made.path == ("watchers", target.watcher, path)
    assert made.body == body


@pytest.mark.parametrize(("word", "said"), [("numprocesses", ""), ("numprocesses", "-1"), ("signal", " ")])
def test_what_no_order_can_be_made_of_is_refused(word: str, said: str) -> None:
    with pytest.raises(CircusError) as caught:
        orders.order(BY_WORD[word], Target("web"), said=said)
    assert caught.value.code == "usage"


def line_of(said: str) -> LogLine:
    return of_answer("web", {"text": said})


def test_a_log_has_a_bound_at_both_ends() -> None:
    log = LogLines()
    log.replace(line_of(str(number)) for number in range(MAX_LINES + 5))
    assert (len(log.lines), log.lines[0].text) == (MAX_LINES, "5")
    assert log.append([line_of("new")]) == 1
    assert log.prepend([line_of("old")]) == 0
    assert (len(log.lines), log.lines[-1].text) == (MAX_LINES, "new")


def test_small_letters_find_large_ones_and_large_ones_themselves_alone() -> None:
    log = LogLines()
    log.replace([line_of("an Error"), line_of("nothing"), line_of("an error")])
    log.wanted = "error"
    assert (log.find(-1, 1), log.find(0, 1), log.find(2, 1), log.find(2, -1)) == (0, 2, None, 0)
    log.wanted = "Error"
    assert (log.find(0, 1), log.find(2, -1)) == (None, 0)
    log.wanted = ""
    assert log.find(-1, 1) is None
