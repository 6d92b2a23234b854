"""`python -m packages.papa.tests.instants [SCENE...] [--at CALL,NUMBER]`: every instant of these scenes, or of all."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from packages.papa.tests.instants import run, scenes, world


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m packages.papa.tests.instants", description=__doc__)
    parser.add_argument("scenes", nargs="*", choices=[*scenes.ALL, []], metavar="SCENE")
    parser.add_argument("--at", metavar="CALL,NUMBER", help="this one alone, as in renameat,2")
    parser.add_argument("--every", type=int, default=1, help="each so many calls only")
    options = parser.parse_args()
    broken: list[str] = []
    for name in options.scenes or scenes.ALL:
        folder = Path(tempfile.mkdtemp(prefix="papa-instants-", dir="/tmp"))
        os.environ["PAPA_RUNTIME_DIR"] = str(folder / "run")
        (folder / "children").mkdir(mode=0o755)
        started = time.monotonic()
        with world.opened(folder / "children") as place:
            if options.at:
                kind, _, number = options.at.partition(",")
                chosen = [(kind, int(number))]
            else:
                chosen = run.instants(place, name)[:: options.every]
            deaths, found = run.through(place, name, chosen)
        seconds = time.monotonic() - started
        print(f"{name}: {len(chosen)} instants, {deaths} deaths, {len(found)} broken, {seconds:.0f} s", flush=True)
        broken += found
    if broken:
        sys.exit("\n".join(broken))


if __name__ == "__main__":
    main()
