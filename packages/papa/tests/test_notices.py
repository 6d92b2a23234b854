from __future__ import annotations

from papa.core.notices import Notices


def test_a_new_owner_is_told_of_what_is_there_once():
    notices = Notices()
    assert not notices.is_due({"out": 0, "err": 0})
    assert notices.is_due({"out": 5, "err": 0})
    assert notices.take({"out": 5, "err": 0}) == [5, 0]
    assert not notices.is_due({"out": 9, "err": 3})


def test_after_seen_the_owner_is_told_only_of_more():
    notices = Notices()
    notices.take({"out": 5})
    notices.rearm({"out": 5, "err": None})
    assert not notices.is_due({"out": 5})
    assert notices.is_due({"out": 6})
    assert notices.take({"out": 6}) == [6, None]


def test_what_came_between_notice_and_seen_makes_a_new_notice_due_at_once():
    notices = Notices()
    notices.take({"out": 5, "err": 1})
    notices.rearm({"out": 5, "err": 1})
    assert notices.is_due({"out": 5, "err": 2})


def test_seen_never_goes_back():
    notices = Notices()
    notices.rearm({"out": 9})
    notices.rearm({"out": 5, "err": None})
    assert not notices.is_due({"out": 9})


def test_another_owner_begins_anew():
    notices = Notices()
    notices.rearm({"out": 9})
    notices.take({"out": 9})
    notices.restart()
    assert notices.is_due({"out": 9})
