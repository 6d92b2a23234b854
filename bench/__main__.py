"""The driver: `python -m bench MEASUREMENT [--peers A,B] [--repeat N] [options]`.

Peers are interleaved: every repetition goes through all of them, so that what else the machine does hits all
alike. Each result is a JSON row on standard output, and in bench/results.jsonl; medians come last.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections import defaultdict
from typing import Any

from bench.measurements import MEASUREMENTS
from bench.tools import BENCH


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="measurement", required=True)
    for name, module in MEASUREMENTS.items():
        command = commands.add_parser(name, help=module.__doc__.strip().splitlines()[0])
        command.add_argument("--peers", default=",".join(module.DEFAULT_PEERS))
        command.add_argument("--repeat", type=int, default=3)
        module.add_arguments(command)
    options = parser.parse_args()
    module = MEASUREMENTS[options.measurement]
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with (BENCH / "results.jsonl").open("a") as results:
        for repetition in range(options.repeat):
            for peer in options.peers.split(","):
                for row in module.measure(peer, options):
                    whole = {
                        "measurement": options.measurement,
                        "peer": peer,
                        "repetition": repetition,
                        **row,
                    }
                    whole["python"], whole["kernel"] = platform.python_version(), platform.release()
                    print(json.dumps(whole), flush=True)
                    print(json.dumps(whole), file=results, flush=True)
                    rows[f"{peer} {row.get('what', '')}".strip()].append(row)
    for who, measured in rows.items():
        medians = {
            key: statistics.median(row[key] for row in measured)
            for key, value in measured[0].items()
            if isinstance(value, int | float)
        }
        print(f"median of {len(measured)}: {who}: {json.dumps(medians)}", file=sys.stderr)


if __name__ == "__main__":
    main()
