"""How files write the bounds of a reload, and what is wrong about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.config import load
from circus.config.model import ConfigInvalid
from circus.config.rollouts import parse_bound, parse_update
from circus.engine.policy import policy_of
from circus.supervise.states import Rollout

HEAD = "[watcher:web]\ncmd = /bin/sleep 60\n"


@pytest.mark.parametrize(
    ("text", "bound"), [("3", 3), (" 0 ", 0), ("25%", "25%"), ("25 %", "25%"), ("0%", 0), ("", None)]
)
def test_a_bound_is_a_number_or_a_share(text: str, bound: object) -> None:
    assert parse_bound(text) == bound


@pytest.mark.parametrize("text", ["-1", "1.5", "all", "1001%", "10001", "%", "٣"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a number of processes nor a share"):
        parse_bound(text)


def test_a_way_that_nobody_knows_is_refused() -> None:
    assert parse_update(" Roll ") == "roll"
    with pytest.raises(ValueError, match="write restart or roll"):
        parse_update("rolling")


def findings(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "circus.ini"
    file.write_text(HEAD + text)
    try:
        found = load.load(str(file), {}).warnings
    except ConfigInvalid as error:
        found = error.findings
    return [f"{each.severity} {each.line} {each.what}" for each in found]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max_surge = 0\n", "error 3 web: no process may come and none may go in a reload"),
        ("max_surge = 0%\nmax_unavailable = 0\n", "error 3 web: no process may come and none may go in a reload"),
        ("max_surge = 0\nmax_unavailable = 1\n", ""),
        ("soak = 60\nmax_age = 60\n", "error 3 web: no process gets as old as soak (60 s): max_age is 60 s"),
        ("soak = 60\nmax_age = 61\n", ""),
        ("send_hup = yes\nsoak = 1\n", "warning 4 web: soak has no effect, as the processes are reloaded by SIGHUP"),
        ("send_hup = yes\nsoak = 1\nupdate = roll\n", ""),
        (
            "update = roll\n",
            "warning 3 web: update = roll takes a process for good as soon as it was started, also one that ends right "
            "after",
        ),
        ("update = roll\nhooks.after_spawn = os.path.exists\n", ""),
    ],
)
def test_bounds_that_exclude_each_other_are_told(tmp_path: Path, text: str, told: str) -> None:
    assert findings(tmp_path, text) == [told] * bool(told)


def test_without_options_a_reload_is_as_it_always_was(tmp_path: Path) -> None:
    file = tmp_path / "circus.ini"
    for text, rollout in (("", None), ("max_surge = 50%\nupdate = roll\n", Rollout("50%", 0, 0.0, True))):
        file.write_text(HEAD + text)
        (watcher,) = load.load(str(file), {}).watchers
        assert policy_of(watcher, 1).rollout == rollout
