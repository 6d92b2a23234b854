"""One watcher: what is shown of it, and how orders and facts reach it.

Orders never wait for each other: they turn the wish, and the ring of phases follows. A later order overrules an
earlier one, and whoever waited for what now will not come is told so; orders for the same are joined. Each order gives
a ticket, which is closed once, when the watcher has arrived or will not.

Does not belong here: the phases themselves (ring), the order among watchers and operations over several (fleet).
"""

from __future__ import annotations

from msgspec.structs import replace

from circus.supervise.actions import RunOver
from circus.supervise.budget import UNTOUCHED
from circus.supervise.events import (
    Adopted,
    Demanded,
    Exceeded,
    Fact,
    HookAnswered,
    OfALife,
    Recalled,
    RunDue,
    TimerFired,
)
from circus.supervise.places import tell
from circus.supervise.reloads import Kind
from circus.supervise.ring import ALL_BUT_ENDS, FALLING, LEAVING, STANDING, Phase, Ring
from circus.supervise.slot import Slot
from circus.supervise.states import SlotKey, SlotState, WatcherPolicy, WatcherState, WatcherView
from circus.supervise.tickets import Ticket, Verb

REMOVED = "removed by a later order"
AWAITS = "waits for a connection"
AWAITS_TIME = "waits for its time"
NOT_RUNNING = "is not running"


class Watcher(Ring):
    # What is shown ------------------------------------------------------------------------------------------

    @property
    def state(self) -> WatcherState:
        match self.phase:
            case Phase.DOWN | Phase.WAITING:
                return WatcherState.STOPPED
            case Phase.HELD:
                return WatcherState.STOPPED if self.blocked else WatcherState.STARTING
            case Phase.YIELDING | Phase.BEFORE_STOP | Phase.LOWERING | Phase.AFTER_STOP:
                return WatcherState.STOPPING
            case Phase.BEFORE_START | Phase.AFTER_START:
                return WatcherState.STARTING
            case Phase.RISING | Phase.SETTLING if not self._has_greeted:
                return WatcherState.STARTING
            case _:
                is_up = not self.policy.numprocesses or any(
                    slot.is_alive or slot.is_coming_up for slot in self.slots.values()
                )
                return WatcherState.ACTIVE if is_up or self.is_done else WatcherState.STARTING

    @property
    def is_busy(self) -> bool:
        """Something is about to come or to go; a manager that leaves waits for it."""
        return self.phase in FALLING or self.places.is_busy

    @property
    def is_left_alone(self) -> bool:
        """The manager leaves, and what happens is the next one's."""
        return self.is_frozen and self.phase not in FALLING

    @property
    def is_overdue(self) -> bool:
        """All that still has to end was killed more than once: nobody else should wait for it."""
        return self.phase is Phase.LOWERING and all(slot.kills > 1 for slot in self.slots.values() if slot.is_busy)

    @property
    def high_water(self) -> int:
        """No number of a life or timer was ever above it."""
        return max(self._generation, self.places.high_water)

    @property
    def given_up(self) -> str:
        """Why its slots have given up for good; empty if they have not, or if a hook was the reason."""
        is_spent = self._has_given_up and any(slot.state is SlotState.FATAL for slot in self.slots.values())
        return self.reason if is_spent else ""

    @property
    def running_hooks(self) -> frozenset[str]:
        """They will answer still."""
        return frozenset(self._asking.running)

    def view(self) -> WatcherView:
        return WatcherView(
            name=self.name,
            state=self.state,
            numprocesses=self.policy.numprocesses,
            priority=self.policy.priority,
            wants_up=self.wants_up,
            reason=self._why,
            slots=self.places.views(),
            singleton=self.policy.singleton,
            needs=self.policy.needs,
            waits_for=self.waits_for,
            reload=self.reloading,
        )

    @property
    def reloading(self) -> str:
        """How far a reload with bounds is, for people."""
        return self._reloads.standing(self)

    @property
    def _why(self) -> str:
        match self.phase:
            case Phase.WAITING:
                return AWAITS_TIME if self.policy.scheduled else AWAITS
            case Phase.HELD:
                return self.blocked or f"waits for {', '.join(self.waits_for)}"
            case _:
                return tell(self.places.wanted) if self.is_done else self.reason

    @property
    def is_serving(self) -> bool:
        """It is up and ready. One that starts on demand or by a schedule is so when it waits, a oneshot when done."""
        has_been_up = self.phase in (Phase.RISING, Phase.SETTLING) and self._has_greeted
        if self.phase in (Phase.INHERITED, Phase.UP, Phase.RELOADING) or has_been_up:
            ready = (slot.state is SlotState.RUNNING and slot.is_ready for slot in self.slots.values())
            return self.is_done or not self.policy.numprocesses or any(ready)
        return self.phase is Phase.WAITING

    @property
    def hopeless(self) -> str:
        """Why it will not be serving by itself, or nobody knows when; empty if it serves, or is on its way."""
        if self.is_serving:
            return ""
        if not self.wants_up:
            return self.reason or NOT_RUNNING
        if self._has_given_up or self.is_frozen:
            return self.reason or LEAVING
        if self.phase is Phase.HELD:
            return self.blocked
        wanted = self.places.wanted
        if self.phase not in (Phase.SETTLING, Phase.UP) or any(map(self._may_get_ready, wanted)):
            return ""
        return tell(wanted)

    def _may_get_ready(self, slot: Slot) -> bool:
        return slot.state is SlotState.STOPPING or self.is_unsettled(slot)

    # Orders -------------------------------------------------------------------------------------------------

    def start(self, now: float) -> Ticket:
        ticket = self._open(Verb.START)
        self._wish_up()
        if self.phase in (Phase.RISING, Phase.SETTLING, Phase.AFTER_START, Phase.UP) and not self.policy.scheduled:
            self.places.lift_again(now)
        if self.phase in (Phase.INHERITED, Phase.UP):
            self.phase = Phase.RISING
        self._advance(now)
        return ticket

    def forgive(self) -> None:
        """What was counted against its slots, here and by an earlier manager, counts no more."""
        self.places.recalled.clear()
        for wid, slot in self.places.slots.items():
            if slot.state is SlotState.RUNNING:  # the others are forgiven by what they are told to do
                self.places.slots[wid] = replace(slot, budget=UNTOUCHED)

    def stop(self, now: float) -> Ticket:
        self.forgive()
        ticket = self._open(Verb.STOP)
        self.wants_up = self._must_cycle = self._has_given_up = self._is_over = self._is_once = False
        self.reason = ""
        if self.phase is Phase.DOWN:
            self._land()
        self._advance(now)
        return ticket

    def restart(self, now: float) -> Ticket:
        self.forgive()
        ticket = self._open(Verb.RESTART)
        self._wish_up()
        self._must_cycle = self.phase in STANDING
        self._advance(now)
        return ticket

    def reload(self, now: float, *, is_sequential: bool) -> Ticket:
        self.forgive()
        ticket = self._open(Verb.RELOAD)
        self._wish_up()
        if self.phase in STANDING:
            if not self.policy.is_job:  # which has nothing that could be renewed
                self._waiting.take(ticket)
                self._reloads.add(Kind.SEQUENTIAL if is_sequential else Kind.GRACEFUL, ticket)
            if self.phase is Phase.INHERITED:
                self.phase = Phase.RISING
        self._advance(now)
        return ticket

    def kill(self, now: float, *, pid: int | None, signum: int | None, grace_s: float | None) -> Ticket:
        """End the processes that there are, or the one with ``pid``; the ticket is closed when they have gone."""
        ticket = self._open(Verb.KILL)
        meant = [slot for slot in self.slots.values() if slot.is_alive and pid in (None, slot.pid)]
        ticket.before = {(slot.key, slot.incarnation): slot.pid for slot in meant if slot.pid is not None}
        self.places.kill(now, [slot.key.wid for slot in meant], signum, grace_s)
        self._advance(now)
        return ticket

    def set_count(self, now: float, *, count: int | None, delta: int) -> Ticket:
        wanted = max(0, (self.policy.numprocesses if count is None else count) + delta)
        if self.policy.is_job:
            wanted = 1
        if self.policy.singleton:
            wanted = min(wanted, 1)
        return self._apply(replace(self.policy, numprocesses=wanted), now)

    def change(
        self,
        now: float,
        policy: WatcherPolicy,
        *,
        must_restart: bool,
        is_graceful: bool = False,
        keys: tuple[str, ...] = (),
    ) -> Ticket:
        if self._reloads.is_changing:
            return self._refuse(f"{self.name} is on its way to other options, which may go back")
        if not self._must_renew(policy, must_restart=must_restart):
            return self._apply(policy, now, keys)
        if self._may_roll(policy):
            return self._roll(policy, now, keys)
        falls = self.must_fall_for(policy, must_restart=must_restart, is_graceful=is_graceful)
        self.policy = policy
        self._tell_updated(keys)
        return self.restart(now) if falls else self.reload(now, is_sequential=False)

    def must_fall_for(self, policy: WatcherPolicy, *, must_restart: bool, is_graceful: bool) -> bool:
        """It cannot obey ``policy`` as it runs, nor by new processes beside the old ones."""
        if self._reloads.is_changing or not self._must_renew(policy, must_restart=must_restart):
            return False
        return not (self._may_roll(policy) or (is_graceful and self._may_reload(policy)))

    def _must_renew(self, policy: WatcherPolicy, *, must_restart: bool) -> bool:
        is_later = policy.scheduled and self.policy.scheduled  # the next run obeys, this one goes on
        is_other = (policy.oneshot, policy.scheduled) != (self.policy.oneshot, self.policy.scheduled)
        return (must_restart or is_other) and self.wants_up and not is_later

    def _may_roll(self, policy: WatcherPolicy) -> bool:
        is_meant = policy.rollout is not None and policy.rollout.is_for_changes
        return self._serves and self.phase in STANDING and is_meant

    def _may_reload(self, policy: WatcherPolicy) -> bool:
        return self._serves and not (policy.singleton or policy.send_hup)

    @property
    def _serves(self) -> bool:
        return any(slot.is_ready for slot in self.slots.values())

    def _roll(self, policy: WatcherPolicy, now: float, keys: tuple[str, ...]) -> Ticket:
        self.forgive()
        ticket = self._open(Verb.RELOAD)
        self._waiting.take(ticket)
        self._tell_updated(keys)
        self._wish_up()
        self._reloads.add_change(self, policy, ticket)
        if self.phase is Phase.INHERITED:
            self.phase = Phase.RISING
        self._advance(now)
        return ticket

    def _refuse(self, error: str) -> Ticket:
        ticket = self._open(Verb.COUNT)
        self._waiting.take(ticket)
        ticket.close(self.slots.values(), numprocesses=self.policy.numprocesses, error=error)
        return ticket

    def _tell_updated(self, keys: tuple[str, ...]) -> None:
        """Once for each option that is known by name."""
        for named in [{"key": key} for key in keys] or [{}]:
            self._publish("updated", **named, numprocesses=self.policy.numprocesses)

    def _apply(self, policy: WatcherPolicy, now: float, keys: tuple[str, ...] = ()) -> Ticket:
        ticket = self._open(Verb.COUNT)
        before, self.policy = self.policy, policy
        self._reloads.recount(policy.numprocesses)
        if _times(before) != _times(policy):
            self.places.age(now)
        self._tell_updated(keys)
        if self.phase is Phase.UP:
            self.phase = Phase.RISING
        elif self.phase in FALLING or self.phase in (Phase.DOWN, Phase.HELD, Phase.INHERITED):
            self._close({Verb.COUNT})
        self._advance(now)
        return ticket

    def freeze(self, now: float) -> None:
        """The manager leaves: begin nothing, and tell those who wait for something new."""
        self.is_frozen = True
        self.cancel_warmup()
        self.places.age(now)
        self.places.lower(now, {SlotState.BACKOFF})
        self._drop_reload()
        self._close(ALL_BUT_ENDS, LEAVING)
        self._advance(now)

    def abandon(self) -> None:
        """Forget everything at once; what lives is nobody's any more."""
        self.stop_waiting()
        self.cancel_warmup()
        self._drop_reload()
        self.places.cancel_timers()
        self._close(Verb, REMOVED)

    def _wish_up(self) -> None:
        self.wants_up, self._has_given_up, self._is_over, self.reason = True, False, False, ""
        self._is_once = False

    def _open(self, verb: Verb) -> Ticket:
        return self._waiting.open(verb, self.slots.values())

    # Bound to others ----------------------------------------------------------------------------------------

    def hold(self, waits_for: tuple[str, ...], blocked: str) -> bool:
        """What it is held for has not come; ``blocked`` says why that will not come by itself. True: that is news."""
        if blocked and blocked != self.blocked:
            self._publish("blocked", reason=blocked)
        self.waits_for, self.blocked = waits_for, blocked
        return bool(blocked) and self._close(ALL_BUT_ENDS, blocked)

    def release(self, now: float) -> None:
        """It need not be held, or yield, any longer."""
        self.waits_for, self.blocked = (), ""
        if self.phase is Phase.HELD:
            self._go_up()
        elif self.phase is Phase.YIELDING:
            self._fall(now)
        self._advance(now)

    # Facts --------------------------------------------------------------------------------------------------

    def take(self, fact: Fact, now: float) -> None:
        match fact:
            case Recalled(is_done=True):
                self.places.make_done(now)
                self.wants_up, self._has_greeted, self.phase = True, True, Phase.UP
            case Recalled(_, slots, given_up):
                self.places.recalled = {each.wid: each for each in slots}
                if given_up:
                    self.places.lift_fatal(now)
                    self.wants_up, self._has_given_up, self.reason = True, True, given_up
            case Adopted(slot):
                self.places.make(slot.wid)
                self.places.give(slot.wid, now, fact)
                if self.phase is Phase.DOWN:
                    self._wish_up()  # what runs has not given up
                    self._is_once = self.policy.scheduled  # until an order comes
                    self.phase = Phase.INHERITED
            case TimerFired(key) if key.wid == 0:
                if key == self._warmup:
                    self._warmup = None
            case TimerFired(key):
                self.places.give(key.wid, now, fact)
            case Demanded():
                if self.phase is Phase.WAITING and not (self.is_frozen or self.policy.scheduled):
                    self.stop_waiting()
                    self._begin_start()
            case RunDue(_, is_by_hand):
                self._begin_run(is_by_hand=is_by_hand)
            case HookAnswered(slot=None):
                self._asking.hear(fact.hook, fact.ok, self.policy.hooks)
            case HookAnswered(slot=SlotKey(_, wid)):
                self._hear_of_slot(fact, wid, now)
            case Exceeded() if self.is_frozen:
                pass
            case _ if isinstance(fact, OfALife):
                self.places.give(fact.slot.wid, now, fact)
        self._advance(now)

    def _begin_run(self, *, is_by_hand: bool) -> None:
        is_possible = self.policy.scheduled and not self.is_frozen
        if self.phase is Phase.WAITING and is_possible:
            self.stop_waiting()
        elif self.phase is Phase.DOWN and is_possible and is_by_hand and not self.wants_up:
            self._wish_up()
            self._is_once = True
            self.places.clear()
        else:
            self._emit(RunOver(self.name, ""))
            return
        self._begin_start()

    def _hear_of_slot(self, fact: HookAnswered, wid: int, now: float) -> None:
        if self.is_frozen and fact.hook == "after_spawn" and not fact.ok:
            return  # left alone as it is; the next manager adopts it, and asks again
        before = self.slots.get(wid)
        after = self.places.give(wid, now, fact)
        if fact.ok or before is None or after is None or after is before or not before.wants_up:
            return
        reload = self._reloads.current
        if reload is not None and wid in reload.noted_wids:
            reload.note(after)
        elif self.phase in STANDING and not self.is_frozen:
            self._give_up(f"the hook {fact.hook} refused")


def _times(policy: WatcherPolicy) -> tuple[object, ...]:
    """By which running slots set their timers, and are looked at."""
    return policy.max_age_s, policy.max_age_spread_s, policy.awaits_ready, policy.start_timeout_s, policy.health
