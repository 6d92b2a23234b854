"""Tables of Markdown out of rows: a line for each peer, a column for each question. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

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
    text: Callable[[Figure], str] = Figure.text


def yes_or_no(figure: Figure) -> str:
    """Yes if it was so each time."""
    return "yes" if figure.least else "no"


def markdown(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    shown = [titles, ["---"] * len(titles), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in shown)


def of_peers(rows: list[Row], columns: Sequence[Column]) -> str:
    """Columns without any figure are left out, and so are peers; why stands below. Nothing if nothing was measured."""
    concerned = [row for column in columns for row in column.question.rows(rows)]
    answers = {peer: [column.question.answer(rows, peer) for column in columns] for peer in peers_of(concerned)}
    kept = [at for at in range(len(columns)) if any(figures[at] for figures in answers.values())]
    lines = [
        [_named(peer), *(columns[at].text(figure) if (figure := figures[at]) else "" for at in kept)]
        for peer, figures in answers.items()
        if any(figures)
    ]
    table = markdown(["", *(columns[at].title for at in kept)], lines) if lines else ""
    unique = list({id(row): row for row in concerned}.values())
    reasons = [f"{', '.join(peers)}: {reason}" for reason, peers in left_out(unique).items()]
    return table + ("\nLeft out: " + "; ".join(reasons) + ".\n" if reasons else "")


def _named(peer: str) -> str:
    return f"**{peer}**" if peer == OURS else f"*{peer}*" if peer in LIMITS else peer


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing by which managers are compared. ``more_is_better``: else less is."""

    title: str
    question: Question
    more_is_better: bool = False

    def answers(self, rows: list[Row]) -> dict[str, Figure]:
        """Of the managers that were asked."""
        asked = {peer: self.question.answer(rows, peer) for peer in peers_of(rows) if peer not in LIMITS}
        return {peer: figure for peer, figure in asked.items() if figure is not None}

    def times(self, ours: Figure, other: Figure) -> float:
        """How much better ours is, as a ratio: below 1 it is worse; 0 and infinity where one of them is nothing."""
        better, worse = (ours, other) if self.more_is_better else (other, ours)
        if better.median == worse.median:
            return 1.0
        return better.median / worse.median if worse.median else inf


def verdicts(rows: list[Row], claims: Iterable[Claim]) -> str:
    """Ours beside the best and the last of the others."""
    lines = []
    for claim in claims:
        others = claim.answers(rows)
        ours = others.pop(OURS, None)
        if ours is None or not others:
            continue
        order = sorted(others, key=lambda peer: others[peer].median, reverse=claim.more_is_better)
        best, last = order[0], order[-1]
        named = [f"{others[peer].text()} ({peer})" for peer in (best, last)]
        lines.append([claim.title, ours.text(), *named, _verdict(claim.times(ours, others[best]))])
    return markdown(["", OURS, "best of the others", "last of the others", ""], lines) if lines else ""


def _verdict(times: float) -> str:
    if 1 / LEVEL <= times <= LEVEL:
        return "level"
    ratio = max(times, 1 / times) if times else inf
    how_much = f", {number(ratio)} x" if ratio != inf else ""
    return ("wins" if times > 1 else "**loses**") + how_much


def duels(rows: list[Row], claims: Sequence[Claim]) -> str:
    """Ours beside each of the others: how often it is better, level, worse, and in what."""
    lines = []
    for peer in peers_of(rows):
        if peer in LIMITS or peer == OURS:
            continue
        won, level, lost = 0, 0, []
        for claim in claims:
            answers = claim.answers(rows)
            if not {OURS, peer} <= set(answers):
                continue
            times = claim.times(answers[OURS], answers[peer])
            won += times > LEVEL
            level += 1 / LEVEL <= times <= LEVEL
            lost += [claim.title] if times < 1 / LEVEL else []
        if won or level or lost:
            lines.append([peer, str(won), str(level), str(len(lost)), "; ".join(lost)])
    return markdown(["beside", "wins", "level", "loses", "loses in"], lines) if lines else ""
