from __future__ import annotations

from typing import Any

import pytest

from circus.drill import premises
from circus.drill.premises import Wish

KERNEL: dict[str, Any] = {"tier": "full", "holder": 5, "not_covered": 0}


def why_not(*, kernel: bool = True, pid: int = 100, busy: tuple[str, ...] = (), **facts: Any) -> list[tuple[str, bool]]:
    found = premises.refusals(Wish(kernel=kernel), pid, {**KERNEL, **facts}, busy)
    assert all(each.hint for each in found)
    return [(each.why, each.can_force) for each in found]


def test_what_is_covered_and_at_rest_may_be_killed() -> None:
    assert why_not() == []


def test_what_no_kill_can_survive_is_refused() -> None:
    assert why_not(tier="portable") == [("papa runs in its portable tier, which survives no kill", False)]
    assert why_not(pid=1)[0][1] is False


def test_what_would_be_lost_is_done_only_by_force() -> None:
    lost = why_not(not_covered=9, not_covered_names=["a", "b"])
    assert lost == [("papa does not cover all that it holds: a, b and 7 more would be lost", True)]
    assert why_not(holder=None) == [("papa has no holder that would start it again", True)]
    assert why_not(busy=("web is starting",)) == [("something is under way: web is starting", True)]


def test_of_the_kernel_nothing_matters_while_it_is_left_alone() -> None:
    assert why_not(kernel=False, tier="portable", holder=None, not_covered=3) == []


def test_what_is_under_way_is_said() -> None:
    status = {
        "watchers": [
            {"name": "a", "state": "active"},
            {"name": "b", "state": "stopped"},
            {"name": "c", "state": "stopping"},
            {"name": "d", "state": "active", "reload": "2 of 4 replaced"},
        ]
    }
    operations = [{"id": "x1", "what": "stop", "state": "running"}, {"id": "x2", "what": "stop", "state": "done"}]
    assert premises.busy(status, operations) == ["c is stopping", "d is being reloaded", "operation x1 (stop) runs"]


@pytest.mark.parametrize("keeper", ["", "its warden (pid 9)"])
def test_each_step_is_said_before_it_is_done(keeper: str) -> None:
    told = premises.steps(
        Wish(kernel=True, rounds=3, connections=4, http="/up"), pid=100, kernel_pid=50, keeper=keeper, sockets=2
    )
    assert f"kill -9 100 (circusd), 3 times; {keeper or 'the drill'} starts it again" in told
    assert "kill -9 50 (papa), 3 times; its holder starts it again" in told
    assert any("hold 4 connections" in each and "GET /up" in each for each in told)
    assert not any("papa)" in each for each in premises.steps(Wish(), pid=1, kernel_pid=2, keeper="", sockets=0))


def test_what_one_should_know_is_said() -> None:
    def told(wish: Wish, keeper: str = "", sockets: int = 0, others: int = 0, uncompared: int = 0) -> str:
        return "\n".join(premises.cautions(wish, keeper=keeper, sockets=sockets, others=others, uncompared=uncompared))

    assert "nobody watches over circusd" in told(Wish())
    assert told(Wish(), keeper="systemd") == ""
    assert "one connection at a time" in told(Wish(), keeper="x", sockets=1)
    assert told(Wish(connections=0), keeper="x", sockets=1) == ""
    assert "3 processes of others" in told(Wish(kernel=True), keeper="x", others=3)
    assert told(Wish(), keeper="x", others=3) == ""
    assert "2 streams" in told(Wish(), keeper="x", uncompared=2)
