from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from circus.supervise.adopt import AdoptionPlan, Survivor, plan_adoption

OURS = "/etc/circus.ini"


def survivor(kernel_id: int, watcher: str = "web", wid: int = 1, **changes: Any) -> Survivor:
    facts: dict[str, Any] = {
        "kernel_id": kernel_id,
        "name": f"circus.{watcher.lower()}.{wid}",
        "watcher": watcher,
        "wid": wid,
        "pid": 1000 + kernel_id,
        "running": True,
        "digest": "same",
        "config_path": OURS,
        "started_at": float(kernel_id),
        "use_papa": True,
    }
    return Survivor(**{**facts, **changes})


def plan(survivors: list[Survivor], **configs: tuple[str, int]) -> AdoptionPlan:
    return plan_adoption(configs, survivors, config_path=OURS)


def ids(survivors: tuple[Survivor, ...]) -> list[int]:
    return [each.kernel_id for each in survivors]


def test_what_the_file_says_is_kept() -> None:
    found = plan([survivor(1), survivor(2, wid=2)], web=("same", 2))
    assert found == AdoptionPlan(keep=(survivor(1), survivor(2, wid=2)))


def test_other_options_than_the_file_has_now_are_drift() -> None:
    assert ids(plan([survivor(1, digest="old")], web=("same", 1)).drifted) == [1]


def test_the_newest_stay_when_there_are_too_many_whatever_their_wid() -> None:
    found = plan([survivor(1, wid=2), survivor(2, wid=1), survivor(3, wid=7)], web=("same", 2))
    assert (ids(found.keep), ids(found.surplus)) == ([2, 3], [1])


def test_names_with_dots_are_told_apart() -> None:
    found = plan_adoption(
        {"web": ("same", 1), "web.1": ("same", 2)},
        [survivor(1), survivor(2, "web.1"), survivor(3, "web.1", wid=2)],
        config_path=OURS,
    )
    assert found == AdoptionPlan(keep=(survivor(1), survivor(2, "web.1"), survivor(3, "web.1", wid=2)))


def test_a_watcher_that_the_file_has_no_more_has_vanished() -> None:
    found = plan([survivor(1, "old")], web=("same", 1))
    assert found == AdoptionPlan(vanished=(survivor(1, "old"),))


def test_processes_of_another_file_are_foreign_even_if_they_ended_or_share_a_name() -> None:
    found = plan(
        [survivor(1, config_path="/other.ini"), survivor(2, config_path="/other.ini", running=False)], web=("same", 1)
    )
    assert found == AdoptionPlan(foreign=found.foreign)
    assert ids(found.foreign) == [1, 2]


def test_what_ended_meanwhile_takes_no_place() -> None:
    found = plan([survivor(2, running=False), survivor(1)], web=("same", 1))
    assert (ids(found.keep), ids(found.ended)) == ([1], [2])


def test_a_watcher_is_spelled_as_the_file_spells_it_now() -> None:
    found = plan([survivor(1, "WEB")], Web=("same", 1))
    assert [each.watcher for each in found.keep] == ["Web"]


def test_two_in_one_place_get_different_wids_and_the_newer_keeps_its_own() -> None:
    found = plan([survivor(each, wid=1) for each in (1, 2, 3)] + [survivor(4, wid=2)], web=("same", 1))
    adopted = [(each.kernel_id, each.wid) for each in (*found.keep, *found.surplus)]
    assert adopted == [(4, 2), (3, 1), (2, 3), (1, 4)]


def test_a_count_of_0_leaves_only_surplus() -> None:
    assert ids(plan([survivor(1)], web=("same", 0)).surplus) == [1]


def test_a_plan_can_be_printed() -> None:
    assert str(plan([])) == "nothing to adopt"
    assert str(plan([survivor(1)], web=("same", 1))) == "keep web.1 pid=1001"


@given(
    st.lists(
        st.builds(
            survivor,
            st.integers(1, 10**6),
            st.sampled_from(["web", "WEB", "db", "gone"]),
            st.integers(1, 4),
            running=st.booleans(),
            digest=st.sampled_from(["same", "old"]),
            config_path=st.sampled_from([OURS, "/other.ini"]),
        ),
        unique_by=lambda each: each.kernel_id,
    ),
    st.integers(0, 4),
)
def test_every_survivor_is_in_exactly_one_list_and_no_place_is_taken_twice(
    survivors: list[Survivor], count: int
) -> None:
    found = plan(survivors, web=("same", count), db=("same", 1))
    lists = (found.keep, found.drifted, found.surplus, found.vanished, found.foreign, found.ended)
    assert sorted(each.kernel_id for each_list in lists for each in each_list) == sorted(ids(tuple(survivors)))
    adopted = [(each.watcher, each.wid) for each in (*found.keep, *found.drifted, *found.surplus)]
    assert len(adopted) == len(set(adopted))
    assert len([each for each in (*found.keep, *found.drifted) if each.watcher == "web"]) <= count
