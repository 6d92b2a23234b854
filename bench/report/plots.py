"""The plots of the report: `python -m bench.report.plots ROWS FOLDER`, under the Python of .venv-bench.

The same rows make the same bytes, so that a change of a plot is a change of what was measured.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "bench",
        "svg.fonttype": "none",  # text stays text: small files
        "font.size": 9,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.axisbelow": True,
    }
)

from matplotlib import pyplot  # noqa: E402 - the backend is chosen before
from matplotlib.axes import Axes  # noqa: E402

from bench.report.figures import Question, Row, key, peers_of, sizes_of, stem  # noqa: E402
from bench.report.tables import LIMITS, OURS  # noqa: E402

#: Limits are shown where they are some.
PANELS = (
    (("start", "growth"), "start_s", "start, s"),
    (("growth",), "cpu_percent", "idle, % of a processor"),
    (("growth",), "pss_mb", "idle, PSS in MB"),
    (("growth",), "status_ms", "status, ms"),
    (("growth",), "respawn_ms", "respawn, ms"),
    (("growth",), "sample_ms", "one sample, ms of processor"),
)

LIMITED = ("start_s", "respawn_ms")

#: Below this a share of a processor is nothing.
LEAST_PERCENT = 0.01

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999933", "#666666", "#332288", "#117733")
MARKERS = "osv^D<>Pp*"


def main() -> None:
    rows_path, folder = map(Path, sys.argv[1:])
    _, *rows = map(json.loads, rows_path.read_text().splitlines())
    growth(rows, folder / "growth.svg")
    throughput(rows, folder / "throughput.svg")


def growth(rows: list[Row], path: Path) -> None:
    """Each cost by the number of processes, both axes by powers of ten."""
    figure, panels = pyplot.subplots(2, 3, figsize=(11, 6.4), layout="constrained")
    peers = peers_of(row for row in rows if stem(row["step"]) in ("start", "growth"))
    for axes, (steps, value, title) in zip(panels.flat, PANELS, strict=True):
        for at, peer in enumerate(peers):
            points = [
                (size, found.median)
                for size in sizes_of(rows, steps)
                if (found := Question(steps, key(value), (("children", size),)).answer(rows, peer)) is not None
            ]
            if points and (peer not in LIMITS or value in LIMITED):
                _line(axes, points, at, peer)
        axes.set_title(title)
        axes.set_xscale("log")
        if value == "cpu_percent":
            axes.set_yscale("symlog", linthresh=LEAST_PERCENT)
            axes.set_ylim(bottom=-LEAST_PERCENT / 2)
        else:
            axes.set_yscale("log")
        sizes = sizes_of(rows, steps)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda number, _: f"{number:g}")
        axes.set_xlabel("processes")
    handles = {
        label: handle for axes in panels.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    _save(figure, path)


def _line(axes: Axes, points: list[tuple[int, float]], at: int, peer: str) -> None:
    axes.plot(
        *zip(*points, strict=True),
        color="black" if peer in LIMITS else COLOURS[at % len(COLOURS)],
        linestyle=":" if peer in LIMITS else "-",
        linewidth=2.2 if peer == OURS else 1.1,
        marker=MARKERS[at % len(MARKERS)],
        markersize=4,
        zorder=3 if peer == OURS else 2,
        label=peer,
    )


def throughput(rows: list[Row], path: Path) -> None:
    """Bars with their spread, one process and many."""
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 3.2), layout="constrained")
    for axes, step, title in zip(
        panels, ("flood", "floods"), ("one process, MB/s", "many processes, MB/s"), strict=True
    ):
        question = Question((step,), key("mb_per_s"))
        answers = {peer: found for peer in peers_of(question.rows(rows)) if (found := question.answer(rows, peer))}
        for peer, found in reversed(answers.items()):
            spread = [[found.median - found.least], [found.most - found.median]]
            colour = COLOURS[0] if peer == OURS else "#999999" if peer in LIMITS else "#99c7e0"
            axes.barh(peer, found.median, xerr=spread, color=colour, ecolor="#333333", capsize=2)
        axes.set_title(title)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None, "Creator": None}, facecolor="white")
    pyplot.close(figure)


if __name__ == "__main__":
    main()
