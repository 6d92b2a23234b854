"""The families of options about failures: from the file to policies, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.config.build import Builder
from circus.config.model import BackoffPolicy, LimitsPolicy, WatcherConfig
from circus.config.read import read

PLUGIN = "[plugin:flapping]\nuse = circus.plugins.flapping.Flapping\n"
BACKOFF = """\
backoff.first = 500ms
backoff.factor = 3
backoff.max = 2m
backoff.jitter = 0.2
backoff.stable = 1h
backoff.attempts = -1
"""

LIMITS = """\
limits.memory = 500m
limits.cpu = 150%
limits.interval = 5
limits.grace = 1m
limits.clear = 80
limits.start_period = 2m
limits.action = Reload
"""


def build(folder: Path, options: str, more: str = "") -> tuple[WatcherConfig, list[str]]:
    """The watcher, and what is wrong with it."""
    path = folder / "c.ini"
    path.write_text(f"[watcher:web]\ncmd = run\n{options}{more}")
    draft = Builder(read(str(path), {}), {}).build()
    return draft.config.watchers[0], [str(each).removeprefix(f"{folder}/") for each in draft.findings]


def test_a_backoff_is_as_its_options_say(tmp_path: Path) -> None:
    web, told = build(tmp_path, BACKOFF)
    assert (web.backoff, told) == (BackoffPolicy(0.5, 3.0, 120.0, 0.2, 3600.0, -1), [])
    assert build(tmp_path, "backoff.attempts = 3\n")[0].backoff == BackoffPolicy(attempts=3)
    assert build(tmp_path, "")[0].backoff is None


def test_limits_are_as_their_options_say(tmp_path: Path) -> None:
    web, told = build(tmp_path, LIMITS)
    assert (web.limits, told) == (LimitsPolicy(500 << 20, 150.0, 5.0, 60.0, 80.0, 120.0, "reload"), [])
    assert build(tmp_path, "limits.cpu = 90\n")[0].limits == LimitsPolicy(cpu=90.0)
    assert build(tmp_path, "")[0].limits is None
    web, told = build(tmp_path, "cgroup = true\nlimits.cgroup_cpu_max = 50%\n")
    assert (web.limits, told) == (LimitsPolicy(cgroup_cpu_max=50.0), [])


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        (
            "limits.memory = much\n",
            "limits.memory = 'much' is not a size (write a number of bytes, or one with k, m or g, as in 10m)",
        ),
        ("limits.grace = 5s\n", "limits.grace has no effect: nothing is limited (write limits.memory or limits.cpu)"),
        (
            "limits.clear = 120\nlimits.cpu = 10\n",
            "limits.clear = 120 is not a part of the bound (write more than 0, and at most 100, percent)",
        ),
        (
            "limits.action = stop\nlimits.cpu = 10\n",
            "limits.action = 'stop' is no such action (write restart, reload or report)",
        ),
        (
            "limits.cgroup_pids_max = 9\n",
            "limits.cgroup_pids_max is a bound of a control group, and there is none "
            "(write cgroup = true, or remove it)",
        ),
        ("limits.memry = 1g\n", "unknown option limits.memry (did you mean limits.memory?)"),
        ("backoff.first = 0\n", "backoff.first = '0' is too short (write at least 0.1 seconds)"),
        ("backoff.factor = 0.5\n", "backoff.factor = '0.5' is not a factor (write a number from 1 to 1000)"),
        ("backoff.jitter = 2\n", "backoff.jitter = '2' is not a share (write a number from 0 to 1)"),
        ("backoff.attempts = 0\n", "backoff.attempts = '0' is none (write 1 or more, or -1 for no end)"),
        ("backoff.attemps = 1\n", "unknown option backoff.attemps (did you mean backoff.attempts?)"),
        ("backoff.zzz = 1\n", "unknown option backoff.zzz (it has no effect; remove it)"),
        (
            "backoff.first = 2m\n",
            "backoff.first (120 s) is more than backoff.max (60 s) "
            "(write a shorter first pause, or a longer backoff.max)",
        ),
        (
            "flapping.window = 3\nbackoff.max = 1m\n",
            "flapping.window and backoff are two answers to the same (remove the options of one of the two)",
        ),
        (
            "max_retry = 3\nbackoff.max = 1m\n",
            "max_retry has no effect beside backoff, which counts attempts itself (remove it; see backoff.attempts)",
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(tmp_path: Path, options: str, finding: str) -> None:
    assert build(tmp_path, options)[1] == [f"c.ini:3: web: {finding}"]


def test_a_backoff_of_ones_own_stands_in_for_the_flapping_of_the_plugin(tmp_path: Path) -> None:
    web, told = build(tmp_path, "backoff.max = 1m\nflapping.active = false\n", PLUGIN)
    assert (web.flapping, told) == (None, [])
    web, told = build(tmp_path, "backoff.max = 1m\n", PLUGIN)
    assert (web.flapping, web.backoff, told) == (None, BackoffPolicy(), [])
