"""`make inventory`: ignores each option of the table in turn, and demands that the test that is named for it fails.

First all of these tests run with nothing ignored, and must pass. Then one run of pytest for each row, two at a time;
``INVENTORY_ARGS="watcher.* socket.port"`` takes some rows.
"""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.house import ROOT
from tests.inventory.table import ROWS

#: A test that only notices by a fact that does not come takes some times `ignoring.PATIENCE_S`.
LIMIT_S = 240

#: What pytest ends with when it ran what it was told to, and a test failed.
FAILED = 1


def run(ignored: str, *tests: str) -> tuple[int, str]:
    """pytest's exit status, and what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.inventory.ignoring", *tests]
    environ = {**os.environ, "CIRCUS_IGNORED": ignored, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return -1, f"no end within {LIMIT_S} s"
    return done.returncode, done.stdout + done.stderr


def main(patterns: list[str]) -> int:
    chosen = {row: test for row, test in ROWS.items() if not patterns or _is_meant(row, patterns)}
    status, said = run("nothing", *dict.fromkeys(chosen.values()))
    if status:
        print(said)
        print("with nothing ignored the tests do not pass")
        return 1
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        for row, (status, said) in zip(chosen, pool.map(run, chosen, chosen.values()), strict=True):
            print(f"{'noticed' if status == FAILED else 'MISSED '}  {row}", flush=True)
            if status != FAILED:
                missed += 1
                print(f"  {chosen[row]} ended with {status}\n{said}")
    print(f"{len(chosen) - missed} of {len(chosen)} options are noticed when they are ignored")
    return 1 if missed else 0


def _is_meant(row: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(row.replace(" ", "."), pattern) for pattern in patterns)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
