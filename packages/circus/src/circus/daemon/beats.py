"""circusd's pulse: one timer of its loop, by which it says that it lives and looks at what it uses itself.

It beats in the loop, and nowhere else: who hears it knows that the loop goes round. The warden hears it, and a service
manager that wants to (WatchdogSec). At each beat circusd's own memory and time of processors are compared with the
`limits.*` of [circus]; who is above for too long is to begin anew.

With nobody to hear it and no limits there is no timer, and nothing wakes up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from circus import clock, procfs
from circus.config.model import CircusConfig, LimitsPolicy
from circus.daemon.notify import Manager
from circus.daemon.ward import Ward
from circus.supervise.limits import Limits, Use
from circus.supervise.states import SlotKey

#: Silences are seconds, and two beats go into each: one may be late.
BEATS = 2

#: How often limits are looked at; oftener where their grace is short.
LOOK_S = 15.0
LOOKS = 4

#: How long a life is not judged, in graces: none shall be replaced again and again by a limit that is too low.
START_PERIODS = (1, 10, 60)

_SELF = SlotKey("circusd", 0)


class Beats:
    """From ``start`` to ``close``. ``begin_anew`` is called with what is exceeded."""

    def __init__(self, config: CircusConfig, ward: Ward, manager: Manager, begin_anew: Callable[[str], None]) -> None:
        self._ward = ward
        self._manager = manager
        self._begin_anew = begin_anew
        self._watchdog_s = config.watchdog_s
        self._policy = policy_of(config, int(ward.kept.get("renewals", 0)))
        self._limits = Limits()
        self._ticks: tuple[int, float] | None = None
        self._born = clock.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        wanted = [
            self._watchdog_s / BEATS if ward.has_warden else 0.0,
            manager.watchdog_s / BEATS,
            self._policy.interval_s if self._policy.is_looked_at else 0.0,
        ]
        self.interval_s = min((each for each in wanted if each), default=0.0)

    def start(self) -> None:
        if not self._watchdog_s:
            self._ward.beat(float("inf"))
        if self.interval_s:
            self._beat()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.interval_s, self._beat)
        if self._watchdog_s:
            self._ward.beat(self._watchdog_s)
        self._manager.beat()
        if self._policy.is_looked_at:
            self._look()

    def _look(self) -> None:
        row = procfs.row(os.getpid())
        if row is None:
            return  # no /proc
        now = clock.monotonic()
        cpu = None
        if self._ticks is not None and now > self._ticks[1]:
            cpu = 100 * (row.cpu_ticks - self._ticks[0]) / procfs.TICKS_S / (now - self._ticks[1])
        self._ticks = row.cpu_ticks, now
        use = Use(1, now - self._born, row.resident_bytes, cpu)
        for verdict in self._limits.look(_SELF, use, self._policy, now):
            if verdict.action:
                self._begin_anew(str(verdict.excess))


def policy_of(config: CircusConfig, renewals: int) -> LimitsPolicy:
    """What circusd may use; ``renewals``: how often it has begun anew for that."""
    grace_s = config.limits_grace_s
    return LimitsPolicy(
        memory=config.limits_memory,
        cpu=config.limits_cpu,
        interval_s=min(LOOK_S, grace_s / LOOKS) or LOOK_S,
        grace_s=grace_s,
        start_period_s=grace_s * START_PERIODS[min(renewals, len(START_PERIODS) - 1)],
    )
