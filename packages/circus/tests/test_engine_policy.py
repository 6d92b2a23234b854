from __future__ import annotations

import dataclasses

from circus.config.model import BackoffPolicy, FlappingPolicy, HookConfig, WatcherConfig
from circus.engine.policy import policy_of
from circus.supervise.states import WatcherPolicy


def test_the_defaults_of_a_watcher_are_those_of_its_policy() -> None:
    assert policy_of(WatcherConfig(name="web", cmd="x"), 1) == WatcherPolicy(name="web")


def test_a_policy_has_all_that_the_cores_decide_by() -> None:
    flapping, backoff = FlappingPolicy(attempts=3), BackoffPolicy(attempts=4)
    config = WatcherConfig(
        name="web", cmd="x", numprocesses=4, priority=5, autostart=False, respawn=False, warmup_delay_s=0.5,
        graceful_timeout_s=3.0, stop_signal=2, stop_children=True, send_hup=True, max_retry=-1, use_papa=True,
            max_age_s=60.0, max_age_variance_s=9.0, on_demand=True,
        flapping=flapping, backoff=backoff, hooks={"before_start": HookConfig("a.b")},
    )  # fmt: skip
    assert policy_of(config, config.numprocesses) == WatcherPolicy(
        name="web", numprocesses=4, priority=5, autostart=False, respawn=False, warmup_delay_s=0.5,
        graceful_timeout_s=3.0, stop_signal=2, stop_children=True, send_hup=True, max_retry=-1, outlives_quit=True,
            max_age_s=60.0, max_age_spread_s=9.0, on_demand=True,
        flapping=flapping, backoff=backoff, hooks=frozenset(["before_start"]),
    )  # fmt: skip
    assert policy_of(dataclasses.replace(config, singleton=True), 1).singleton
