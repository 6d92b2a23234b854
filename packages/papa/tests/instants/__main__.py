"""Every instant of these scenes, or of all of them: `python -m packages.papa.tests.instants [SCENE...]`.

`Rebuild` is no scene: each instant has a world of its own, whose state directory is removed. Nor is `Many`: there a
kernel with 2000 processes is killed once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from packages.papa.tests.instants import many, rebuilding, run, scenes, world
from packages.papa.tests.instants.world import Broken, World


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m packages.papa.tests.instants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [*scenes.ALL, "Rebuild", "Many"]
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(names))
    parser.add_argument("--at", metavar="CALL,NUMBER", help="this instant alone, as in renameat,2")
    parser.add_argument("--every", type=int, default=1, help="each so many instants only")
    options = parser.parse_args()
    if unknown := set(options.scenes) - set(names):
        parser.error(f"there is no scene {', '.join(unknown)}")
    broken: list[str] = []
    for name in options.scenes or names:
        folder = Path(tempfile.mkdtemp(prefix="papa-instants-"))
        os.environ["PAPA_RUNTIME_DIR"] = str(folder / "run")
        started = time.monotonic()
        if name == "Rebuild":
            count, found = rebuilding.through(folder, options.every)
            said = f"{count} instants"
        else:
            (folder / "children").mkdir(mode=0o755)
            with world.opened(folder / "children") as place:
                said, found = _all_of_many(place) if name == "Many" else _all_of_scene(place, name, options)
        print(f"{name}: {said}, {len(found)} broken, {time.monotonic() - started:.0f} s", flush=True)
        broken += found
        if not found:
            shutil.rmtree(folder)
    if broken:
        sys.exit("\n".join(broken))


def _all_of_scene(place: World, name: str, options: argparse.Namespace) -> tuple[str, list[str]]:
    if options.at:
        kind, _, number = options.at.partition(",")
        chosen = [(kind, int(number))]
    else:
        chosen = run.instants(place, name)[:: options.every]
    deaths, broken = run.through(place, name, chosen)
    return f"{len(chosen)} instants, {deaths} deaths", broken


def _all_of_many(place: World) -> tuple[str, list[str]]:
    try:
        return f"{many.MANY} processes, served again after {many.survives(place, many.MANY):.2f} s", []
    except Broken as error:
        return f"{many.MANY} processes", [str(error)]


if __name__ == "__main__":
    main()
