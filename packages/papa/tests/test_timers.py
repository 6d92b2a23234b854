from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from papa.core.timers import Timers


def fire_due(timers: Timers, now: float) -> None:
    for timer in timers.due(now):
        timer.fire()


def test_timers_fire_in_the_order_of_their_deadlines_and_of_arming():
    timers, fired = Timers(), []
    for deadline, name in ((3.0, "c"), (1.0, "a"), (1.0, "b")):
        timers.arm(deadline, lambda name=name: fired.append(name))
    fire_due(timers, 2.0)
    assert fired == ["a", "b"]
    assert timers.next_deadline() == 3.0
    fire_due(timers, 3.0)
    assert fired == ["a", "b", "c"]
    assert timers.next_deadline() is None
    assert len(timers) == 0


def test_many_timers_of_one_deadline_fire_in_the_order_of_arming():
    timers, fired = Timers(), []
    for number in range(50):
        timers.arm(1.0, lambda number=number: fired.append(number))
    fire_due(timers, 1.0)
    assert fired == list(range(50))


def test_a_cancelled_timer_never_fires_and_is_no_reason_to_wake_up():
    timers, fired = Timers(), []
    timer = timers.arm(1.0, lambda: fired.append(1))
    timer.cancel()
    timer.cancel()
    assert len(timers) == 0
    assert timers.next_deadline() is None
    fire_due(timers, 2.0)
    assert fired == []


def test_an_action_can_cancel_a_timer_of_the_same_batch():
    timers, fired = Timers(), []
    timers.arm(1.0, lambda: second.cancel())
    second = timers.arm(1.0, lambda: fired.append("second"))
    fire_due(timers, 1.0)
    assert fired == []
    assert len(timers) == 0


def test_what_an_action_arms_waits_for_the_next_turn_even_if_it_is_due():
    timers, fired = Timers(), []

    def again() -> None:
        fired.append(1)
        timers.arm(0.0, again)

    timers.arm(0.0, again)
    fire_due(timers, 1.0)
    assert fired == [1]
    assert timers.next_deadline() == 0.0


def test_a_timer_fires_once():
    timers, fired = Timers(), []
    timers.arm(1.0, lambda: fired.append(1))
    (timer,) = timers.due(1.0)
    timer.fire()
    timer.fire()
    timer.cancel()
    assert fired == [1]
    assert len(timers) == 0


def test_cancelled_timers_do_not_pile_up_in_the_heap():
    timers = Timers()
    keep = [timers.arm(1e9, lambda: None) for _ in range(10)]
    for n in range(10_000):
        timers.arm(float(n + 1), lambda: None).cancel()
    assert len(timers) == len(keep)
    assert len(timers._heap) <= 65
    assert timers.next_deadline() == 1e9


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["arm", "cancel", "due"]), st.integers(0, 20))))
def test_what_fires_is_exactly_what_was_armed_due_and_not_cancelled(steps):
    timers = Timers()
    fired: list[int] = []
    armed: dict[int, tuple[float, object]] = {}
    for number, (what, n) in enumerate(steps):
        if what == "arm":
            armed[number] = (float(n), timers.arm(float(n), lambda number=number: fired.append(number)))
        elif what == "cancel" and armed:
            key = sorted(armed)[n % len(armed)]
            armed.pop(key)[1].cancel()
        elif what == "due":
            expected = sorted((d, k) for k, (d, _) in armed.items() if d <= n)
            fired.clear()
            fire_due(timers, float(n))
            assert fired == [k for _, k in expected]
            for key in fired:
                del armed[key]
        assert len(timers) == len(armed)
        assert timers.next_deadline() == min((d for d, _ in armed.values()), default=None)
