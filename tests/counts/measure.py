"""Everything that is counted, by name; run in a world of its own, where there are no other processes.

Who stops a process looks at all of the machine's. So all of it runs in a PID namespace, whose end also leaves nobody.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.counts import counting, scenes
from tests.counts.scenes import Scenes
from tests.house import BIN, ROOT

#: A whole measurement on a busy machine.
BOUND_S = 500.0

#: Becomes the first process of the namespace, and reaps.
_FIRST = '"$@"; exit $?'

#: Says which interpreter it is, better than its version: how it was compiled makes a fifth.
INTERPRETER = "interpreter: a loop of its own"
LOOP = "for number in range(10_000): str(number).encode()"


def measured(kind: str) -> dict[str, dict[str, int]]:
    """unit -> name -> count; ``kind`` is one of KINDS.

    Raises: RuntimeError, when they cannot be counted.
    """
    folder = tempfile.mkdtemp(prefix="counts-")
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    own = ["unshare", *user, "--pid", "--fork", "--mount-proc", "--kill-child", "/bin/sh", "-c", _FIRST, "sh"]
    # What differs between two runs of one interpreter, or from one shell to the next.
    environ = {"PATH": os.environ["PATH"], "HOME": folder, "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(
            [*own, sys.executable, "-m", __name__, kind, folder],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
        )
        if done.returncode:
            raise RuntimeError(f"cannot count {kind} (status {done.returncode}): {done.stdout}{done.stderr}")
        return dict(json.loads(done.stdout.splitlines()[-1]))
    finally:
        shutil.rmtree(folder)


def interpreter(folder: Path) -> int:
    """Instructions of a loop that has nothing to do with us."""
    # Not isolated (-I), which would choose its hashes by chance: that alone makes one percent.
    return counting.instructions_of([sys.executable, "-S", "-c", LOOP], {"HOME": str(folder), "PYTHONHASHSEED": "0"})


def _calls(folder: Path) -> dict[str, dict[str, int]]:
    with scenes.opened(folder, counting.system_calls) as stage:
        counts = _counts(stage)
        program = counting.system_calls_of([str(BIN / "circusctl"), "status"], stage.house.environ)
        wakeups = stage.wakeups()
    counts |= {"status: circusctl": program}
    return {"system calls": counts, "wake-ups": {"idle for 3 s: papa and circusd": wakeups}}


def _instructions(folder: Path) -> dict[str, dict[str, int]]:
    callgrind = counting.Callgrind(folder)
    opened = scenes.opened(folder, callgrind.instructions, runner=callgrind.words, PAPA_FORCE_TIER="portable")
    with opened as stage:
        counts = _counts(stage)
        program = counting.instructions_of([str(BIN / "circusctl"), "status"], stage.house.environ)
    counts |= {"status: circusctl": program, INTERPRETER: interpreter(folder)}
    return {"instructions": counts}


def _counts(stage: Scenes) -> dict[str, int]:
    counts: dict[str, int] = {}
    spawn = stage.spawn()
    counts["spawn: papa"] = spawn.own
    if spawn.of_children:
        counts["spawn: the child, until its exec"] = spawn.of_children
    counts["restart: papa"], counts["restart: circusd"] = (count.own for count in stage.restart())
    counts["status: circusd"] = stage.status().own
    for name, what in (("plain", "1 MiB of output"), ("timed", "1 MiB of output with times")):
        counts[f"{what}: papa"], counts[f"{what}: circusd"] = (count.own * scenes.CHUNKS for count in stage.log(name))
    return counts


KINDS = {"calls": _calls, "instructions": _instructions}


if __name__ == "__main__":
    kind, folder = sys.argv[1:]
    print(json.dumps(KINDS[kind](Path(folder))))
