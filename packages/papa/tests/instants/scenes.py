"""What a kernel may be doing when it is killed: all scenes by their names."""

from __future__ import annotations

from packages.papa.tests.instants import ends, flows, others, starts
from packages.papa.tests.instants.scene import Scene

_SCENES: tuple[type[Scene], ...] = (
    starts.Spawn,
    starts.SpawnQuiet,
    starts.SpawnElsewhere,
    starts.SpawnForked,
    starts.SpawnAsUser,
    starts.Short,
    starts.ShortQuiet,
    starts.ShortAsUser,
    starts.ShortQuietAsUser,
    flows.Output,
    flows.Overflow,
    flows.Refill,
    flows.Commit,
    flows.Compaction,
    flows.Attach,
    ends.Remove,
    ends.RemoveDead,
    ends.Exit,
    ends.Killed,
    others.Listen,
    others.Unlisten,
    others.Greeting,
    others.Upgrade,
    others.Recovery,
)

ALL: dict[str, type[Scene]] = {scene.__name__: scene for scene in _SCENES}
