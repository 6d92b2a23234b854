"""When a slot uses too much for too long, and what follows, from look to look."""

from __future__ import annotations

import random

import pytest

from circus.config.model import LimitsPolicy
from circus.procfs import Row
from circus.supervise import actions, events
from circus.supervise.budget import EXCESS, UNTOUCHED, Again, Budget, judge_excess
from circus.supervise.fleet import Fleet
from circus.supervise.limits import RELOAD_PACE_S, Excess, Limits, Use, Verdict
from circus.supervise.recall import from_json, standing_of, to_json
from circus.supervise.states import BackoffPolicy, SlotKey, SlotState, WatcherPolicy
from circus.supervise.usage import Tree, ticks_between, trees_of

WEB, OTHER = SlotKey("web", 1), SlotKey("web", 2)
M = 1 << 20
POLICY = LimitsPolicy(memory=100 * M, cpu=50.0, interval_s=10.0, grace_s=20.0, clear=80.0, start_period_s=5.0)


class Eyes:
    """Looks at one slot every ten seconds."""

    def __init__(self, policy: LimitsPolicy = POLICY, *, limits: Limits | None = None, key: SlotKey = WEB) -> None:
        self.limits = limits or Limits()
        self.policy = policy
        self.key = key
        self.incarnation = 1
        self.born = 0.0
        self.now = 100.0

    def see(self, memory: float, cpu: float | None = None) -> list[Verdict]:
        self.now += self.policy.interval_s
        use = Use(self.incarnation, self.now - self.born, int(memory * M), cpu)
        return self.limits.look(self.key, use, self.policy, self.now)

    def follows(self, *memory: float) -> list[str]:
        """On each look: the action, `over` where what was told is, or nothing."""
        told = [self.see(each) for each in memory]
        return ["".join(verdict.action or "over" for verdict in each) for each in told]


def test_the_action_follows_once_when_the_excess_has_lasted_for_the_grace() -> None:
    assert Eyes().follows(99, 101, 102, 103, 104, 105) == ["", "", "", "restart", "", ""]


def test_what_is_told_names_value_bound_and_time() -> None:
    eyes = Eyes()
    (verdict,) = [each for memory in (101, 102, 612) for each in eyes.see(memory)]
    assert verdict == Verdict(Excess("memory", 612 * M, 100 * M, 20.0), "restart")
    assert str(verdict.excess) == "memory 612M of 100M for 20 s"
    assert str(Excess("memory", 1.5 * 1024 * M, 900 << 10, 3.25)) == "memory 1.5G of 900K for 3.2 s"
    assert str(Excess("cpu", 142.6, 50.0, 90.0)) == "cpu 143% of 50% for 90 s"


def test_what_swings_about_the_bound_does_not_begin_anew_and_acts_only_above_it() -> None:
    assert Eyes().follows(101, 99, 81, 99, 101) == ["", "", "", "", "restart"]


def test_below_the_clear_level_the_excess_is_over_and_the_grace_begins_anew() -> None:
    assert Eyes().follows(101, 101, 79, 101, 101, 101) == ["", "", "", "", "", "restart"]


def test_what_was_told_is_over_only_below_the_clear_level_and_may_be_told_again() -> None:
    reports = LimitsPolicy(memory=100 * M, grace_s=0.0, clear=80.0, action="report", start_period_s=0.0)
    assert Eyes(reports).follows(101, 99, 81, 79, 99, 101) == ["report", "", "", "over", "", "report"]


def test_the_first_seconds_of_a_life_do_not_count() -> None:
    eyes = Eyes(LimitsPolicy(memory=M, grace_s=0.0, start_period_s=30.0))
    eyes.born = eyes.now
    assert eyes.follows(9, 9, 9) == ["", "", "restart"]


def test_another_process_begins_anew() -> None:
    eyes = Eyes()
    assert eyes.follows(101, 101) == ["", ""]
    eyes.incarnation = 2
    assert eyes.limits.excesses(WEB, 2) == []
    assert eyes.follows(101, 101, 101) == ["", "", "restart"]


def test_cpu_and_memory_are_judged_each_by_itself_and_what_nobody_knows_changes_nothing() -> None:
    eyes = Eyes()
    told = [eyes.see(10, cpu) for cpu in (None, 60.0, None, 70.0)]
    assert [[str(each.excess) for each in verdicts] for verdicts in told] == [[], [], [], ["cpu 70% of 50% for 20 s"]]
    assert eyes.follows(101, 101, 101) == ["", "", "restart"]
    assert [each.what for each in eyes.limits.excesses(WEB, 1)] == ["cpu", "memory"]


def test_an_excess_is_shown_while_it_lasts() -> None:
    eyes = Eyes()
    eyes.follows(101, 105)
    assert [str(each) for each in eyes.limits.excesses(WEB, 1)] == ["memory 105M of 100M for 10 s"]
    eyes.follows(50)
    assert eyes.limits.excesses(WEB, 1) == []


def test_a_bound_that_is_taken_away_is_forgotten() -> None:
    eyes = Eyes()
    eyes.follows(101)
    eyes.policy = LimitsPolicy(cpu=50.0)
    eyes.follows(101)
    assert eyes.limits.excesses(WEB, 1) == []


def test_slots_that_are_gone_are_forgotten() -> None:
    eyes = Eyes()
    eyes.follows(101)
    eyes.limits.keep([OTHER], ["web"])
    assert eyes.limits.excesses(WEB, 1) == []


def test_a_watcher_is_reloaded_once_at_a_time_for_all_its_slots() -> None:
    policy = LimitsPolicy(memory=100 * M, grace_s=0.0, start_period_s=0.0, action="reload")
    one = Eyes(policy)
    two = Eyes(policy, limits=one.limits, key=OTHER)
    assert one.follows(101) + two.follows(101) == ["reload", ""]
    later = int(RELOAD_PACE_S / policy.interval_s)
    assert two.follows(*[101] * later) == [""] * (later - 1) + ["reload"], "of the excess that goes on"
    assert one.follows(*[101] * 99) == [""] * 99


@pytest.mark.parametrize("seed", range(100))
def test_whatever_is_seen_there_is_one_action_for_an_excess_and_none_within_the_grace(seed: int) -> None:
    rng = random.Random(seed)
    policy = LimitsPolicy(
        memory=100 * M, grace_s=rng.choice([0.0, 15.0, 30.0]), clear=rng.choice([50.0, 90.0, 100.0]),
        start_period_s=rng.choice([0.0, 40.0]), interval_s=rng.choice([1.0, 10.0]), action="report",
    )  # fmt: skip
    eyes, since, is_told = Eyes(policy), None, False
    eyes.born = eyes.now
    memory = 100.0
    for _ in range(300):
        memory = max(1.0, memory + rng.uniform(-15, 15))
        if rng.random() < 0.03:
            eyes.incarnation, eyes.born, since, is_told = eyes.incarnation + 1, eyes.now, None, False
        verdicts = [verdict.action or "over" for verdict in eyes.see(memory)]
        if eyes.now - eyes.born < policy.start_period_s:
            assert verdicts == []
            continue
        is_above = int(memory * M) > policy.memory
        is_cleared = int(memory * M) < policy.memory * policy.clear / 100
        since = eyes.now if since is None and is_above else since
        must_tell = since is not None and is_above and not is_told and eyes.now - since >= policy.grace_s
        expected = ["report"] if must_tell else ["over"] if is_cleared and is_told else []
        assert verdicts == expected, f"{memory} at {eyes.now}"
        is_told = (is_told or must_tell) and not is_cleared
        since = None if is_cleared else since


# What follows in a slot -------------------------------------------------------------------------------------


def test_who_uses_too_much_soon_again_waits_longer_and_longer_and_a_life_that_lasts_forgives() -> None:
    budget, waits = UNTOUCHED, []
    for lived_s in (300.0, *[30.0] * 9, 61.0, 30.0):
        budget, again = judge_excess(budget, "memory", WatcherPolicy("web"), lived_s=lived_s)
        waits.append(again.delay_s)
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 0.0, 1.0]
    assert EXCESS.max_s == 60.0


def test_the_pauses_are_those_of_a_back_off_where_there_is_one_and_never_the_end() -> None:
    policy = WatcherPolicy("web", backoff=BackoffPolicy(first_s=3.0, max_s=7.0, jitter=0.5, attempts=1))
    budget, first = judge_excess(Budget(setbacks=4), "memory", policy, lived_s=1.0)
    _, second = judge_excess(budget, "memory", policy, lived_s=1.0)
    assert first == Again(0.0, "memory")
    assert second == Again(3.0, "memory, the 2nd time in a row", spread_s=1.5)
    assert budget.setbacks == 4, "no failure is counted or forgiven by it"


class Slot:
    """A watcher of one process."""

    def __init__(self, policy: WatcherPolicy) -> None:
        self.fleet = Fleet([policy])
        self.now = 0.0
        self.tell(events.Start(1))
        self.spawned()

    @property
    def slot(self) -> object:
        return self.fleet.watchers["web"].slots[1]

    def tell(self, event: events.Event) -> list[actions.Action]:
        return self.fleet.step(event, self.now)

    def spawned(self) -> None:
        incarnation = self.fleet.watchers["web"].slots[1].incarnation
        self.tell(events.Spawned(WEB, incarnation, incarnation, 100 + incarnation, 0.0))

    def exceed(self) -> list[actions.Action]:
        """All that it causes until it has ended."""
        incarnation = self.fleet.watchers["web"].slots[1].incarnation
        caused = self.tell(events.Exceeded(WEB, incarnation, "memory 2.0G of 1.0G for 30 s"))
        return [*caused, *self.tell(events.Exited(WEB, incarnation, -15))]


def test_a_slot_that_exceeds_is_stopped_in_its_way_and_follows_at_once_then_after_pauses() -> None:
    web = Slot(WatcherPolicy("web", stop_signal=3, backoff=BackoffPolicy(attempts=1)))
    caused = web.exceed()
    assert [each.signum for each in caused if isinstance(each, actions.Signal)] == [3]
    assert any(isinstance(each, actions.Spawn) for each in caused)
    web.spawned()
    (timer,) = [each for each in web.exceed() if isinstance(each, actions.StartTimer) and each.key.purpose == "backoff"]
    assert timer.delay_s == 1.0
    slot = web.fleet.watchers["web"].slots[1]
    assert (slot.state, slot.wants_up) == (SlotState.BACKOFF, True)
    assert slot.reason.startswith("memory 2.0G of 1.0G for 30 s, the 2nd time in a row; next attempt after")


def test_an_order_counts_more_than_an_excess() -> None:
    web = Slot(WatcherPolicy("web"))
    web.tell(events.Exceeded(WEB, 1, "memory"))
    web.tell(events.Stop(2))
    web.tell(events.Exited(WEB, 1, -15))
    assert not web.fleet.watchers["web"].slots


def test_who_does_not_respawn_is_not_replaced() -> None:
    web = Slot(WatcherPolicy("web", respawn=False))
    assert not any(isinstance(each, actions.Spawn) for each in web.exceed())
    assert "memory" in web.fleet.watchers["web"].slots[1].reason


def test_a_manager_that_leaves_ends_nobody_for_an_excess() -> None:
    web = Slot(WatcherPolicy("web", outlives_quit=True))
    web.tell(events.Quit(2))
    assert not any(isinstance(each, actions.Signal) for each in web.tell(events.Exceeded(WEB, 1, "memory")))


def test_excesses_are_counted_over_a_restart_of_the_manager() -> None:
    web = Slot(WatcherPolicy("web"))
    web.exceed()
    web.spawned()
    web.exceed()
    content = to_json(standing_of(web.fleet.watchers["web"]), now=web.now, wall=1000.0)
    (known,) = from_json(content, WatcherPolicy("web"), now=50.0, wall=1000.0).slots
    assert (known.budget.excesses, known.pause_ends) == (2, 51.0)
    content["slots"][0]["pause_ends"], content["slots"][0]["pause"] = 9000.0, 8000.0
    (known,) = from_json(content, WatcherPolicy("web"), now=50.0, wall=1000.0).slots
    assert known.pause_ends == 50.0 + EXCESS.max_s


# What trees use ---------------------------------------------------------------------------------------------


def row(
    pid: int, parent: int, *, session: int = 10, start: int = 1, ticks: int = 0, waited: int = 0, resident: int = 0
) -> Row:
    return Row(pid, "x", "S", parent, session, session, ticks, 0, start, 0, resident, waited)


def tree(*rows: Row) -> Tree:
    (found,) = trees_of([(rows[0].pid, rows[0].start_ticks)], {each.pid: each for each in rows})
    assert found is not None
    return found


def test_a_tree_is_a_process_and_all_below_it() -> None:
    rows = [row(10, 1, resident=1), row(11, 10, resident=2), row(12, 11, session=12, resident=4)]
    assert tree(*rows, row(13, 1, session=13, resident=8)).memory == 7


def test_an_orphan_of_its_session_belongs_to_it_and_all_below_it_each_once() -> None:
    rows = [row(10, 1, resident=1), row(11, 10, resident=2), row(12, 1, resident=4)]
    assert tree(*rows, row(13, 12, session=13, resident=8), row(14, 12, resident=16)).memory == 31


def test_a_pid_that_is_another_process_by_now_has_no_tree() -> None:
    known = {10: row(10, 1, start=2)}
    assert trees_of([(10, 1), (11, 1)], known) == [None, None]


def test_the_time_of_processors_is_that_of_the_same_processes_and_of_those_born_since() -> None:
    before = tree(row(10, 1, ticks=100), row(11, 10, ticks=50))
    assert ticks_between(before, tree(row(10, 1, ticks=103), row(11, 10, ticks=57), row(12, 11, ticks=4))) == 14


def test_who_has_ended_meanwhile_is_counted_by_what_his_parent_was_charged_and_not_twice() -> None:
    before = tree(row(10, 1, ticks=100, waited=30), row(11, 10, ticks=50, waited=5))
    assert ticks_between(before, tree(row(10, 1, ticks=100, waited=30 + 62))) == 7
    assert ticks_between(before, tree(row(10, 1, ticks=101, waited=30))) == 1, "an orphan took its time with it"
    short_lived = tree(row(10, 1, ticks=100, waited=30 + 9), row(11, 10, ticks=50, waited=5))
    assert ticks_between(before, short_lived) == 9, "born and ended between two looks"


def test_a_pid_that_comes_again_is_another_process() -> None:
    before = tree(row(10, 1), row(11, 10, start=5, ticks=500))
    assert ticks_between(before, tree(row(10, 1, waited=500), row(11, 10, start=9, ticks=3))) == 3
