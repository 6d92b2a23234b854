"""What the cores need to know of a watcher's configuration, with the count that people wished."""

from __future__ import annotations

from circus.config.dependencies import SOCKET
from circus.config.model import WatcherConfig
from circus.supervise.graph import Needs
from circus.supervise.states import Rollout, WatcherPolicy, as_job


def policy_of(config: WatcherConfig, count: int) -> WatcherPolicy:
    rollout = Rollout(config.max_surge, config.max_unavailable or 0, config.soak_s, config.update == "roll")
    policy = WatcherPolicy(
        name=config.name,
        numprocesses=min(count, 1) if config.singleton else count,
        priority=config.priority,
        autostart=config.autostart,
        respawn=config.respawn,
        essential=config.essential,
        on_demand=config.on_demand,
        singleton=config.singleton,
        warmup_delay_s=config.warmup_delay_s,
        graceful_timeout_s=config.graceful_timeout_s,
        stop_signal=config.stop_signal,
        stop_children=config.stop_children,
        kill_mode=config.kill_mode,
        send_hup=config.send_hup,
        max_age_s=config.max_age_s,
        max_age_spread_s=config.max_age_variance_s,
        max_retry=config.max_retry,
        outlives_quit=config.use_papa,
        flapping=config.flapping,
        backoff=config.backoff,
        awaits_ready=config.ready is not None,
        start_timeout_s=config.start_timeout_s,
        health=config.health,
        hooks=frozenset(config.hooks),
        needs=needs_of(config),
        rollout=None if rollout == Rollout() else rollout,
    )
    return as_job(policy, is_scheduled=config.schedule is not None) if config.type == "oneshot" else policy


def needs_of(config: WatcherConfig) -> Needs:
    """Of watchers; sockets are open before anything starts."""
    named = (config.after, config.requires, config.wants)
    return Needs(*(tuple(name for name in names if not name.startswith(SOCKET)) for names in named))
