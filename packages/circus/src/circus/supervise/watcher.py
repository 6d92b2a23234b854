"""One watcher: its wish, the phase of its life, its slots, and the orders that wait for it.

Orders never wait for each other; they turn the wish, and the phase follows. This is the specification.

**The wish** is up or down, how many processes, and sometimes "once down and up again" (restart) or a reload.
A later order overrules an earlier one: whoever waited for what now will not come is told so. Orders for the
same are joined.

**The phases** go round in a ring::

    down -> before_start -> rising -> settling -> after_start -> up
      ^                                                          |  (reloading, and rising again, while it is up)
      +------- after_stop <- lowering <- before_stop <-----------+

- *down*: leaves as soon as it is wanted up, unless it has given up and no order came since.
- *before_start*: waits for the hook; if it refuses, the watcher gives up, and nothing was ever begun.
- *rising*: brings the number of slots to the wish: extra ones are lowered (those without a process first,
  then the oldest), missing ones are raised one after another at the lowest free wid, each followed by the
  warm-up delay less the time that its spawn took. A spawn that failed and waits for its next attempt does not
  hold up the others.
- *settling*: waits until no first attempt is under way any more. If something lives it goes on. If nothing
  lives and everything gave up, the watcher stops. If nothing lives but attempts go on without end, those who
  wait are told, and the watcher goes on trying.
- *after_start*: waits for the hook (once in a life of the watcher); if it refuses, the watcher gives up.
- *up*: slots answer deaths by themselves. If all slots ended for good, the watcher stops.
- *reloading*: see the module ``reload``.
- *before_stop*: waits for the hook; what is not running is lowered already, and nothing is spawned any more.
- *lowering*: every slot is told to end, spawns that answer late too. *after_stop*: waits for the hook. Once
  begun, the way down is always gone to its end.

From every phase from rising to reloading the watcher begins to fall as soon as it is not wanted up, is to be
restarted, or has given up (a hook refused, nothing is left). A hook that nobody waits for any more may still
answer: it is never asked a second time before that answer came, and the old answer does not count.

**Adopted** processes come before any order: the watcher is *inherited*, its slots answer deaths, nothing else
happens until an order comes; then it goes on with rising, so before_start is skipped and after_start is not.

**Frozen** (the manager leaves): nothing new begins. Warm-ups and pauses end, what dies is not replaced, what
lives is left alone, spawns under way are awaited, a fall under way is finished.

Does not belong here: the order among watchers, operations over several of them.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from circus.supervise import reload
from circus.supervise import slot as slots_
from circus.supervise.actions import Action, CancelTimer, Publish, RunHook, Signal, StartTimer
from circus.supervise.events import Adopted, Exited, Fact, HookAnswered, Spawned, SpawnFailed, TimerFired, TimerKey
from circus.supervise.slot import Down, Slot, SlotEvent, Up
from circus.supervise.states import SlotKey, SlotState, SlotView, WatcherPolicy, WatcherState, WatcherView
from circus.supervise.tickets import Ticket, Verb, lives_of

SIGHUP = 1

OVERRULED = "stopped by a later order"
LEAVING = "circusd is leaving"


class Phase(enum.Enum):
    DOWN = "down"
    INHERITED = "inherited"
    BEFORE_START = "before_start"
    RISING = "rising"
    SETTLING = "settling"
    AFTER_START = "after_start"
    UP = "up"
    RELOADING = "reloading"
    BEFORE_STOP = "before_stop"
    LOWERING = "lowering"
    AFTER_STOP = "after_stop"


STANDING = frozenset({Phase.INHERITED, Phase.RISING, Phase.SETTLING, Phase.AFTER_START, Phase.UP, Phase.RELOADING})
FALLING = frozenset({Phase.BEFORE_STOP, Phase.LOWERING, Phase.AFTER_STOP})


class Watcher:
    """``emit`` takes the actions. ``base``: numbers of lives and timers begin above it."""

    def __init__(self, policy: WatcherPolicy, emit: Callable[[Action], None], *, base: int = 0) -> None:
        self.policy = policy
        self.slots: dict[int, Slot] = {}
        self.wants_up = False
        self.reason = ""
        self.phase = Phase.DOWN
        self.is_frozen = False
        self._emit = emit
        self._base = base
        self._generation = base
        self._tickets: list[Ticket] = []
        self._reloads: deque[tuple[bool, Ticket]] = deque()  # (is_sequential, who waits)
        self._reload: reload.Reload | None = None
        self._must_cycle = False
        self._has_given_up = False
        self._has_greeted = False  # after_start agreed in this life
        self._rising_wid: int | None = None
        self._risen_at = 0.0
        self._warmup: TimerKey | None = None
        self._asked: set[str] = set()  # hooks that will answer
        self._answer: bool | None = None
        self._awaited_hook = ""
        self._must_ask_again = False

    # What is shown ------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def state(self) -> WatcherState:
        match self.phase:
            case Phase.DOWN:
                return WatcherState.STOPPED
            case Phase.BEFORE_STOP | Phase.LOWERING | Phase.AFTER_STOP:
                return WatcherState.STOPPING
            case Phase.BEFORE_START | Phase.AFTER_START:
                return WatcherState.STARTING
            case Phase.RISING | Phase.SETTLING if not self._has_greeted:
                return WatcherState.STARTING
            case _:
                is_up = not self.policy.numprocesses or any(slot.is_alive for slot in self.slots.values())
                return WatcherState.ACTIVE if is_up else WatcherState.STARTING

    @property
    def is_busy(self) -> bool:
        """Something is about to come or to go; a manager that leaves waits for it."""
        return self.phase in FALLING or any(slot.is_busy for slot in self.slots.values())

    @property
    def is_overdue(self) -> bool:
        """All that still has to end was killed more than once: nobody else should wait for it."""
        busy = [slot for slot in self.slots.values() if slot.is_busy]
        return self.phase is Phase.LOWERING and all(slot.kills > 1 for slot in busy)

    @property
    def high_water(self) -> int:
        """No number of a life or timer was ever above it."""
        numbers = [max(slot.incarnation, slot.generation) for slot in self.slots.values()]
        return max(self._base, self._generation, *numbers, 0)

    def view(self) -> WatcherView:
        return WatcherView(
            name=self.name,
            state=self.state,
            numprocesses=self.policy.numprocesses,
            priority=self.policy.priority,
            wants_up=self.wants_up,
            reason=self.reason,
            slots=tuple(
                SlotView(
                    wid=wid,
                    state=slot.state,
                    pid=slot.pid,
                    kernel_id=slot.kernel_id,
                    started_at=slot.started_at,
                    incarnation=slot.incarnation,
                    reason=slot.reason,
                    last_status=slot.last_status,
                )
                for wid, slot in sorted(self.slots.items())
            ),
        )

    # Orders -------------------------------------------------------------------------------------------------

    def start(self, now: float) -> Ticket:
        ticket = self._open(Verb.START)
        self._wish_up()
        if self.phase in STANDING and self.phase is not Phase.RELOADING:
            if self.phase is not Phase.INHERITED:
                for slot in [*self._places()]:
                    if slot.is_spent or slot.state is SlotState.BACKOFF:
                        self._give(slot.key.wid, now, Up())
            self._rise()
        self._advance(now)
        return ticket

    def stop(self, now: float) -> Ticket:
        ticket = self._open(Verb.STOP)
        self.wants_up = self._must_cycle = self._has_given_up = False
        self.reason = ""
        if self.phase is Phase.DOWN:
            self._land()
        self._advance(now)
        return ticket

    def restart(self, now: float) -> Ticket:
        ticket = self._open(Verb.RESTART)
        self._wish_up()
        self._must_cycle = self.phase in STANDING
        self._advance(now)
        return ticket

    def reload(self, now: float, *, is_sequential: bool) -> Ticket:
        ticket = self._open(Verb.RELOAD)
        self._wish_up()
        if self.phase in STANDING:
            self._tickets.remove(ticket)
            self._reloads.append((is_sequential, ticket))
            if self.phase is Phase.INHERITED:
                self._rise()
        self._advance(now)
        return ticket

    def set_count(self, now: float, *, count: int | None, delta: int) -> Ticket:
        wanted = max(0, (self.policy.numprocesses if count is None else count) + delta)
        if self.policy.singleton:
            wanted = min(wanted, 1)
        return self._apply(now, replace(self.policy, numprocesses=wanted), "updated")

    def change(self, now: float, policy: WatcherPolicy, *, must_restart: bool) -> Ticket:
        if not must_restart or not self.wants_up:
            return self._apply(now, policy, "updated")
        self.policy = policy
        self._publish("updated")
        return self.restart(now)

    def _apply(self, now: float, policy: WatcherPolicy, event: str) -> Ticket:
        ticket = self._open(Verb.COUNT)
        self.policy = policy
        self._publish(event, numprocesses=policy.numprocesses)
        if self.phase in (Phase.UP, Phase.SETTLING):
            self._rise()
        elif self.phase in FALLING or self.phase in (Phase.DOWN, Phase.INHERITED):
            self._close([ticket])
        self._advance(now)
        return ticket

    def freeze(self, now: float) -> None:
        """The manager leaves: begin nothing, and tell those who wait for something new."""
        self.is_frozen = True
        self._cancel_warmup()
        if self.phase not in FALLING:
            self._abandon_hook()
        for slot in [*self.slots.values()]:
            if slot.state is SlotState.BACKOFF:
                self._give(slot.key.wid, now, Down())
        self._drop_reload()
        self._close([ticket for ticket in self._tickets if ticket.verb is not Verb.STOP], LEAVING)
        self._advance(now)

    def abandon(self) -> None:
        """Forget everything at once; what lives is nobody's any more."""
        self._cancel_warmup()
        self._drop_reload()
        for slot in self.slots.values():
            for purpose, state in (("kill", SlotState.STOPPING), ("backoff", SlotState.BACKOFF)):
                if slot.state is state:
                    key = TimerKey(self.name, slot.key.wid, purpose, slot.generation)
                    self._emit(CancelTimer(key))
        self._close(self._tickets, "removed by a later order")

    def _wish_up(self) -> None:
        self.wants_up, self._has_given_up, self.reason = True, False, ""

    def _open(self, verb: Verb) -> Ticket:
        ticket = Ticket(verb, lives_of(self.slots.values()))
        self._tickets.append(ticket)
        return ticket

    def _close(self, tickets: list[Ticket], error: str = "") -> None:
        for ticket in tickets:
            ticket.close(self.slots.values(), numprocesses=self.policy.numprocesses, error=error)
        self._tickets = [ticket for ticket in self._tickets if not ticket.is_done]

    # Facts --------------------------------------------------------------------------------------------------

    def take(self, fact: Fact, now: float) -> None:
        match fact:
            case Adopted():
                self._adopt(fact, now)
            case TimerFired(key) if key.wid == 0:
                if key == self._warmup:
                    self._warmup = None
            case TimerFired(key):
                self._give(key.wid, now, fact)
            case HookAnswered(slot=None):
                self._hear_hook(fact)
            case HookAnswered():
                self._hear_slot_hook(fact, now)
            case Spawned() | SpawnFailed() | Exited():
                self._give(fact.slot.wid, now, fact)
        self._advance(now)

    def _adopt(self, fact: Adopted, now: float) -> None:
        if fact.slot.wid not in self.slots:
            self._place(fact.slot.wid)
        self._give(fact.slot.wid, now, fact)
        if self.phase is Phase.DOWN:
            self.phase, self.wants_up = Phase.INHERITED, True

    def _hear_hook(self, fact: HookAnswered) -> None:
        if fact.hook not in self._asked:
            return
        self._asked.discard(fact.hook)
        if fact.hook != self._awaited_hook:
            return
        if self._must_ask_again:
            self._ask(fact.hook)
        else:
            self._awaited_hook, self._answer = "", fact.ok

    def _hear_slot_hook(self, fact: HookAnswered, now: float) -> None:
        assert fact.slot is not None
        before = self.slots.get(fact.slot.wid)
        after = self._give(fact.slot.wid, now, fact)
        was_refused = not fact.ok and before is not None and before.wants_up and after is not before
        if was_refused and not self._is_trial(fact.slot.wid) and self.phase in STANDING and not self.is_frozen:
            self._give_up(f"the hook {fact.hook} refused")

    def _is_trial(self, wid: int) -> bool:
        return self._reload is not None and wid in self._reload.trial_wids

    # Slots --------------------------------------------------------------------------------------------------

    def _place(self, wid: int) -> None:
        self.slots[wid] = Slot(SlotKey(self.name, wid), incarnation=self._base, generation=self._base)

    def _places(self) -> list[Slot]:
        """The slots that are wanted, alive or not."""
        return [slot for slot in self.slots.values() if slot.wants_up]

    def _give(self, wid: int, now: float, *news: SlotEvent) -> Slot | None:
        """Let the slot answer ``news``; one that has become empty is forgotten."""
        slot = self.slots.get(wid)
        if slot is None:
            return None
        for event in news:
            slot, actions = slots_.step(slot, event, now, self._policy_for(wid))
            for action in actions:
                self._emit(action)
        self.slots[wid] = slot
        if slot.state is SlotState.STOPPED:
            self._forget(slot)
        return slot

    def _forget(self, slot: Slot) -> None:
        if self._reload is not None and slot.reason:
            self._reload.note(slot)
        self._base = max(self._base, slot.incarnation, slot.generation)
        del self.slots[slot.key.wid]

    def _policy_for(self, wid: int) -> WatcherPolicy:
        """One that gives no second chance while nothing new may begin, and to the new ones of a reload."""
        if self.is_frozen or self.phase in FALLING or self._is_trial(wid):
            return replace(self.policy, respawn=False, max_retry=0)
        return self.policy

    def free_wid(self) -> int:
        return next(wid for wid in range(1, len(self.slots) + 2) if wid not in self.slots)

    def raise_slot(self, now: float) -> int:
        wid = self.free_wid()
        self._place(wid)
        self._give(wid, now, Up())
        return wid

    def cycle_slot(self, wid: int, now: float) -> None:
        """A new life in the same place."""
        self._give(wid, now, Down(), Up())

    def lower_extra(self, now: float, *, spare: frozenset[int] = frozenset()) -> None:
        """Those without a process go first, then the oldest; the wids in ``spare`` last."""
        places = self._places()
        extra = len(places) - self.policy.numprocesses
        places.sort(key=lambda slot: (slot.key.wid in spare, *_seniority(slot)))
        for slot in places[: max(0, extra)]:
            self._give(slot.key.wid, now, Down())

    def lower_slot(self, wid: int, now: float) -> None:
        self._give(wid, now, Down())

    def is_unsettled(self, slot: Slot) -> bool:
        """A first attempt is under way that will come to an end."""
        is_retrying = slot.state is SlotState.BACKOFF and slot.budget.failures > 0 and self.policy.max_retry >= 0
        return slot.is_coming_up or is_retrying

    def _troubles(self) -> str:
        """Why slots that are wanted could not be filled; a pause after a death is no such trouble."""
        return _tell(
            slot
            for slot in self._places()
            if slot.state is SlotState.FATAL or (slot.state is SlotState.BACKOFF and slot.budget.failures)
        )

    # Phases -------------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        while self._turn(now):
            pass

    def _turn(self, now: float) -> bool:
        """One step of the ring; False when it has to wait for a fact or an order."""
        if self.phase in STANDING and self._must_fall:
            return self._begin_fall(now)
        if self.is_frozen and self.phase not in FALLING:
            return self.phase is Phase.BEFORE_START and self._land()
        match self.phase:
            case Phase.DOWN:
                return self._turn_down()
            case Phase.INHERITED:
                return False
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
            case Phase.BEFORE_STOP:
                return self._turn_before_stop(now)
            case Phase.LOWERING:
                return self._turn_lowering()
            case Phase.AFTER_STOP:
                return self._answer is not None and self._land()

    @property
    def _must_fall(self) -> bool:
        return not self.wants_up or self._must_cycle or self._has_given_up

    def _turn_down(self) -> bool:
        if not self.wants_up or self._has_given_up:
            return False
        self._clear()
        self.phase = Phase.BEFORE_START
        self._ask("before_start")
        return True

    def _turn_before_start(self) -> bool:
        if self._must_fall:
            self._abandon_hook()
            return self._land()
        if self._answer is None:
            return False
        if not self._answer:
            self._give_up("the hook before_start refused")
            return self._land()
        self._rise()
        return True

    def _rise(self) -> None:
        self.phase = Phase.RISING

    def _turn_rising(self, now: float) -> bool:
        places = len(self._places())
        if places > self.policy.numprocesses:
            self.lower_extra(now)
            return True
        if self._rising_wid is not None:
            slot = self.slots.get(self._rising_wid)
            if slot is not None and slot.wants_up and slot.is_coming_up:
                return False
            self._rising_wid = None
            if slot is not None and slot.is_ready:
                self.warm_up(self.policy.warmup_delay_s - (now - self._risen_at))
            return True
        if self._warmup is not None:
            return False
        if places < self.policy.numprocesses:
            self._risen_at = now
            self._rising_wid = self.raise_slot(now)
            return True
        self.phase = Phase.SETTLING
        for ticket in self._tickets:
            ticket.has_passed = True
        return True

    def _turn_settling(self) -> bool:
        places = self._places()
        if len(places) != self.policy.numprocesses:
            self._rise()
            return True
        if any(self.is_unsettled(slot) for slot in places):
            return False
        if any(slot.is_alive for slot in places) or not places:
            self.phase = Phase.AFTER_START
            self._answer = True
            if not self._has_greeted:
                self._ask("after_start")
            return True
        if self._stop_if_spent(places):
            return True
        self._drop_reload()
        self._close([ticket for ticket in self._tickets if ticket.verb is not Verb.STOP], _tell(places))
        return False

    def _turn_after_start(self) -> bool:
        if self._answer is None:
            return False
        if not self._answer:
            self._give_up("the hook after_start refused")
            return True
        if not self._has_greeted:
            self._has_greeted = True
            self._publish("start")
        self.phase = Phase.UP
        return True

    def _turn_up(self, now: float) -> bool:
        places = self._places()
        if len(places) != self.policy.numprocesses:
            self._rise()
            return True
        if self._stop_if_spent(places):
            return True
        arrived = [ticket for ticket in self._tickets if ticket.verb is not Verb.COUNT]
        self._close(arrived, self._troubles())
        if any(slot.state is SlotState.STOPPING for slot in self.slots.values()):
            return False
        finished = self._reload
        self._reload = None
        if finished is not None:
            self._close(finished.tickets, finished.error)
        self._close([ticket for ticket in self._tickets if ticket.verb is Verb.COUNT], self._troubles())
        return bool(self._reloads) and self._begin_reload(now)

    def _stop_if_spent(self, places: list[Slot]) -> bool:
        """Nothing lives and nothing will: the watcher is over."""
        if not places or not all(slot.is_spent for slot in places):
            return False
        fatal = [slot for slot in places if slot.state is SlotState.FATAL]
        if fatal:
            self._give_up(_tell(fatal))
        else:
            self.wants_up, self.reason = False, _tell(places)
            self._close([ticket for ticket in self._tickets if ticket.verb in (Verb.START, Verb.RESTART)])
        return True

    def _give_up(self, reason: str) -> None:
        self._has_given_up, self.reason = True, reason
        self._publish("fatal", reason=reason)

    # Reload -------------------------------------------------------------------------------------------------

    def _begin_reload(self, now: float) -> bool:
        """All who wait for the same kind of reload get the same one."""
        is_sequential = self._reloads[0][0]
        tickets = [ticket for kind, ticket in self._reloads if kind == is_sequential]
        self._reloads = deque(entry for entry in self._reloads if entry[0] != is_sequential)
        if self.policy.send_hup:
            for slot in self._places():
                if slot.is_alive:
                    self._emit(Signal(slot.key, slot.incarnation, SIGHUP, is_plain=True))
            self._publish("reload")
            self._close(tickets)
            return True
        kind = reload.Sequential if is_sequential else reload.Graceful
        self._reload = kind(tickets)
        self.phase = Phase.RELOADING
        self._reload.begin(self, now)
        return True

    def _turn_reloading(self, now: float) -> bool:
        assert self._reload is not None
        if self._warmup is not None:
            return False
        if self._reload.is_over:
            if self._reload.has_replaced_any:
                self._publish("reload")
            self.phase = Phase.UP
            return True
        return self._reload.turn(self, now)

    def _drop_reload(self) -> None:
        """The reloads do not come to their end; whoever waits for one waits for the watcher instead."""
        if self._reload is not None:
            self._tickets += self._reload.tickets
            self._reload = None
        self._tickets += [ticket for _, ticket in self._reloads]
        self._reloads.clear()

    # Fall ---------------------------------------------------------------------------------------------------

    def _begin_fall(self, now: float) -> bool:
        self._must_cycle = False
        self._cancel_warmup()
        self._rising_wid = None
        self._abandon_hook()
        self._drop_reload()
        self.phase = Phase.BEFORE_STOP
        self._lower(now, frozenset(SlotState) - {SlotState.RUNNING})
        self._ask("before_stop")
        return True

    def _turn_before_stop(self, now: float) -> bool:
        if self._answer is None:
            return False
        self.phase = Phase.LOWERING
        self._lower(now, frozenset(SlotState))
        return True

    def _lower(self, now: float, states: frozenset[SlotState]) -> None:
        for slot in [*self.slots.values()]:
            if slot.state in states and not slot.is_spent:
                self._give(slot.key.wid, now, Down())

    def _turn_lowering(self) -> bool:
        if any(slot.is_busy for slot in self.slots.values()):
            return False
        self._publish("stop")
        self.phase = Phase.AFTER_STOP
        self._ask("after_stop")
        return True

    def _land(self) -> bool:
        """The bottom of the ring: stops are done; the others are done too, or wait for the next way up."""
        self.phase = Phase.DOWN
        self._has_greeted = False
        if not self.reason:
            self._clear()
        self._close([ticket for ticket in self._tickets if ticket.verb is Verb.STOP])
        if self._must_fall or self.is_frozen:
            error = LEAVING if self.is_frozen else self.reason or OVERRULED
            self._close([ticket for ticket in self._tickets if ticket.verb is Verb.COUNT])
            self._close(self._tickets, error)
        return True

    def _clear(self) -> None:
        for slot in [*self.slots.values()]:
            self._forget(slot)

    # Timers, hooks, events ----------------------------------------------------------------------------------

    def warm_up(self, delay_s: float) -> None:
        if delay_s > 0:
            self._generation += 1
            self._warmup = TimerKey(self.name, 0, "warmup", self._generation)
            self._emit(StartTimer(self._warmup, delay_s))

    def _cancel_warmup(self) -> None:
        if self._warmup is not None:
            self._emit(CancelTimer(self._warmup))
            self._warmup = None

    def _ask(self, hook: str) -> None:
        self._awaited_hook, self._must_ask_again, self._answer = hook, False, None
        if hook in self._asked:
            self._must_ask_again = True
        elif hook in self.policy.hooks:
            self._asked.add(hook)
            self._emit(RunHook(self.name, hook, is_awaited=True))
        else:
            self._awaited_hook, self._answer = "", True

    def _abandon_hook(self) -> None:
        self._awaited_hook, self._must_ask_again, self._answer = "", False, None

    def _publish(self, event: str, **fields: object) -> None:
        self._emit(Publish(self.name, event, fields))


def _tell(slots: Iterable[Slot]) -> str:
    return "; ".join(f"{slot.key}: {slot.reason}" for slot in slots)


def _seniority(slot: Slot) -> tuple[int, float]:
    if slot.state is SlotState.STARTING:
        return 2, 0.0
    return (1, slot.started_at) if slot.started_at is not None else (0, 0.0)
