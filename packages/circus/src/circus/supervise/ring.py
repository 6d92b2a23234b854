"""The phases of a watcher: a ring that it goes round, following its wish. This is the specification.

**The wish** is up or down, how many processes, and sometimes "once down and up again" (restart) or a reload.

**The phases** go round in a ring::

    down -> held -> before_start -> rising -> settling -> after_start -> up
      ^                                                                  |  (reloading, and rising again, meanwhile)
      +------- after_stop <- lowering <- before_stop <- yielding <-------+

- *down*: leaves as soon as it is wanted up, unless it has given up and no order came since.
- *waiting*: between down and before_start, if it starts on demand: until somebody waits at one of its sockets. It
  comes back here when all of its processes have ended for good. Whoever waits for a start has it. A scheduled watcher
  waits here until a run is due, and comes back whatever became of the run; one that was ordered by hand while the
  schedule is stopped is the only one.
- *held*, only a watcher that is bound to others (``dependencies``): until the fleet releases it, because what it
  depends on is ready; and once more, for that moment, between before_start and rising.
- *before_start*: waits for the hook; if it refuses, the watcher gives up, and nothing was ever begun.
- *rising*: brings the number of slots to the wish: extra ones are lowered (those without a process first,
  then the oldest), missing ones are raised one after another at the lowest free wid, each followed by the
  warm-up delay less the time that its spawn took. A spawn that failed and waits for its next attempt does not
  hold up the others, nor does a process that is not ready yet; but the next watcher waits for that.
- *settling*: waits until no first attempt is under way any more. If something lives it goes on. If nothing
  lives and everything gave up, the watcher stops. If nothing lives but attempts go on without end, those who
  wait are told, and the watcher goes on trying.
- *after_start*: waits for the hook (once in a life of the watcher); if it refuses, the watcher gives up.
- *up*: slots answer deaths by themselves. If all slots ended for good, the watcher stops. But a oneshot gets here
  when it has ended well, and stays.
- *reloading*: see the modules ``reload`` and ``rolling``.
- *yielding*, only a bound one: what it has lives on, and nothing new begins, until the fleet releases it, because
  those that depend on it and end, too, have gone.
- *before_stop*: waits for the hook; what is not running is lowered already, and nothing is spawned any more.
- *lowering*: every slot is told to end, spawns that answer late too. *after_stop*: waits for the hook. Once
  begun, the way down is always gone to its end.

From every phase from rising to reloading the watcher begins to fall as soon as it is not wanted up, is to be
restarted, or has given up (a hook refused, nothing is left). A hook that nobody waits for any more may still
answer: it is never asked a second time before that answer came, and the old answer does not count.

**Adopted** processes come before any order: the watcher is *inherited*, its slots answer deaths, nothing else
happens until an order comes; then it goes on with rising, so before_start is skipped and after_start is not.

**Frozen** (the manager leaves): nothing new begins. Warm-ups and pauses end, what dies is not replaced, what
lives is left alone, however old it is, spawns under way are awaited, a fall under way is finished.

Does not belong here: how orders turn the wish (watcher), what a single slot does (slot).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from circus.supervise.actions import (
    Action,
    AwaitDemand,
    CancelTimer,
    EssentialEnded,
    Publish,
    RunOver,
    StartTimer,
)
from circus.supervise.asking import Asking
from circus.supervise.events import TimerKey
from circus.supervise.places import Places, tell
from circus.supervise.reloads import Reloads
from circus.supervise.slot import Slot
from circus.supervise.states import SlotState, WatcherPolicy
from circus.supervise.tickets import Verb, Waiting

OVERRULED = "stopped by a later order"
LEAVING = "circusd is leaving"


class Phase(enum.Enum):
    DOWN = "down"
    WAITING = "waiting"
    HELD = "held"
    INHERITED = "inherited"
    BEFORE_START = "before_start"
    RISING = "rising"
    SETTLING = "settling"
    AFTER_START = "after_start"
    UP = "up"
    RELOADING = "reloading"
    YIELDING = "yielding"
    BEFORE_STOP = "before_stop"
    LOWERING = "lowering"
    AFTER_STOP = "after_stop"


STANDING = frozenset({Phase.INHERITED, Phase.RISING, Phase.SETTLING, Phase.AFTER_START, Phase.UP, Phase.RELOADING})
FALLING = frozenset({Phase.YIELDING, Phase.BEFORE_STOP, Phase.LOWERING, Phase.AFTER_STOP})

NOT_SPENT = frozenset(SlotState) - {SlotState.EXITED, SlotState.FATAL}

UPWARDS = frozenset({Verb.START, Verb.RESTART, Verb.RELOAD})
#: Who waits for processes to end has it whatever the wish is.
ALL_BUT_ENDS = frozenset(Verb) - {Verb.STOP, Verb.KILL}


#: What lives is left alone.
UNTIMED: Mapping[str, Any] = {"max_age_s": 0.0, "start_timeout_s": math.inf, "health": None}


class Ring:
    """``emit`` takes the actions; ``paused`` gets the name of one that waits for its release.

    From an earlier watcher of the same name: ``base``, above which the numbers of lives and timers begin, and the hooks
    that it has left running.
    """

    def __init__(
        self,
        policy: WatcherPolicy,
        emit: Callable[[Action], None],
        *,
        base: int = 0,
        running_hooks: Iterable[str] = (),
        paused: set[str] | None = None,
    ) -> None:
        self.policy = policy
        self.wants_up = False
        self.reason = ""
        self.phase = Phase.DOWN
        self.is_frozen = False
        self.is_bound = False  # to others: somebody releases it when it is held or yields
        self.waits_for: tuple[str, ...] = ()  # others, while it is held
        self.blocked = ""  # why they will not come by themselves
        self.places = Places(policy.name, self._policy_for, emit, base=base)
        self._emit = emit
        self._paused = set() if paused is None else paused
        self._generation = base
        self._asking = Asking(policy.name, emit, running_hooks)
        self._waiting = Waiting()
        self._reloads = Reloads()
        self._must_cycle = False
        self._has_given_up = False
        self._is_over = False  # it came to its end by itself
        self._is_once = False  # this run of a scheduled watcher is the only one
        self._why_not = ""  # a hook refused the run
        self._has_agreed = False  # before_start, on this way up
        self._has_greeted = False  # after_start agreed in this life
        self._rising_wid: int | None = None
        self._risen_at = 0.0
        self._warmup: TimerKey | None = None

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def slots(self) -> Mapping[int, Slot]:
        return self.places.slots

    @property
    def is_done(self) -> bool:
        """A oneshot that has ended well."""
        wanted = self.places.wanted
        return self.policy.oneshot and bool(wanted) and all(slot.state is SlotState.EXITED for slot in wanted)

    @property
    def warmup(self) -> TimerKey | None:
        """The timer of the pause that it is in, between two starts."""
        return self._warmup

    @property
    def is_to_be_up(self) -> bool:
        """Wanted up for good, not only for one run."""
        return self.wants_up and not self._is_once

    # Slots --------------------------------------------------------------------------------------------------

    def _policy_for(self, wid: int) -> WatcherPolicy:
        """One that gives no second chance while nothing new may begin."""
        policy = self._reloads.policy_for(wid, self.slots.get(wid), self.policy)
        if self.is_frozen or self.phase in FALLING:
            # What is left of a tree where nothing falls is the next manager's.
            mode = policy.kill_mode if self.phase in FALLING else "process"
            return replace(policy, respawn=False, max_retry=0, backoff=None, kill_mode=mode, **UNTIMED)
        return policy

    def is_unsettled(self, slot: Slot) -> bool:
        """A first attempt is under way that will come to an end soon; pauses of a back-off may be long."""
        is_soon_over = self.policy.max_retry >= 0 and self.policy.backoff is None
        is_retrying = slot.state is SlotState.BACKOFF and slot.budget.failures > 0 and is_soon_over
        return slot.is_coming_up or is_retrying

    def _troubles(self) -> str:
        """Why slots that are wanted could not be filled; a pause after a death is no such trouble."""
        return tell(
            slot
            for slot in self.places.wanted
            if slot.state is SlotState.FATAL or (slot.state is SlotState.BACKOFF and slot.has_never_come_up)
        )

    def _close(self, verbs: Iterable[Verb], error: str = "") -> bool:
        """Whether anybody waited."""
        count = self.policy.numprocesses
        return self._waiting.close(verbs, self.slots.values(), numprocesses=count, error=error)

    # Phases -------------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        while self._turn(now):
            pass
        self._waiting.close_killed(self.slots.values(), numprocesses=self.policy.numprocesses)

    def _turn(self, now: float) -> bool:
        """One step of the ring; False when it has to wait for a fact or an order."""
        if self.phase in STANDING and self._must_fall:
            return self._begin_fall(now)
        if self.is_frozen and self.phase not in FALLING:
            return self.phase in (Phase.BEFORE_START, Phase.HELD, Phase.WAITING) and self._land()
        match self.phase:
            case Phase.DOWN:
                return self._turn_down()
            case Phase.WAITING:
                return self._turn_waiting()
            case Phase.INHERITED:
                return self._is_once and self._stop_if_spent(self.places.wanted)
            case Phase.HELD:
                return self._turn_held()
            case Phase.BEFORE_START:
                return self._turn_before_start()
            case Phase.RISING:
                return self._turn_rising(now)
            case Phase.SETTLING:
                return self._turn_settling()
            case Phase.AFTER_START:
                return self._turn_after_start()
            case Phase.UP:
                return self._turn_up(now)
            case Phase.RELOADING:
                return self._turn_reloading(now)
            case Phase.YIELDING:
                return not self.is_bound and self._fall(now)
            case Phase.BEFORE_STOP:
                return self._turn_before_stop(now)
            case Phase.LOWERING:
                return self._turn_lowering()
            case Phase.AFTER_STOP:
                return self._asking.answer is not None and self._land()

    @property
    def _must_fall(self) -> bool:
        return not self.wants_up or self._must_cycle or self._has_given_up

    def _turn_down(self) -> bool:
        if not self.wants_up or self._has_given_up:
            return False
        self.places.clear()
        if self.policy.on_demand or self.policy.scheduled:
            self.phase = Phase.WAITING
            self._emit(AwaitDemand(self.name, is_wanted=True))
        else:
            self._begin_start()
        return True

    def _begin_start(self) -> None:
        self._has_agreed = False
        self._hold_on()

    def _hold_on(self) -> None:
        self.phase = Phase.HELD
        if self.is_bound:
            self._paused.add(self.name)

    def _turn_held(self) -> bool:
        if self._must_fall:
            return self._land()
        return not self.is_bound and self._go_up()

    def _go_up(self) -> bool:
        if self._has_agreed:
            self.phase = Phase.RISING
        else:
            self.phase = Phase.BEFORE_START
            self._asking.ask("before_start", self.policy.hooks)
        return True

    def _turn_waiting(self) -> bool:
        self._close(ALL_BUT_ENDS)
        if self._must_fall:
            return self._land()
        if self.policy.on_demand or self.policy.scheduled:
            return False
        self.stop_waiting()
        self._begin_start()
        return True

    def stop_waiting(self) -> None:
        if self.phase is Phase.WAITING:
            self._emit(AwaitDemand(self.name, is_wanted=False))

    def _turn_before_start(self) -> bool:
        if self._must_fall:
            return self._land()
        if self._asking.answer is None:
            return False
        if not self._asking.answer:
            self._give_up("the hook before_start refused")
            return self._land()
        self._has_agreed = True
        self._hold_on()
        return True

    def _turn_rising(self, now: float) -> bool:
        wanted, count = len(self.places.wanted), self.policy.numprocesses
        if wanted > count:
            self.places.lower_extra(now, count)
            return True
        if self._rising_wid is not None:
            slot = self.slots[self._rising_wid]
            is_at_it = slot.state is SlotState.RUNNING and (self.policy.oneshot or not slot.awaits_hook)
            if slot.wants_up and slot.is_coming_up and not is_at_it:
                return False
            self._rising_wid = None
            if slot.is_ready or is_at_it:
                self.warm_up(self.policy.warmup_delay_s - (now - self._risen_at))
            return True
        if self._warmup is not None:
            return False
        if wanted < count:
            self._risen_at = now
            self._rising_wid = self.places.lift(now)
            return True
        self.places.recalled.clear()  # of slots that are not wanted any more
        self.phase = Phase.SETTLING
        if not self.policy.awaits_ready:
            self._waiting.pass_all()
        return True

    def _turn_settling(self) -> bool:
        wanted = self.places.wanted
        if len(wanted) != self.policy.numprocesses:
            self.phase = Phase.RISING
            return True
        if any(self.is_unsettled(slot) for slot in wanted):
            return False
        self._waiting.pass_all()
        if any(slot.is_alive for slot in wanted) or not wanted or self.is_done:
            self.phase = Phase.UP if self._has_greeted else Phase.AFTER_START
            if not self._has_greeted:
                self._asking.ask("after_start", self.policy.hooks)
            return True
        if self._stop_if_spent(wanted):
            return True
        self._drop_reload()
        self._close(ALL_BUT_ENDS, tell(wanted))
        return False

    def _turn_after_start(self) -> bool:
        if self._asking.answer is None:
            return False
        if not self._asking.answer:
            self._give_up("the hook after_start refused")
            return True
        self._has_greeted = True
        self._publish("start")
        self.phase = Phase.UP
        return True

    def _turn_up(self, now: float) -> bool:
        wanted = self.places.wanted
        if len(wanted) != self.policy.numprocesses:
            self.phase = Phase.RISING
            return True
        if self._stop_if_spent(wanted):
            return True
        self._close(UPWARDS, self._troubles())
        if any(slot.state is SlotState.STOPPING for slot in self.slots.values()):
            return False
        self._close({Verb.COUNT}, self._troubles())
        self._reloads.end(self)
        return self._reloads.are_waiting and self._begin_reload(now)

    def _stop_if_spent(self, wanted: list[Slot]) -> bool:
        """Nothing lives and nothing will: the watcher is over."""
        if not wanted or not all(slot.is_spent for slot in wanted) or self.is_done:
            return False
        if self.policy.scheduled:
            self._end_run()
            return True
        fatal = [slot for slot in wanted if slot.state is SlotState.FATAL]
        if fatal:
            self._give_up(tell(fatal), is_told=self.policy.backoff is not None)
        elif self.policy.on_demand:
            self._must_cycle = True
        else:
            self.wants_up, self.reason, self._is_over = False, tell(wanted), True
            self._close({Verb.START, Verb.RESTART})
        return True

    def _end_run(self) -> None:
        if self._is_once:
            self.wants_up = False
            self._close({Verb.START, Verb.RESTART})
        else:
            self._must_cycle = True

    def _give_up(self, reason: str, *, is_told: bool = False) -> None:
        """``is_told``: the slots' own events are enough."""
        if self.policy.scheduled:  # only this run
            self._why_not = reason
            if self.phase in STANDING:
                self._end_run()
            return
        self._has_given_up, self.reason, self._is_over = True, reason, True
        if not is_told:
            self._publish("fatal", reason=reason)

    # Reload -------------------------------------------------------------------------------------------------

    def _begin_reload(self, now: float) -> bool:
        if self._reloads.begin(self, now):
            self.phase = Phase.RELOADING
        else:
            self._publish("reload")
        return True

    def _turn_reloading(self, now: float) -> bool:
        reload = self._reloads.current
        assert reload is not None
        if not reload.is_over:
            return reload.turn(self, now)
        if reload.has_replaced_any:
            self._publish("reload")
        self.phase = Phase.UP
        return True

    def _drop_reload(self) -> None:
        """The reloads do not come to their end; whoever waits for one waits for the watcher instead."""
        self._waiting.add(self._reloads.drop(self))

    # Fall ---------------------------------------------------------------------------------------------------

    def _begin_fall(self, now: float) -> bool:
        self._must_cycle = False
        self.cancel_warmup()
        self._rising_wid = None
        self._drop_reload()
        self.phase = Phase.YIELDING
        if self.is_bound:
            self._paused.add(self.name)
            self.places.lower(now, {SlotState.BACKOFF, SlotState.STOPPING})
        return True

    def _fall(self, now: float) -> bool:
        self.phase = Phase.BEFORE_STOP
        self.places.lower(now, NOT_SPENT - {SlotState.RUNNING})
        self._asking.ask("before_stop", self.policy.hooks)
        return True

    def _turn_before_stop(self, now: float) -> bool:
        if self._asking.answer is None:
            return False
        self.phase = Phase.LOWERING
        self.places.lower(now, NOT_SPENT)
        return True

    def _turn_lowering(self) -> bool:
        if self.places.is_busy:
            return False
        self._publish("stop")
        self.phase = Phase.AFTER_STOP
        self._asking.ask("after_stop", self.policy.hooks)
        return True

    def _land(self) -> bool:
        """The bottom of the ring: stops are done; the others are done too, or wait for the next way up."""
        self.stop_waiting()
        if self.policy.scheduled:
            self._emit(RunOver(self.name, self._why_not or tell(slot for slot in self.slots.values() if slot.is_spent)))
            self._why_not = ""
        if self._is_once and self.phase is Phase.BEFORE_START:
            self.wants_up = False
        self._is_once = self._is_once and self.wants_up
        self.phase = Phase.DOWN
        self.waits_for, self.blocked = (), ""
        self._has_greeted = False
        if not self.reason:
            self.places.clear()
        self._close({Verb.STOP})
        if self._must_fall:
            self._close({Verb.COUNT})
            self._close(UPWARDS, self.reason or OVERRULED)
        if self._is_over:
            self._is_over = False
            if self.policy.essential and not self.is_frozen:
                statuses = [slot.last_status for slot in self.slots.values()]
                self._emit(EssentialEnded(self.name, next(filter(None, statuses), 0 if 0 in statuses else None)))
        return True

    # Timers, events -----------------------------------------------------------------------------------------

    @property
    def is_warming_up(self) -> bool:
        return self._warmup is not None

    def warm_up(self, delay_s: float) -> None:
        if delay_s > 0:
            self._generation += 1
            self._warmup = TimerKey(self.name, 0, "warmup", self._generation)
            self._emit(StartTimer(self._warmup, delay_s))

    def cancel_warmup(self) -> None:
        if self._warmup is not None:
            self._emit(CancelTimer(self._warmup))
            self._warmup = None

    def emit(self, action: Action) -> None:
        self._emit(action)

    def _publish(self, event: str, **fields: object) -> None:
        self._emit(Publish(self.name, event, fields))
