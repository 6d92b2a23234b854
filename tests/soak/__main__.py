"""`python -m tests.soak [--restarts N] [--minutes M] [--hours H] [--seed S] [--json FILE]`: a soak, and its table."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.soak import course, report

#: Two hours with one restart each second.
RESTARTS = 7200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--restarts", type=int, default=RESTARTS, help="so many, as fast as they go (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=30, help="no longer than that (default: %(default)s)")
    parser.add_argument("--hours", type=float, help="that long, with a second between two orders")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="rows, counts and samples go there")
    args = parser.parse_args()
    given = {"restarts": args.restarts, "minutes": args.minutes}
    if args.hours is not None:
        given = {"restarts": sys.maxsize, "minutes": args.hours * 60, "pause_s": 1.0}
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    outcome = course.run(folder / "house", seed=args.seed, **given)
    print(report.table(outcome))
    if args.json:
        written = {"rows": list(report.rows(outcome)), "counts": outcome.counts, "faults": outcome.faults}
        args.json.write_text(json.dumps({**written, "samples": [asdict(each) for each in outcome.samples]}))
    if outcome.faults or report.grows(outcome):
        print(f"seed {args.seed}, kept in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
