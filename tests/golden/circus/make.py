"""Writes what outlives a circusd, as this code writes it: ``python -m tests.golden.circus.make NUMBER``.

The folder of a number is made once and never again, as the kernel's: what circus has ever written it must understand
for ever. When a test says that what is written differs from the newest folder, a new number is due, and a format that
rises where an older circusd would misunderstand it. The folders 1 and 2 hold what was written before there were others.
"""

from __future__ import annotations

import sys
from pathlib import Path

from circus.config.amend import Amendment, Edits
from circus.engine.history import NAME, Exit, History
from circus.engine.memory import Memory
from circus.engine.runbook import Runbook, mark_line, to_line
from circus.supervise import recall
from circus.supervise.budget import Budget, Recollection
from circus.supervise.jobs import Run, RunState

FOLDER = Path(__file__).parent

FILE = "/etc/circus/circus.ini"

EDITS = Edits(
    options={"web": {"cmd": Amendment("run --fast é", "run"), "uid": Amendment("www", None)}},
    added={"New": {"cmd": "sleep 1"}},
    removed={"old": "d1ge57"},
)

STANDING = recall.Standing(
    (
        Recollection(1, Budget(short_lives=3), "ended with status 1; next attempt after 0.4 s", False, 100.25, 0.4),
        Recollection(2, Budget(deaths=(97.5, 99.0), pauses=2), "flapping", is_fatal=True),
        Recollection(3, Budget(failures=2, deaths=(90.0,), pauses=1)),
    ),
    "web.2: flapping",
)
#: With counts that are seldom there.
STANDING_OF_API = recall.Standing(
    (Recollection(1, Budget(excesses=2, setbacks=4), "gave up", is_fatal=True),), "gave up"
)
NOW, WALL = 100.0, 1_700_000_100.0

ENDED_BY_RULE = Exit(1_700_000_053.0, "api", 1, 4714, 1_700_000_050.0, -15, True, "memory 612M of 500M for 20 s")
#: A watcher that runs on with options that its file does not have any more: `api`, with `cmd = serve --old`.
FORMER = {
    "file": FILE,
    "config": "g6RuYW1lo2FwaaNjbWSrc2VydmUgLS1vbGSmZGlnZXN0pmNhMTFlZA==",
    "refused": "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c",
    "why": "api.3: ended with status 1",
}
EXITS = [
    Exit(1_700_000_050.25, "web", 1, 4711, 1_700_000_000.25, -9),
    Exit(1_700_000_051.0, "Jöb", 12, 4712, 1_700_000_050.5, 3, is_ordered=True),
    Exit(1_700_000_052.0, "web", 1, 4713, 1_700_000_050.0, None, is_ordered=None),
]


#: As they stand when all was noted that is noted of them.
RUNS = (
    Run(1_700_000_400.0, RunState.DONE, 1_700_000_400.01, False, 1_700_000_400.02, 1_700_000_401.5, 4714, 0,
        "ended with status 0", life="b00t:1", digest="0ff5e7"),
    Run(1_700_000_430.000001, RunState.FAILED, 1_700_000_430.0, True, 1_700_000_430.1, 1_700_000_490.1, 4715, -15,
        "ended, as it took longer than 60 s", "ended, as it took longer than 60 s", life="b00t:1", digest="0ff5e7"),
    Run(1_700_001_000.0, RunState.SKIPPED, 1_700_001_100.0, reason="missed", count=10),
    Run(1_700_001_060.0, RunState.STARTING, 1_700_001_060.0, life="b00t:1", digest="0ff5e7"),
)  # fmt: skip
MARK = 1_700_000_390.0
SCHEDULE = "* * * * * Europe/Berlin"


def write(folder: Path) -> None:
    memory = Memory(folder)
    memory.use(FILE)
    memory.remember_edits(EDITS, FILE)
    memory.remember_count("web", 4, 2)
    memory.remember_stopped({"db", "Job"}, stopped=True)
    memory.remember_left({"orphans"})
    memory.remember_standing("web", "0ff5e7", recall.to_json(STANDING, now=NOW, wall=WALL))
    memory.remember_standing("api", "ca11ed", recall.to_json(STANDING_OF_API, now=NOW, wall=WALL))
    memory.remember_former("api", FORMER)
    content = memory.take()
    assert content is not None
    memory.write(content)
    History(folder).write([*EXITS, ENDED_BY_RULE])
    assert (folder / NAME).exists()
    book = Runbook(folder)
    book.note(mark_line("backup", MARK, is_active=True, schedule=SCHEDULE))
    for run in RUNS:
        book.note(to_line("backup", run))
    taken = book.take()
    assert taken is not None
    book.write(taken)


def main() -> None:
    folder = FOLDER / str(int(sys.argv[1]))
    folder.mkdir()
    write(folder)
    print(folder)


if __name__ == "__main__":
    main()
