"""Which runs of a job are due, and what becomes of each. Pure: told the time, it answers with what is to be done.

**A run** is known by the moment for which it is scheduled (``due``), one ordered by hand by the moment of the order. It
goes from *waiting* over *starting* and *running* to *done* or *failed*; or it is *skipped*. Each instant of the
schedule becomes exactly one run, or part of a record of skipped ones that says why.

**The mark** (``decided_until``) only goes forward: no instant at or before it is looked at again, so that a clock that
is set back runs nothing twice. One that is set back by more than `FAR_BACK_S` was wrong before: the mark follows it,
and only what is among the runs that are kept is not run again.

**Missed** is what is older than `LATE_S` when it is looked at: no circusd was there, the machine slept, or the clock
was set forward. The policy says: skip all, run the last one (once), or run all, at most `MAX_MISSED`. What is younger
is run late, so that a restart of circusd loses nothing.

**Overlap**: an instant at which the run before is not over is skipped, waits (queue), or ends that one (replace).

**What is noted before it is done**: every run that is returned in a `Note` is on the disk before the `Launch` behind it
is carried out, and the run's due stands in the kernel's row of the process. So whatever happens to circusd in between,
the next one finds one of these, and `settle` decides:

=========================  ==============================  =========================================
noted                      in the kernel                   then
=========================  ==============================  =========================================
nothing                    nothing                         the instant is looked at as any other
starting                   nothing, same life of machine   it never began: it waits, and is launched; one that was
                                                           ordered by hand has failed, as nobody waits for it
starting                   nothing, another life           nobody knows: failed, not run again
starting or running        it runs                         it is adopted
starting or running        it has ended                    the kernel's exit is its end
running                    nothing                         nobody knows how it ended: failed
done, failed, skipped      anything                        nothing
=========================  ==============================  =========================================

An exit is acknowledged to the kernel only when the end of its run is on the disk.

Does not belong here: the phases of the watcher (ring), the disk, the clock, the expression itself (config/cron).
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from circus.supervise.moves import tell_how

#: What is older when it is looked at was missed. A restart of circusd is shorter, on a busy machine too.
LATE_S = 60.0
#: Cron's own bound: a clock that is set back by more was wrong before.
FAR_BACK_S = 3 * 3600.0
#: Missed runs that are made up for, at most.
MAX_MISSED = 100
#: Runs that wait for the one before them.
MAX_WAITING = 100
#: Instants that are looked at in one go; what lies between them and the last minute is skipped as a whole.
MAX_LOOKED_AT = 1000

MISSED = "missed: no circusd was there, or the machine slept, or its clock was set"


class RunState(enum.Enum):
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


OPEN = frozenset({RunState.WAITING, RunState.STARTING, RunState.RUNNING})


class JobPolicy(Struct, frozen=True):
    overlap: str = "skip"  # or queue, replace
    missed: str = "skip"  # or once, all
    time_limit_s: float = 0.0  # 0: none
    history: int = 100


class Run(Struct, frozen=True):
    """Times are wall clock. ``count``: so many instants are skipped with this record, ``due`` is the last of them."""

    due: float
    state: RunState
    decided_at: float
    is_by_hand: bool = False
    started_at: float | None = None
    ended_at: float | None = None
    pid: int | None = None
    status: int | None = None  # negative: signal
    reason: str = ""
    end_reason: str = ""  # why it is told to end
    count: int = 1
    life: str = ""  # of the machine, in which it was decided
    digest: str = ""  # of the options with which it ran


class Note(Struct, frozen=True):
    """To be on the disk before what follows."""

    run: Run


class Launch(Struct, frozen=True):
    run: Run


class End(Struct, frozen=True):
    """Its process is to be stopped, as the watcher stops."""

    run: Run


class Mark(Struct, frozen=True):
    """No instant until ``at`` is looked at again."""

    at: float
    is_active: bool


Step = Note | Mark | Launch | End


class Job:
    """``next_after`` is None for one without a schedule, whose runs begin when the watcher starts."""

    def __init__(self, policy: JobPolicy, next_after: Callable[[float], float | None] | None, *, life: str) -> None:
        self.policy = policy
        self.next_after = next_after
        self.life = life
        self.runs: dict[float, Run] = {}  # by due, in the order in which they were decided
        self.decided_until = 0.0
        self.is_active = False
        self.is_open = False  # the watcher waits for its time
        self.digest = ""
        self._steps: list[Step] = []

    # What is known ------------------------------------------------------------------------------------------

    @property
    def current(self) -> Run | None:
        """The run that is starting or running."""
        return next((run for run in self.runs.values() if run.state in (RunState.STARTING, RunState.RUNNING)), None)

    @property
    def waiting(self) -> list[Run]:
        return [run for run in self.runs.values() if run.state is RunState.WAITING]

    @property
    def last(self) -> Run | None:
        """The one that ended last."""
        runs = reversed(self.runs.values())
        return next((run for run in runs if run.state in (RunState.DONE, RunState.FAILED)), None)

    def next_due(self) -> float | None:
        """The next instant of the schedule that is not decided yet."""
        if not self.is_active or self.next_after is None:
            return None
        return self.next_after(self.decided_until)

    def is_done(self, life: str, digest: str) -> bool:
        """Its last run was a good one, with these options, in this life of the machine."""
        last = self.last
        return last is not None and (last.state, last.life, last.digest) == (RunState.DONE, life, digest)

    # Orders -------------------------------------------------------------------------------------------------

    def activate(self, now: float) -> list[Step]:
        """What was due before ``now`` is not its business."""
        self._mark(now, is_active=True)
        return self._taken()

    def deactivate(self, now: float) -> list[Step]:
        self._mark(now, is_active=False)
        for run in self.waiting:
            self._close(run, RunState.SKIPPED, now, "the schedule was stopped")
        return self._taken()

    def order(self, now: float) -> list[Step]:
        """Run it now, by hand; nothing may be under way."""
        assert self.current is None
        due = now
        while due in self.runs or due.is_integer():  # as instants of schedules are
            due += 0.000_001
        return self._launch(Run(due, RunState.WAITING, now, is_by_hand=True), now)

    # Time ---------------------------------------------------------------------------------------------------

    def look(self, now: float) -> list[Step]:
        """Decide what is due by ``now``, and launch what may begin."""
        if self.is_active and self.next_after is not None:
            if self.decided_until > now + FAR_BACK_S:
                self._mark(now, is_active=True)
            due = [each for each in self._due(now, self.next_after) if each not in self.runs]
            late = [each for each in due if each <= now - LATE_S]
            self._decide_missed(late, now)
            for each in due[len(late) :]:
                self._decide(each, now)
        if self.is_open and self.current is None and (waiting := self.waiting):
            self._begin(waiting[0], now)
        return self._taken()

    def _due(self, now: float, next_after: Callable[[float], float | None]) -> list[float]:
        found: list[float] = []
        at = next_after(self.decided_until)
        while at is not None and at <= now:
            self.decided_until = at
            found.append(at)
            if len(found) == MAX_LOOKED_AT and at < now - LATE_S:
                # Nobody counts the rest.
                self._skip(now - LATE_S, now, f"{MISSED}; so were others, too many to be counted")
                self.decided_until = at = now - LATE_S
            at = next_after(at)
        return found

    def _decide_missed(self, late: list[float], now: float) -> None:
        if not late:
            return
        chosen: list[float] = []
        if self.policy.missed == "all":
            chosen = late[: min(MAX_MISSED, MAX_WAITING - len(self.waiting))]
        elif self.policy.missed == "once":
            chosen = late[-1:]
        if skipped := [each for each in late if each not in chosen]:
            self._skip(skipped[-1], now, MISSED, count=len(skipped))
        for each in chosen:
            self._note(Run(each, RunState.WAITING, now))

    def _decide(self, due: float, now: float) -> None:
        current, waiting = self.current, self.waiting
        run = Run(due, RunState.WAITING, now)
        if current is None and not waiting:
            self._note(run)
        elif self.policy.overlap == "replace":
            for other in waiting:
                self._close(other, RunState.SKIPPED, now, "replaced by a later run before it began")
            self._note(run)
            if current is not None:
                self._end(current, "ended for the next run")
        elif self.policy.overlap == "queue" and len(waiting) < MAX_WAITING:
            self._note(run)
        elif self.policy.overlap == "queue":
            self._skip(due, now, f"{MAX_WAITING} runs wait already")
        else:
            self._skip(due, now, "the run before was not over")

    def exceed(self, due: float) -> list[Step]:
        """Its time is over."""
        run = self.runs.get(due)
        if run is not None and run.state is RunState.RUNNING and self.policy.time_limit_s:
            self._end(run, f"ended, as it took longer than {self.policy.time_limit_s:g} s")
        return self._taken()

    # Facts --------------------------------------------------------------------------------------------------

    def begun(self, due: float, pid: int, started_at: float, *, digest: str) -> list[Step]:
        """The kernel has its process; also one that an earlier circusd has started, with the options of ``digest``."""
        run = self.runs.get(due) or Run(due, RunState.STARTING, started_at, life=self.life, digest=digest)
        if run.state in OPEN:
            run = replace(run, state=RunState.RUNNING, pid=pid, started_at=started_at)
            self._note(run)
            if run.end_reason:  # told before there was a process
                self._steps.append(End(run))
        return self._taken()

    def ended(
        self, due: float, status: int | None, at: float, *, pid: int, started_at: float, digest: str
    ) -> list[Step]:
        """Told by the kernel, perhaps more than once."""
        run = self.runs.get(due) or Run(due, RunState.RUNNING, started_at, life=self.life, digest=digest)
        if run.state in OPEN:
            run = replace(run, pid=pid, started_at=started_at, status=status)
            is_good = status == 0 and not run.end_reason
            self._close(run, RunState.DONE if is_good else RunState.FAILED, at, run.end_reason or tell_how(status))
        return self._taken()

    def over(self, reason: str, now: float) -> list[Step]:
        """The watcher has come to the end of a run; one whose process nobody has seen has failed, for ``reason``."""
        run = self.current
        if run is not None and (reason or run.state is RunState.RUNNING):
            self._close(run, RunState.FAILED, now, reason or tell_how(None))
        elif run is not None:
            self._close(run, RunState.SKIPPED, now, "it was stopped before it began")
        return self._taken()

    def settle(self, hosted: set[float], now: float) -> list[Step]:
        """Once, after all that the kernel has was told: what else an earlier circusd has left open."""
        for run in list(self.runs.values()):
            if run.due in hosted or run.state not in (RunState.STARTING, RunState.RUNNING):
                continue
            if run.state is RunState.STARTING and run.life == self.life and not run.is_by_hand:
                self._note(replace(run, state=RunState.WAITING))
            elif run.state is RunState.STARTING and run.life == self.life:
                self._close(run, RunState.FAILED, now, "circusd ended before it began")
            else:
                self._close(run, RunState.FAILED, now, "nobody knows how it ended: papa has lost it")
        return self._taken()

    # Below --------------------------------------------------------------------------------------------------

    def _launch(self, run: Run, now: float) -> list[Step]:
        self._note(run)
        self._begin(run, now)
        return self._taken()

    def _begin(self, run: Run, now: float) -> None:
        run = replace(run, state=RunState.STARTING, decided_at=now, life=self.life, digest=self.digest)
        self._note(run)
        self._steps.append(Launch(run))

    def _end(self, run: Run, reason: str) -> None:
        if run.end_reason:
            return
        run = replace(run, end_reason=reason)
        self._note(run)
        self._steps.append(End(run))

    def _mark(self, at: float, *, is_active: bool) -> None:
        self.decided_until, self.is_active = at, is_active
        self._steps.append(Mark(at, is_active))

    def _skip(self, due: float, now: float, reason: str, *, count: int = 1) -> None:
        self._note(Run(due, RunState.SKIPPED, now, reason=reason, count=count))

    def _close(self, run: Run, state: RunState, at: float, reason: str) -> None:
        self._note(replace(run, state=state, ended_at=at, reason=reason))

    def _note(self, run: Run) -> None:
        self.runs[run.due] = run
        if run.state not in OPEN:
            closed = [due for due, each in self.runs.items() if each.state not in OPEN]
            for due in closed[: max(0, len(closed) - self.policy.history)]:
                del self.runs[due]
        self._steps.append(Note(run))

    def _taken(self) -> list[Step]:
        steps, self._steps = self._steps, []
        return steps
