"""The driver: `python -m bench MEASUREMENT [--peers A,B] [--repeat N] [options]`, or `python -m bench all`.

Peers are interleaved: every repetition goes through all of them, so that what else the machine does hits all
alike. Each result is a JSON row on standard output, and in bench/results.jsonl; medians come last. `all` runs the plan
and writes its rows and the report made of them; `report` makes the report anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from bench import plan, surroundings
from bench.driver import measured, run
from bench.measurements import MEASUREMENTS
from bench.report import page
from bench.rows import Rows
from bench.tools import BENCH, BUILD

PUBLISHED = BENCH.parent / "docs/benchmarks"

#: The Python that draws plots; `make bench` makes it.
DRAWING = BENCH.parent / ".venv-bench/bin/python"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    add_plan_arguments(commands.add_parser("all", help="Everything in the plan, and the report."))
    command = commands.add_parser("report", help="The report anew, from the rows that are there.")
    command.add_argument("--out", type=Path, default=PUBLISHED, help="folder of the rows and the report")
    for name, module in MEASUREMENTS.items():
        command = commands.add_parser(name, help=module.__doc__.strip().splitlines()[0])
        command.add_argument("--peers", default=",".join(module.DEFAULT_PEERS))
        command.add_argument("--repeat", type=int, default=3)
        module.add_arguments(command)
    options = parser.parse_args()
    # As after Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, _leave)
    match options.command:
        case "all":
            return run_plan(options)
        case "report":
            rows = Rows(options.out / "rows.jsonl")
            rows.read()
            if not rows.head:
                return _refuse(f"there is no {rows.path}: `python -m bench all` makes one")
            write_report(rows)
        case _:
            measure_one(options)
    return 0


def _leave(signum: int, _: FrameType | None) -> None:
    raise SystemExit(128 + signum)


# One measurement ------------------------------------------------------------------------------------------------


def measure_one(options: argparse.Namespace) -> None:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with (BENCH / "results.jsonl").open("a") as results:
        for repetition in range(options.repeat):
            for peer in options.peers.split(","):
                for row in measured(options.command, peer, options):
                    whole = {"measurement": options.command, "peer": peer, "repetition": repetition, **row}
                    whole["python"], whole["kernel"] = platform.python_version(), platform.release()
                    print(json.dumps(whole), flush=True)
                    print(json.dumps(whole), file=results, flush=True)
                    found[f"{peer} {row.get('what', '')}".strip()].append(row)
    for who, of_peer in found.items():
        numbers: dict[str, list[float]] = defaultdict(list)
        for row in of_peer:
            for key, value in row.items():
                if isinstance(value, int | float):
                    numbers[key].append(value)
        medians = {key: statistics.median(values) for key, values in numbers.items()}
        print(f"median of {len(of_peer)}: {who}: {json.dumps(medians)}", file=sys.stderr)


# The plan -------------------------------------------------------------------------------------------------------


def add_plan_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--quick", action="store_true", help="small sizes, once, in minutes: to see that all works")
    command.add_argument(
        "--out", type=Path, help="folder of the rows and the report; a quick run has one in bench/build"
    )
    command.add_argument(
        "--resume", action="store_true", help="keep the rows that are there, and measure what is missing"
    )
    command.add_argument(
        "--only", metavar="STEPS", default="", help="measure these anew, by commas, and keep all other rows"
    )
    command.add_argument("--limit", type=float, default=60, metavar="MINUTES", help="begin nothing after so long")
    command.add_argument("--list", action="store_true", help="show the plan, and how long it takes")


def run_plan(options: argparse.Namespace) -> int:
    name = "quick" if options.quick else "full"
    steps, bound_s = plan.PLANS[name]
    if options.list:
        for step in steps:
            print(f"{step.name:12} {step.repeat} x {step.seconds:4} s  {step.measurement} {step.arguments}")
        print(f"{plan.expected_s(steps) / 60:.0f} minutes on two quiet processors, {bound_s // 60} at most")
        return 0
    try:
        steps = plan.chosen(steps, options.only)
    except ValueError as error:
        return _refuse(str(error))
    rows = Rows((options.out or (BUILD / "quick" if options.quick else PUBLISHED)) / "rows.jsonl")
    facts = surroundings.machine_facts()
    if options.resume or options.only:
        rows.read()
        if rows.head and (rows.head["plan"], rows.head["machine"]) != (name, facts):
            return _refuse(f"{rows.path} is of another plan or machine: run it whole, or choose another --out")
        if not options.resume:
            for step in steps:
                rows.forget(step.name)
    began = time.monotonic()
    tell(f"{plan.expected_s(steps) / 60:.0f} minutes if nothing else runs here")
    if not rows.head:
        names = dict.fromkeys(peer for step in plan.PLANS[name][0] for peer in step.peers)
        rows.head = {
            "plan": name,
            "began_at": datetime.now(UTC).isoformat(timespec="minutes"),
            "machine": facts,
            "peers": surroundings.peers(list(names)),
        }
    is_whole = run(steps, rows, deadline=began + options.limit * 60, tell=tell)
    write_report(rows)
    tell(f"took {(time.monotonic() - began) / 60:.1f} minutes: {rows.path.parent / page.NAME}")
    if not is_whole:
        return _refuse(f"the {options.limit:g} minutes are over, some is missing: --resume goes on")
    return 0


def tell(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _refuse(text: str) -> int:
    tell(text)
    return 1


def write_report(rows: Rows) -> None:
    folder = rows.path.parent
    (folder / page.NAME).write_text(page.render(rows.head, rows.all))
    if not DRAWING.exists():
        tell(f"no plots are drawn: there is no {os.path.relpath(DRAWING)}, which `make bench` makes")
        return
    subprocess.run([DRAWING, "-m", "bench.report.plots", rows.path, folder], cwd=BENCH.parent, check=True)


if __name__ == "__main__":
    sys.exit(main())
