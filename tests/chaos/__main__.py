"""`python -m tests.chaos [--world W] [--seed N | --scenario FILE] [--seconds S]`: one, or fresh ones until then."""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos import run, scenario
from tests.stack import ordinary


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--world", choices=[*scenario.WEIGHTS, "all"], default="house")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--scenario", type=Path, help="what is written in this file, and nothing else")
    parser.add_argument("--seconds", type=float, default=3600, help="no new seed after this")
    parser.add_argument("--steps", type=int, default=30, help="in each run")
    parser.add_argument(
        "--kills",
        type=int,
        help="of the kernel, or of circusd where files are compared, in all runs together; then it is enough",
    )
    parser.add_argument("--size", type=int, default=100, help="writers, where the kernel is alone")
    parser.add_argument(
        "--variant",
        default="plain",
        help="of the files that are compared: some of stamped, json, timed, compressed (with commas)",
    )
    parser.add_argument("--ordinary", action="store_true", help=f"as uid {ordinary.UID}, the kernel's world only")
    options = parser.parse_args()
    if options.ordinary:
        become_ordinary([word for word in sys.argv[1:] if word != "--ordinary"])
    deadline = time.monotonic() + options.seconds
    counts: Counter[str] = Counter()
    began = time.monotonic()
    for number in itertools.count():
        chosen = scenario.read(options.scenario) if options.scenario else choose(options, number)
        print(str(chosen).splitlines()[len(chosen.about)], flush=True)
        folder = Path(tempfile.mkdtemp(prefix="papa-chaos-", dir="/tmp"))
        left = None if options.kills is None else options.kills - counts["kills"]
        broken = run.run(folder, chosen, kills=left, say=lambda line: print(line, flush=True), counts=counts)
        print(f"after {time.monotonic() - began:.0f} s: {dict(sorted(counts.items()))}", flush=True)
        if broken:
            sys.exit("\n".join([f"it broke; {folder / 'scenario.txt'} has what happened:", *broken]))
        is_enough = time.monotonic() > deadline if left is None else counts["kills"] >= options.kills
        if options.scenario or options.seed is not None or is_enough:
            break


def choose(options: argparse.Namespace, number: int) -> scenario.Scenario:
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    world, steps, variants = options.world, options.steps, options.variant.split(",")
    if world == "all":
        world, steps, variants = scenario.ROUND[number % len(scenario.ROUND)]
    return scenario.Scenario.of(seed, steps, world=world, size=options.size, variants=variants)


def become_ordinary(words: list[str]) -> None:
    """Runs this very program as a user without privileges, from a place that such a user may read; never returns."""
    if problem := ordinary.problem():
        sys.exit(problem)
    folder = Path(tempfile.mkdtemp(prefix="papa-ordinary-", dir="/tmp"))
    folder.chmod(0o755)
    ordinary.install(folder)
    for path in (
        "tests/__init__.py",
        "tests/chaos",
        "tests/stack/__init__.py",
        "tests/stack/ordinary.py",
        "bench/__init__.py",
        "bench/machine.py",
    ):
        source, target = ordinary.ROOT / path, folder / "lib" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    pid = os.fork()
    if pid == 0:
        os.chdir("/")
        os.setgroups([])
        os.setgid(ordinary.UID)
        os.setuid(ordinary.UID)
        os.execve(
            ordinary.PYTHON,
            [str(ordinary.PYTHON), "-B", "-m", "tests.chaos", *words],
            {"PATH": os.defpath, "PYTHONPATH": str(folder / "lib")},
        )
    _, status = os.waitpid(pid, 0)
    shutil.rmtree(folder)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
