from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.control import names
from circus.errors import CircusError

KNOWN = ["web", "Web-Api", "db", "odd[1]"]


@pytest.mark.parametrize(
    ("written", "found"), [("web", "web"), ("WEB", "web"), ("web-api", "Web-Api"), ("odd[1]", "odd[1]")]
)
def test_a_watcher_is_found_in_any_case(written: str, found: str) -> None:
    assert names.find_watcher(KNOWN, written) == found


def test_the_exact_case_wins() -> None:
    assert names.find_watcher(["Web", "web"], "web") == "web"


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("wbe", "did you mean 'web'?"),
        ("WEB-APY", "did you mean 'Web-Api'?"),
        ("zzzz", "there are: Web-Api, db, odd[1], web"),
    ],
)
def test_an_unknown_name_is_told_what_was_perhaps_meant(written: str, hint: str) -> None:
    with pytest.raises(CircusError) as caught:
        names.find_watcher(KNOWN, written)
    assert (caught.value.code, caught.value.message) == ("not-found", f"watcher '{written}' not found")
    assert caught.value.hint == hint


def test_no_watchers_at_all_are_said_so() -> None:
    with pytest.raises(CircusError) as caught:
        names.find_watcher([], "web")
    assert caught.value.hint == "there are no watchers"


def test_a_hint_does_not_list_a_thousand_names() -> None:
    with pytest.raises(CircusError) as caught:
        names.find_watcher([f"service{number}" for number in range(1000)], "q")
    assert caught.value.hint.endswith(", ...")
    assert caught.value.hint.count(",") == names.MAX_NAMES_IN_HINT


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["web*"], ("web", "Web-Api")),
        (["WEB*"], ("web", "Web-Api")),
        (["*"], ("web", "Web-Api", "db", "odd[1]")),
        (["d?"], ("db",)),
        (["db", "w*b"], ("db", "web")),
        (["web", "WEB", "we*"], ("web", "Web-Api")),
        (["ODD[1]"], ("odd[1]",)),
    ],
)
def test_patterns_are_shell_patterns_over_the_whole_name(patterns: list[str], found: tuple[str, ...]) -> None:
    assert names.match_watchers(KNOWN, patterns) == found


def test_a_name_that_looks_like_a_pattern_is_a_name_first() -> None:
    assert names.match_watchers(["a1", "a[1]"], ["a[1]"]) == ("a[1]",)


@pytest.mark.parametrize(
    ("patterns", "is_glob", "message"),
    [
        (["x*"], True, "no watcher matches 'x*'"),
        (["web", "nope"], True, "watcher 'nope' not found"),
        (["web*"], False, "watcher 'web*' not found"),
    ],
)
def test_a_pattern_without_a_watcher_is_refused_as_a_whole(patterns: list[str], is_glob: bool, message: str) -> None:
    with pytest.raises(CircusError) as caught:
        names.match_watchers(KNOWN, patterns, is_glob=is_glob)
    assert (caught.value.code, caught.value.message) == ("not-found", message)


@given(st.lists(st.text(max_size=8), unique=True, max_size=8), st.lists(st.text("ab*?[]!", max_size=6), max_size=4))
def test_what_is_found_is_known_and_found_once(known: list[str], patterns: list[str]) -> None:
    try:
        found = names.match_watchers(known, patterns)
    except CircusError:
        return
    assert len(found) == len(set(found))
    assert set(found) <= set(known)
