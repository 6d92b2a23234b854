"""Jobs as circusd has them: brings the time, the kernel's facts and the disk to the cores that decide (supervise/jobs).

One timer waits for the next run of all schedules, and looks at the clock of the wall once a minute at the least, as
that clock may be set; where no schedule is active nobody wakes up. What a core decides is on the disk before it is
carried out, and what the kernel tells of a run is noted before the kernel may forget it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from circus import clock, procfs
from circus.config import cron
from circus.config.model import JobOptions, WatcherConfig
from circus.engine import runbook
from circus.engine.hosted import Hosted
from circus.engine.runbook import Known, Runbook
from circus.errors import CircusError
from circus.supervise import events
from circus.supervise.actions import Finish
from circus.supervise.budget import UNTOUCHED, Recollection
from circus.supervise.jobs import OPEN, End, Job, JobPolicy, Launch, Mark, Note, Run, RunState, Step
from circus.supervise.ring import Phase
from circus.supervise.states import SlotKey

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

#: The clock of the wall may be set at any time: it is looked at this often while a schedule is active.
LOOK_S = 60.0
#: A timer of the loop is a little early at times.
EARLY_S = 0.002

#: Why a run is over that may go on.
NO_JOB = "its watcher is no job any more"

_BOOT = "/proc/sys/kernel/random/boot_id"


def life_of_machine() -> str:
    """Another one after each boot, and after each start of a container: PID 1 is another one then."""
    try:
        with open(_BOOT, encoding="ascii") as file:
            boot = file.read().strip()
    except OSError:
        boot = ""
    first = procfs.row(1)
    return boot if first is None else f"{boot}:{first.start_ticks}"


class Jobs:
    def __init__(self, engine: Engine, book: Runbook) -> None:
        self._engine = engine
        self._book = book
        self._life = life_of_machine()
        self._jobs: dict[str, Job] = {}  # by the watchers' names
        self._schedules: dict[str, str] = {}
        self._next: dict[str, tuple[float, float | None]] = {}  # the mark, and what is due after it
        self._timer: asyncio.TimerHandle | None = None
        self._limits: dict[tuple[str, float], asyncio.TimerHandle] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}  # for the next thing that happens to a run
        self._orders: set[asyncio.Future[Finish]] = set()
        self._are_ordered = False
        book.whole = self._whole

    def __contains__(self, watcher: str) -> bool:
        return watcher in self._jobs

    # The configuration --------------------------------------------------------------------------------------

    def configure(self, config: WatcherConfig) -> None:
        if config.type != "oneshot":
            if (job := self._jobs.get(config.name)) is not None:  # whose runs nobody follows any more
                self._carry_out(config.name, job.deactivate(clock.wall()) + job.over(NO_JOB, clock.wall()))
            self.forget(config.name)
            return
        options = config.job or JobOptions()
        policy = JobPolicy(options.overlap, options.missed, options.time_limit_s, options.history)
        schedule = f"{config.schedule} {options.timezone or ''}".strip() if config.schedule else ""
        known = self._book.known.pop(config.name.lower(), Known())
        job = self._jobs.get(config.name)
        if job is None:
            job = self._jobs[config.name] = Job(policy, None, life=self._life)
            job.runs, job.decided_until, job.is_active = known.runs, known.mark, known.is_active
            self._schedules[config.name] = known.schedule
        job.policy, job.digest = policy, config.digest
        job.next_after = cron.next_after(config.schedule, cron.zone_of(options.timezone)) if config.schedule else None
        self._next.pop(config.name, None)
        if schedule != self._schedules[config.name]:
            self._schedules[config.name] = schedule
            if job.is_active:  # the instants of another schedule were not missed
                self._carry_out(config.name, job.activate(clock.wall()))
        if (run := job.current) is not None and run.state is RunState.RUNNING:
            self._limit(config.name, run)
        self._arm()

    def forget(self, watcher: str) -> None:
        if (job := self._jobs.pop(watcher, None)) is not None:
            self._book.known[watcher.lower()] = Known(job.runs, schedule=self._schedules.pop(watcher))
            self._next.pop(watcher, None)
            for future in self._waiting.pop(watcher, ()):
                if not future.done():
                    future.set_exception(CircusError("operation-failed", f"{watcher} was removed"))

    # A start of circusd -------------------------------------------------------------------------------------

    def hear_ended(self, watcher: str, row: dict[str, Any]) -> None:
        """A process that has ended while no circusd was there, before anything is decided by it."""
        due, name, end = runbook.due_of(row), self._engine.find(watcher), row["exit"]
        if due is not None and name in self._jobs and end is not None:
            pid, started_at, digest = row["pid"], row["started_at"], row["meta"].get("digest", "")
            told = self._jobs[name].ended(due, end["status"], end["at"], pid=pid, started_at=started_at, digest=digest)
            self._carry_out(name, told)

    def recalled(self, config: WatcherConfig) -> events.Recalled | None:
        """What a job has done already; None: what is remembered of its watcher decides."""
        job = self._jobs.get(config.name)
        if config.schedule is not None:
            return events.Recalled(config.name, ())  # each run begins anew
        if job is None or job.current is not None or (last := job.last) is None:
            return None  # so, too, if the last one was lost
        if job.is_done(self._life, config.digest):
            return events.Recalled(config.name, (), is_done=True)
        if last.life != self._life or last.digest != config.digest:
            return events.Recalled(config.name, ())
        if config.respawn:
            return None
        slot = Recollection(1, UNTOUCHED, last.reason, is_fatal=True)
        return events.Recalled(config.name, (slot,), f"{SlotKey(config.name, 1)}: {last.reason}")

    def open(self, stopped: Iterable[str]) -> None:
        """All that the kernel has was told; nothing was ordered yet."""
        stopped, now = frozenset(stopped), clock.wall()
        for name, job in self._jobs.items():
            hosted = {each.run for each in self._engine.lives.hosted.of_watcher(name) if each.run is not None}
            self._carry_out(name, job.settle(hosted, now))
            if job.is_active and not self.is_wanted(name, stopped):
                self._carry_out(name, job.deactivate(now))
        self._book.known.clear()  # nobody knows those watchers any more
        self._arm()

    def ordered(self) -> None:
        """The first orders have reached the cores; before, one whose run goes on looks as if it were the only one."""
        self._are_ordered = True

    def running(self) -> set[str]:
        """Watchers with a schedule, and a run of it under way."""
        return {name for name, job in self._jobs.items() if job.next_after is not None and job.current is not None}

    def is_wanted(self, watcher: str, stopped: Iterable[str] = ()) -> bool:
        """Its schedule was active under the circusd before, or is to be."""
        config = self._engine.configs[watcher]
        is_active = config.autostart or self._jobs[watcher].is_active
        return config.schedule is not None and is_active and watcher not in stopped

    # What the cores say -------------------------------------------------------------------------------------

    def on_wait(self, watcher: str, *, is_wanted: bool) -> None:
        """Its watcher waits for its time, or no more."""
        if (job := self._jobs.get(watcher)) is None:
            return
        job.is_open = is_wanted
        if is_wanted and not job.is_active:
            self._carry_out(watcher, job.activate(clock.wall()))
        if is_wanted:
            self._look(watcher)
        else:
            self._settle_wish(watcher, job)
        self._arm()

    def on_over(self, watcher: str, reason: str) -> None:
        job = self._jobs.get(watcher)
        if job is not None and not self._engine.fleet.is_ending:
            self._carry_out(watcher, job.over(reason, clock.wall()))
            self._settle_wish(watcher, job)

    def _settle_wish(self, watcher: str, job: Job) -> None:
        known = self._engine.fleet.watchers.get(watcher)
        is_told = self._are_ordered and not self._engine.fleet.is_ending
        if is_told and job.is_active and known is not None and not known.is_to_be_up:
            self._carry_out(watcher, job.deactivate(clock.wall()))

    # What the kernel says -----------------------------------------------------------------------------------

    def stamp(self, watcher: str) -> float | None:
        """What the row of a process that is to be spawned says of its run. Raises: CircusError: there is none."""
        if (job := self._jobs.get(watcher)) is None:
            return None
        if job.next_after is None:
            return clock.wall()
        if (run := job.current) is None:
            raise CircusError("conflict", "the run was taken back")  # by an order just before its time
        return run.due

    def on_hosted(self, hosted: Hosted) -> None:
        job = self._jobs.get(hosted.slot.watcher)
        if job is not None and hosted.run is not None:
            told = job.begun(hosted.run, hosted.pid, hosted.started_at, digest=hosted.digest)
            self._carry_out(hosted.slot.watcher, told)
            if (run := job.runs.get(hosted.run)) is not None and run.state is RunState.RUNNING:
                self._limit(hosted.slot.watcher, run)

    def on_end(self, hosted: Hosted, at: float) -> None:
        job = self._jobs.get(hosted.slot.watcher)
        if job is not None and hosted.run is not None:
            pid, started_at, digest = hosted.pid, hosted.started_at, hosted.digest
            told = job.ended(hosted.run, hosted.exit_status, at, pid=pid, started_at=started_at, digest=digest)
            self._carry_out(hosted.slot.watcher, told)

    def _limit(self, watcher: str, run: Run) -> None:
        if handle := self._limits.pop((watcher, run.due), None):
            handle.cancel()
        limit_s = self._jobs[watcher].policy.time_limit_s
        if limit_s and run.started_at is not None:
            left_s = max(0.0, limit_s - max(0.0, clock.wall() - run.started_at))
            loop = asyncio.get_running_loop()
            self._limits[watcher, run.due] = loop.call_later(left_s, self._on_limit, watcher, run.due)

    def _on_limit(self, watcher: str, due: float) -> None:
        self._limits.pop((watcher, due), None)
        if (job := self._jobs.get(watcher)) is not None:
            self._carry_out(watcher, job.exceed(due))

    # Time ---------------------------------------------------------------------------------------------------

    def _next_due(self, watcher: str, job: Job) -> float | None:
        mark, due = self._next.get(watcher, (None, None))
        if mark != job.decided_until:
            due = job.next_due()
            self._next[watcher] = job.decided_until, due
        return due

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._may_decide:
            return  # what is due meanwhile would be due again and again
        dues = [self._next_due(name, job) for name, job in self._jobs.items() if job.is_active]
        coming = [due for due in dues if due is not None]
        if coming:
            delay_s = min(LOOK_S, max(0.0, min(coming) - clock.wall()) + EARLY_S)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.look)

    def look(self) -> None:
        """Something is due, or the clock of the wall may have been set."""
        self._timer = None
        for name in list(self._jobs):
            self._look(name)
        self._arm()

    @property
    def _may_decide(self) -> bool:
        return self._engine.is_started and not self._engine.fleet.is_ending

    def _look(self, watcher: str) -> None:
        if self._may_decide:
            self._carry_out(watcher, self._jobs[watcher].look(clock.wall()))

    def close(self) -> None:
        for handle in (*self._limits.values(), *([self._timer] if self._timer is not None else ())):
            handle.cancel()
        self._limits.clear()
        self._timer = None

    # What is decided ----------------------------------------------------------------------------------------

    def _carry_out(self, watcher: str, steps: list[Step]) -> None:
        name = watcher.lower()
        for step in steps:
            match step:
                case Note(run):
                    self._book.note(runbook.to_line(name, run))
                    self._tell(watcher, run)
                case Mark(at, is_active):
                    schedule = self._schedules[watcher]
                    self._book.note(runbook.mark_line(name, at, is_active=is_active, schedule=schedule))
                case End(run):
                    self._engine.give(partial(events.Kill, name=watcher, pid=run.pid))
                case Launch(run):
                    self._engine.begin(self._launch(watcher, run))
        if steps:
            self._engine.keeper.note(is_pressing=any(isinstance(step, Launch) for step in steps))

    async def _launch(self, watcher: str, run: Run) -> None:
        await self._engine.keeper.kept()
        job = self._jobs.get(watcher)
        if job is None or job.runs.get(run.due) is not run or self._engine.fleet.is_ending:
            return  # it was stopped meanwhile; or the next circusd finds that it has not begun
        self._engine.post(events.RunDue(watcher, run.is_by_hand))

    def _tell(self, watcher: str, run: Run) -> None:
        if run.state not in OPEN:
            if handle := self._limits.pop((watcher, run.due), None):
                handle.cancel()
            fields = {"due": run.due, "status": run.status, "reason": run.reason}
            if run.state is RunState.SKIPPED:
                fields = {"due": run.due, "count": run.count, "reason": run.reason}
            self._engine.publish(watcher, f"run_{run.state.value}", fields)
        for future in self._waiting.pop(watcher, ()):
            if not future.done():
                future.set_result(None)

    def _whole(self) -> Iterator[dict[str, Any]]:
        """All that is kept, also of jobs that are not in the configuration that is in force."""
        for watcher, job in self._jobs.items():
            name = watcher.lower()
            for run in job.runs.values():
                yield runbook.to_line(name, run)
            if job.decided_until:
                schedule = self._schedules[watcher]
                yield runbook.mark_line(name, job.decided_until, is_active=job.is_active, schedule=schedule)

    # What the doors ask -------------------------------------------------------------------------------------

    async def run(self, watcher: str, *, wait: bool) -> dict[str, object]:
        """Run it now; answered when it has begun, or with ``wait`` when it has ended.

        Raises: CircusError: conflict, when it runs already; operation-failed, when it could not begin.
        """
        job = self._jobs.get(watcher)
        if job is None:
            hint = "give it type = oneshot or a schedule"
            raise CircusError("bad-request", f"{watcher} is no job", hint)
        phase = self._engine.fleet.watchers[watcher].phase
        is_plain = job.next_after is None
        may_begin = (Phase.DOWN, Phase.UP) if is_plain else (Phase.DOWN, Phase.WAITING)
        if job.current is not None or phase not in may_begin or self._engine.fleet.is_ending:
            running = job.current
            what = f"{watcher} runs already" + (f": pid {running.pid}" if running and running.pid else "")
            raise CircusError("conflict", what, "wait until it has ended: `circusctl status -v`")
        if is_plain:
            return await self._run_plain(watcher, job, wait=wait)
        steps = job.order(clock.wall())
        due = next(step.run.due for step in steps if isinstance(step, Launch))
        self._carry_out(watcher, steps)
        run = await self._until(watcher, job, due, has_ended=wait)
        if run.started_at is None:
            raise CircusError("operation-failed", f"{watcher} did not run: {run.reason}")
        return runbook.shown(run)

    async def _run_plain(self, watcher: str, job: Job, *, wait: bool) -> dict[str, object]:
        known = set(job.runs)
        order = asyncio.ensure_future(self._engine.order(partial(events.Start, names=(watcher,))))
        self._orders.add(order)
        order.add_done_callback(self._orders.discard)
        begun: list[Run] = []
        while not begun and not order.done():
            news: list[asyncio.Future[Any]] = [order, self._news(watcher)]
            await asyncio.wait(news, return_when=asyncio.FIRST_COMPLETED)
            begun = [run for due, run in job.runs.items() if due not in known]
        if wait:
            finish = await order
            begun = [run for due, run in job.runs.items() if due not in known]
        if not begun:
            finish = await order
            raise CircusError("operation-failed", f"{watcher} did not run: {finish.error}")
        return runbook.shown(begun[-1])

    async def _until(self, watcher: str, job: Job, due: float, *, has_ended: bool) -> Run:
        run = job.runs[due]
        while True:
            news = self._news(watcher)
            run = job.runs.get(due, run)
            if run.state not in OPEN or (run.state is RunState.RUNNING and not has_ended):
                return run
            await news

    def _news(self, watcher: str) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(watcher, []).append(future)
        return future

    def runs(self, watcher: str) -> list[dict[str, object]]:
        """Oldest first."""
        job = self._jobs.get(watcher)
        return [] if job is None else [runbook.shown(run) for run in job.runs.values()]

    def shown(self, watcher: str) -> dict[str, object] | None:
        """None for a watcher that is no job."""
        job = self._jobs.get(watcher)
        if job is None:
            return None
        config = self._engine.configs[watcher]
        current, last = job.current, job.last
        return {
            "schedule": config.schedule,
            "timezone": config.job.timezone if config.job else None,
            "next_run": self._next_due(watcher, job) if job.is_active else None,
            "waiting": len(job.waiting),
            "current": None if current is None else runbook.shown(current),
            "last": None if last is None else runbook.shown(last),
        }
