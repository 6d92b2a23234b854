"""A scheduled job whose circusd is killed at any point, on a machine whose clock is set and which is started anew.

What must hold: each instant of the schedule has run exactly once, or it is told why it has not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from circus.supervise.jobs import OPEN, End, Job, JobPolicy, Launch, Mark, Note, Run, RunState, Step

SEEDS = 1000
EVERY_S = 10.0
BEGIN = 1000.0


def every_ten(after: float) -> float:
    return (after // EVERY_S + 1) * EVERY_S


class Killed(Exception):
    """SIGKILL of circusd."""


@dataclass
class Process:
    due: float
    pid: int
    started_at: float
    status: int | None = None
    has_ended: bool = False


@dataclass
class World:
    rng: random.Random
    policy: JobPolicy
    now: float = BEGIN
    boots: int = 1
    mark: tuple[float, bool] = (0.0, False)  # on the disk, as the next two
    runs: dict[float, Run] = field(default_factory=dict)
    unwritten: list[Step] = field(default_factory=list)
    kernel: list[Process] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)  # what really ran
    settled: set[float] = field(default_factory=set)
    may_kill: bool = True

    def __post_init__(self) -> None:
        self.job = self.start()
        self.carry_out(self.job.activate(self.now))
        self.write()

    def start(self) -> Job:
        """A new circusd."""
        self.unwritten.clear()
        self.job = job = Job(self.policy, every_ten, life=f"boot {self.boots}")
        job.runs, (job.decided_until, job.is_active) = dict(self.runs), self.mark
        for process in self.kernel:
            if not process.has_ended:
                self.carry_out(job.begun(process.due, process.pid, process.started_at, digest=""))
        for process in [each for each in self.kernel if each.has_ended]:
            self.tell_end(process)
        self.carry_out(job.settle({process.due for process in self.kernel}, self.now))
        job.is_open = not self.kernel
        return job

    def maybe_killed(self) -> None:
        if self.may_kill and self.rng.random() < 0.1:
            raise Killed

    def write(self) -> None:
        for step in self.unwritten:
            if isinstance(step, Note):
                self.runs[step.run.due] = step.run
                if not step.run.is_by_hand:
                    self.mark = max(self.mark[0], step.run.due), self.mark[1]
            elif isinstance(step, Mark):
                self.mark = step.at, step.is_active
        self.unwritten.clear()

    def carry_out(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case Note() | Mark():
                    self.unwritten.append(step)
                case Launch(run):
                    self.maybe_killed()
                    self.write()
                    self.maybe_killed()
                    self.spawn(run)
                case End(run):
                    self.maybe_killed()
                    for process in self.kernel:
                        if process.due == run.due and not process.has_ended:
                            process.has_ended, process.status = True, self.rng.choice([0, -15])
        if self.rng.random() < 0.5:
            self.write()

    def spawn(self, run: Run) -> None:
        assert not self.kernel, "two at a time"
        process = Process(run.due, len(self.begun), self.now)
        self.begun.append(run.due)
        self.kernel.append(process)
        self.job.is_open = False
        self.maybe_killed()
        self.carry_out(self.job.begun(run.due, process.pid, self.now, digest=""))

    def tell_end(self, process: Process) -> None:
        facts = {"pid": process.pid, "started_at": process.started_at, "digest": ""}
        told = self.job.ended(process.due, process.status, self.now, **facts)
        self.carry_out(told)
        self.maybe_killed()
        self.write()
        self.maybe_killed()
        self.kernel.remove(process)

    # What happens -------------------------------------------------------------------------------------------

    def play(self, steps: int) -> None:
        for _ in range(steps):
            try:
                self.happen(self.rng.choice(["look"] * 8 + ["end"] * 4 + ["kill", "away", "back", "boot", "by hand"]))
            except Killed:
                self.restart()
            self.check()

    def restart(self) -> None:
        while True:
            try:
                self.job = self.start()
                return
            except Killed:
                continue

    def happen(self, what: str) -> None:
        job, rng = self.job, self.rng
        self.now += rng.choice([0.0, 1.0, 5.0, 12.0, 25.0])
        match what:
            case "look":
                self.carry_out(job.look(self.now))
            case "end" if self.kernel:
                process = self.kernel[0]
                process.has_ended, process.status = True, rng.choice([0, 0, 1, -9])
                self.tell_end(process)
                job.is_open = True
                self.carry_out(job.look(self.now))
            case "kill":
                raise Killed
            case "away":
                self.now += rng.choice([30.0, 500.0])
                raise Killed
            case "back":
                self.now -= rng.choice([5.0, 500.0])
            case "boot":
                self.boots += 1
                self.kernel.clear()
                self.now += 100.0
                raise Killed
            case "by hand" if job.current is None and job.is_open:
                self.carry_out(job.order(self.now))

    # What holds ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        assert len(self.begun) == len(set(self.begun)), "an instant ran twice"
        running = [run for run in self.job.runs.values() if run.state in (RunState.STARTING, RunState.RUNNING)]
        assert len(running) <= 1
        for process in self.kernel:
            assert process.has_ended or self.job.runs[process.due].state is RunState.RUNNING, "what runs is not known"

    def instants(self) -> Iterator[float]:
        at = every_ten(BEGIN)
        while at <= self.job.decided_until:
            yield at
            at = every_ten(at)

    def end(self) -> None:
        """Everything comes to rest; then the books are compared with what was."""
        self.may_kill = False
        self.now = max(self.now, self.job.decided_until)
        self.restart()
        for _ in range(10_000):
            self.carry_out(self.job.look(self.now))
            if not self.kernel:
                break
            for process in list(self.kernel):
                process.has_ended, process.status = True, 0
                self.tell_end(process)
            self.job.is_open = True
        self.check()
        runs = self.job.runs.values()
        assert not any(run.state in OPEN for run in runs), "something never ended"
        skipped = [run for run in runs if run.state is RunState.SKIPPED]
        ran = {run.due for run in runs if run.state in (RunState.DONE, RunState.FAILED) and not run.is_by_hand}
        for run in skipped:
            assert run.due not in self.begun, "what is told to be skipped ran"
            assert run.reason
        instants = list(self.instants())
        assert ran <= set(instants)
        assert {due for due in self.begun if due in instants and due not in self.by_hand} <= ran
        assert len(ran) + sum(run.count for run in skipped) == len(instants), "an instant is lost, or told twice"
        assert all(run.reason for run in runs if run.due in ran - set(self.begun)), "no reason why it did not run"

    @property
    def by_hand(self) -> set[float]:
        return {run.due for run in self.job.runs.values() if run.is_by_hand}


def tell_story(seed: int) -> World:
    rng = random.Random(seed)
    policy = JobPolicy(
        overlap=rng.choice(["skip", "queue", "replace"]), missed=rng.choice(["skip", "once", "all"]), history=1_000_000
    )
    world = World(rng, policy, may_kill=False)
    world.may_kill = True
    try:
        world.play(rng.choice([20, 80]))
        world.end()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return world


@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_each_instant_runs_once_or_it_is_told_why_not(first: int) -> None:
    worlds = [tell_story(seed) for seed in range(first, first + 100)]
    assert any(world.begun for world in worlds)


def test_the_stories_have_everything_in_them() -> None:
    runs = [run for seed in range(100) for run in tell_story(seed).job.runs.values()]
    told = " ".join({run.reason for run in runs})
    for what in ("missed", "not over", "replaced", "nobody knows", "ended for the next run", "status 0"):
        assert what in told
