"""`python -m tests.chaos [--seed N] [--seconds S]`: run one seed, or fresh ones until the time is over."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--steps", type=int, default=30, help="in each run")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    while True:
        seed = options.seed if options.seed is not None else random.randrange(1 << 32)
        print(f"seed {seed}", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="papa-chaos-", dir="/tmp"))
        broken = run.run(folder, seed, steps=options.steps, say=print)
        if broken:
            sys.exit("\n".join([f"seed {seed} broke, its folder is {folder}:", *broken]))
        if options.seed is not None or time.monotonic() > deadline:
            break


if __name__ == "__main__":
    main()
