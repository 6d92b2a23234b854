"""One measurement, all peers interleaved: every repetition goes through all of them, so that what else the machine does
hits all alike."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from bench.measurements import MEASUREMENTS
from bench.peers.base import Unmeasured
from bench.plan import Step
from bench.rows import Row, Rows


def measured(measurement: str, peer: str, options: argparse.Namespace) -> Iterator[Row]:
    """Its rows; of a peer that cannot take part one that says why. Who is interrupted ends what was started."""
    with closing(MEASUREMENTS[measurement].measure(peer, options)) as rows:
        try:
            yield from rows
        except Unmeasured as reason:
            yield {"skipped": str(reason)}


def run(steps: list[Step], rows: Rows, *, deadline: float, tell: Callable[[str], None]) -> bool:
    """Add to ``rows`` what they do not have yet; whether that was all by ``deadline`` (monotonic)."""
    for step in steps:
        options = step.options()
        for repetition in range(step.repeat):
            for peer in step.peers:
                if rows.has(step.name, repetition, peer):
                    continue
                if time.monotonic() > deadline:
                    return False
                began = time.monotonic()
                rows.all += _of_peer(step, peer, repetition, options)
                rows.write()
                taken_s = time.monotonic() - began
                tell(f"{step.name} {repetition + 1}/{step.repeat} {peer}: {taken_s:.1f} s{_trouble(rows.all[-1])}")
    return True


def _of_peer(step: Step, peer: str, repetition: int, options: argparse.Namespace) -> list[Row]:
    """A peer that fails is a row, too: the others are measured all the same."""
    began, load = time.monotonic(), round(os.getloadavg()[0], 2)
    found = []
    try:
        for row in measured(step.measurement, peer, options):
            found.append(row)  # noqa: PERF402 - what came before it failed is kept
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the others are measured
        found.append({"failed": f"{type(error).__name__}: {error}".splitlines()[0]})
    known = {"step": step.name, "peer": peer, "repetition": repetition}
    loads = {"load_before": load, "load_after": round(os.getloadavg()[0], 2)}
    whole = [{**known, **row, **loads} for row in found or [{"skipped": "no row"}]]
    # Of all of them together, so that the time of a run is their sum.
    whole[0]["took_s"] = round(time.monotonic() - began, 1)
    return whole


def _trouble(row: Row) -> str:
    return "".join(f", {word}: {row[word]}" for word in ("skipped", "failed") if word in row)
