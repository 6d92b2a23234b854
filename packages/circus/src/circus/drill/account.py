"""What became of processes, connections and bytes, and whether the promise held: pure, values in, values out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: A watcher of which a process ended by itself within this before the drill is one whose processes end.
RESTLESS_S = 600.0

#: The wall clock of the kernel's record, and ours.
SAME_MOMENT_S = 1.0


@dataclass(frozen=True, slots=True)
class Process:
    """One that the kernel hosts. ``watcher`` is empty where it is none of this circusd's."""

    kernel_id: int
    name: str
    watcher: str
    pid: int
    start_ticks: int
    is_job: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """A process that runs no more, and why, in words."""

    name: str
    pid: int
    why: str


@dataclass(slots=True)
class Fates:
    """``affected``: by the drill, as far as anybody can tell. ``ended``: who ended for another reason."""

    total: int = 0
    affected: list[Gone] = field(default_factory=list)
    ended: list[Gone] = field(default_factory=list)


def fates(
    before: Sequence[Process],
    alive: Collection[tuple[int, int]],
    exits: Mapping[str, Sequence[Mapping[str, Any]]],
    began_at: float,
) -> Fates:
    """Who of ``before`` is not among ``alive`` (pid and start), and why.

    ``exits``: of the watchers, as circusd remembers them; ``began_at``: the first kill, wall clock.
    """
    found = Fates(len(before))
    for process in before:
        if (process.pid, process.start_ticks) in alive:
            continue
        why, is_ours = _why(process, exits.get(process.watcher, ()), began_at)
        (found.affected if is_ours else found.ended).append(Gone(process.name, process.pid, why))
    return found


def _why(process: Process, exits: Sequence[Mapping[str, Any]], began_at: float) -> tuple[str, bool]:
    own = [each for each in exits if each["pid"] == process.pid and each["at"] > began_at - RESTLESS_S]
    if not own:
        return "it is gone, and nobody knows how it ended", True
    end = own[-1]
    how = f"ended by {end['signal']}" if end["signal"] else f"ended with status {end['status']}"
    if end["status"] is None:
        how = "ended, nobody knows how"
    if end["at"] < began_at - SAME_MOMENT_S:
        return f"{how} before anything was done", False
    if end["signal"] == "SIGPIPE":
        return f"{how}: it wrote, and nobody held the other end", True
    if end["ordered"]:
        return f"{how}, as was ordered", False
    if process.is_job:
        return f"{how}: it is a job", False
    earlier = [each for each in exits if began_at - RESTLESS_S < each["at"] < began_at - SAME_MOMENT_S]
    if any(not each["ordered"] for each in earlier):
        return f"{how}, as others of its watcher in the {RESTLESS_S / 60:g} minutes before", False
    return how, True


@dataclass(slots=True)
class Connections:
    """Of one socket. ``held``: connections that were open all the time; ``closed``: by the server, in good order."""

    socket: str
    held: int = 0
    dropped: int = 0
    closed: int = 0
    tried: int = 0
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


def blamed(connections: list[Connections], found: Fates) -> list[Connections]:
    """With a process that was affected, the connections that its death has closed are dropped ones."""
    if found.affected:
        for each in connections:
            each.dropped, each.closed = each.dropped + each.closed, 0
    return connections


@dataclass(slots=True)
class Output:
    """Of one log file, or of streams that go elsewhere: ``why`` says why their bytes were not compared.

    ``taken``: bytes that the kernel took from its streams during the drill; ``dropped``: that it gave up; the others as
    in `texts.Tally`.
    """

    name: str
    streams: int
    taken: int = 0
    compared: int = 0
    lost: int = 0
    doubled: int = 0
    dropped: int = 0
    unseen: int = 0
    said: int = 0
    why: str = ""


@dataclass(slots=True)
class Round:
    """One kill, or one upgrade. ``away_s``: nobody answered; ``held_s``: until every process was held again. None: not
    within the patience. ``by``: who started it again."""

    what: str
    pid: int
    by: str
    successor: int | None = None
    away_s: float | None = None
    held_s: float | None = None


@dataclass(slots=True)
class Result:
    fates: Fates
    descendants: int
    descendants_gone: int
    connections: list[Connections]
    outputs: list[Output]
    rounds: list[Round]

    @property
    def problems(self) -> list[str]:
        """What was not as promised."""
        told = [f"{gone.name} (pid {gone.pid}) {gone.why}" for gone in self.fates.affected]
        for each in self.connections:
            if each.dropped:
                told.append(f"{each.socket}: {each.dropped} of {each.held} held connections were dropped")
            if each.failed:
                why = ", ".join(f"{count} {reason}" for reason, count in sorted(each.reasons.items()))
                told.append(f"{each.socket}: {each.failed} of {each.tried} new connections failed ({why})")
        for output in self.outputs:
            if output.lost:
                told.append(f"{output.name}: {output.lost} bytes are lost")
            if output.doubled:
                told.append(f"{output.name}: {output.doubled} bytes stand there that were not written, or not twice")
        for turn in self.rounds:
            if turn.successor is None:
                told.append(f"{turn.what} {turn.pid}: nobody took its place in time")
            elif turn.held_s is None:
                told.append(f"{turn.what} {turn.pid}: not every process was held again in time")
        return told

    @property
    def has_held(self) -> bool:
        return not self.problems
