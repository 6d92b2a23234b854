"""What to do with the processes that an earlier manager left in the kernel: a plan, made before anything is
touched.

Compared are the watchers of the configuration and the survivors. Each survivor goes into exactly one list of
the plan:

- *foreign*: it belongs to another configuration file; never touched.
- *ended*: it ended while nobody was there; its exit is to be acknowledged.
- *vanished*: it runs, and our file has no such watcher any more.
- *surplus*: it runs, and there are too many of its watcher: the newest stay.
- *drifted*: it runs, and was started with other options than the file has now.
- *keep*: it runs, and is what the file says.

Kept, drifted and surplus ones are all to be given to the fleet as adopted (it ends the surplus with the
watcher's own signal, hooks and grace); so their watcher is spelled as in the configuration, and no two of a
watcher have the same wid.

Does not belong here: asking the kernel, applying the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace


class Survivor(Struct, frozen=True):
    """What the kernel tells of a process that a manager started."""

    kernel_id: int
    name: str  # in the kernel
    watcher: str
    wid: int
    pid: int
    running: bool
    digest: str
    config_path: str
    started_at: float  # wall clock
    use_papa: bool


class AdoptionPlan(Struct, frozen=True):
    keep: tuple[Survivor, ...] = ()
    drifted: tuple[Survivor, ...] = ()
    surplus: tuple[Survivor, ...] = ()
    vanished: tuple[Survivor, ...] = ()
    foreign: tuple[Survivor, ...] = ()
    ended: tuple[Survivor, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"{name} {survivor.watcher}.{survivor.wid} pid={survivor.pid}"
            for name in ("keep", "drifted", "surplus", "vanished", "foreign", "ended")
            for survivor in getattr(self, name)
        ]
        return "\n".join(lines) if lines else "nothing to adopt"


def plan_adoption(
    configs: Mapping[str, tuple[str, int]], survivors: Sequence[Survivor], *, config_path: str
) -> AdoptionPlan:
    """``configs`` has digest and number of processes of each watcher of the file at ``config_path``."""
    spelled = {name.lower(): name for name in configs}
    foreign = [each for each in survivors if each.config_path != config_path]
    ours = [each for each in survivors if each.config_path == config_path]
    running = [each for each in ours if each.running]
    running_of: dict[str, list[Survivor]] = {name: [] for name in configs}
    for each in running:
        if (name := spelled.get(each.watcher.lower())) is not None:
            running_of[name].append(each)
    keep: list[Survivor] = []
    drifted: list[Survivor] = []
    surplus: list[Survivor] = []
    for name, (digest, numprocesses) in configs.items():
        newest_first = sorted(running_of[name], key=lambda each: (-each.started_at, each.wid))
        settled = _with_own_wids([replace(each, watcher=name) for each in newest_first])
        for rank, each in enumerate(settled):
            if rank >= numprocesses:
                surplus.append(each)
            elif each.digest == digest:
                keep.append(each)
            else:
                drifted.append(each)
    return AdoptionPlan(
        keep=_in_order(keep),
        drifted=_in_order(drifted),
        surplus=_in_order(surplus),
        vanished=_in_order(each for each in running if each.watcher.lower() not in spelled),
        foreign=_in_order(foreign),
        ended=_in_order(each for each in ours if not each.running),
    )


def _with_own_wids(survivors: list[Survivor]) -> list[Survivor]:
    """The first of those with one wid keeps it, the others get wids that nobody has."""
    seen: set[int] = set()
    taken = {each.wid for each in survivors}
    settled: list[Survivor] = []
    for each in survivors:
        if each.wid in seen:
            each = replace(each, wid=max(taken) + 1)
            taken.add(each.wid)
        seen.add(each.wid)
        settled.append(each)
    return settled


def _in_order(survivors: Iterable[Survivor]) -> tuple[Survivor, ...]:
    return tuple(sorted(survivors, key=lambda each: (each.watcher, each.wid, each.kernel_id)))
