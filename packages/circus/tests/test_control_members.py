from __future__ import annotations

import os
import pwd

import pytest

from circus.control.caller import ADMIN_VERBS, OPERATOR_VERBS, VIEWER_VERBS, Caller
from circus.control.members import Members

OTHER = 61_001  # no user of any system, and not ours


@pytest.mark.parametrize(
    ("uid", "gids", "verbs"),
    [
        (OTHER, (100,), VIEWER_VERBS),
        (OTHER, (5, 200), OPERATOR_VERBS),
        (OTHER, (300, 100), ADMIN_VERBS),
        (OTHER, (5, 6), None),
        (OTHER, (), None),
        (61_007, (), OPERATOR_VERBS),
        (61_007, (100,), OPERATOR_VERBS),
        (0, (), ADMIN_VERBS),
        (os.geteuid(), (), ADMIN_VERBS),
        (None, (100, 200, 300), None),
    ],
)
def test_who_comes_in_is_decided_by_the_highest_role_of_user_and_groups(
    uid: int | None, gids: tuple[int, ...], verbs: frozenset[str] | None
) -> None:
    members = Members({"admin": ["300"], "viewer": ["100"], "operator": ["200", "user:61007"]})
    assert members.caller(uid, gids) == (None if verbs is None else Caller(f"uid {uid}", "unix", verbs))


def test_without_any_only_our_own_user_and_root_come_in() -> None:
    members = Members()
    assert not members.has_any
    assert members.caller(OTHER, (0,)) is None
    assert members.caller(0, ()) == Caller("uid 0", "unix")


def test_names_are_looked_up_and_those_that_the_system_does_not_know_are_told() -> None:
    us = pwd.getpwuid(0)
    members = Members({"viewer": [f"user:{us.pw_name}", "no-such-group"], "admin": ["user:no-such-user"]})
    assert members.unknown == ["no-such-group", "user:no-such-user"]
    assert members.has_any
