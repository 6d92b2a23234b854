"""Tables of Markdown out of rows: a line for each peer, a column for each question. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.report.figures import Figure, Question, Row, left_out, number, peers_of

#: They manage nothing: what no manager can pass.
LIMITS = ("cat", "posix_spawn", "papa")

OURS = "circus"

#: So far apart two medians say nothing of who is better.
LEVEL = 1.1


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    question: Question


def markdown(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    shown = [titles, ["---"] * len(titles), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in shown)


def of_peers(rows: list[Row], columns: Sequence[Column]) -> str:
    """Columns without any figure are left out, and so are peers; why stands below. Nothing if nothing was measured."""
    concerned = [row for column in columns for row in column.question.rows(rows)]
    answers = {peer: [column.question.answer(rows, peer) for column in columns] for peer in peers_of(concerned)}
    kept = [at for at in range(len(columns)) if any(figures[at] for figures in answers.values())]
    lines = [[_named(peer), *(_text(figures[at]) for at in kept)] for peer, figures in answers.items() if any(figures)]
    table = markdown(["", *(columns[at].title for at in kept)], lines) if lines else ""
    unique = list({id(row): row for row in concerned}.values())
    reasons = [f"{', '.join(peers)}: {reason}" for reason, peers in left_out(unique).items()]
    return table + ("\nLeft out: " + "; ".join(reasons) + ".\n" if reasons else "")


def _named(peer: str) -> str:
    return f"**{peer}**" if peer == OURS else f"*{peer}*" if peer in LIMITS else peer


def _text(figure: Figure | None) -> str:
    return figure.text() if figure else ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing by which managers are compared. ``more_is_better``: else less is."""

    title: str
    question: Question
    more_is_better: bool = False


def verdicts(rows: list[Row], claims: Iterable[Claim]) -> str:
    """Ours beside the best of the others: who wins, who loses."""
    lines = []
    for claim in claims:
        figures = {
            peer: found
            for peer in peers_of(rows)
            if peer not in LIMITS and (found := claim.question.answer(rows, peer)) is not None
        }
        ours = figures.pop(OURS, None)
        if ours is None or not figures:
            continue
        choose = max if claim.more_is_better else min
        best = choose(figures, key=lambda peer: figures[peer].median)
        worst = (min if claim.more_is_better else max)(figures, key=lambda peer: figures[peer].median)
        lines.append(
            [
                claim.title,
                ours.text(),
                f"{figures[best].text()} ({best})",
                f"{figures[worst].text()} ({worst})",
                _verdict(ours.median, figures[best].median, more_is_better=claim.more_is_better),
            ]
        )
    return markdown(["", OURS, "best of the others", "last of the others", ""], lines)


def _verdict(ours: float, best: float, *, more_is_better: bool) -> str:
    if ours == best:
        return "level"
    if not ours or not best:
        return "wins" if (ours > best) == more_is_better else "loses"
    times = ours / best if more_is_better else best / ours
    if 1 / LEVEL <= times <= LEVEL:
        return "level"
    return f"wins, {number(times)} x" if times > 1 else f"loses, {number(1 / times)} x"
