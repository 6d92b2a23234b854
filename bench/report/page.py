"""The page of the report: what is asked of the rows, and what to read out of the answers. Pure: a head and rows in,
Markdown out."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable

from bench.report.figures import Figure, Question, Row, key, of_whole, per, sizes_of
from bench.report.tables import Claim, Column, duels, markdown, of_peers, verdicts, yes_or_no

NAME = "index.md"

WIDTH = 118

#: Who runs more than this beside each processor is in the way.
BUSY = 1.0

FLOOD, FLOODS, RESPAWN, RESTART = ("flood",), ("floods",), ("respawn",), ("restart",)
START, GROWTH = ("start", "growth"), ("growth",)

#: By the number of processes.
COMPARED = (
    (START, "start_s", "start of {}, s"),
    (GROWTH, "begun_cpu_s", "start of {}, processor s"),
    (GROWTH, "cpu_percent", "idle with {}, processor %"),
    (GROWTH, "pss_mb", "idle with {}, PSS MB"),
    (GROWTH, "status_ms", "status of {}, ms"),
)

SCENARIOS = {
    "restart of the manager": "The manager is restarted, as its manual says",
    "SIGKILL of the manager": "The manager is killed, and started again",
    "SIGKILL of the holder": "What holds the processes is killed",
    "upgrade of the manager": "The manager is upgraded in place",
    "upgrade of the holder": "What holds the processes is upgraded in place",
}

INTRODUCTION = """# Benchmarks

Made by `make bench` out of [rows.jsonl](rows.jsonl); do not edit. [bench/README.md](../../bench/README.md) says how
each thing is measured, [performance](../performance.md) where the time goes.

Read ratios, not seconds: another machine has other seconds. Each figure is a median; where there is more than one,
the least and the most stand behind it. All peers took turns within each repetition. *cat*, *posix_spawn* and *papa*
are no managers: they show what this machine could do at best, and what our kernel does with the plainest client.
"""

VERDICTS_TEXT = """Each figure of circus beside the best and the last of the other managers. *Level* is what is less
than a tenth apart; who has lost output is not compared by speed. The second table is circus beside each of them.
"""

FLOODS_TEXT = """Each process writes lines as fast as it can, and each manager stores them in a file. Bytes are
counted one by one: *lost* is what a process wrote and no file has. A manager that is fast because it drops what it
cannot keep is not fast. `x cat` is the share of what a plain pipe into `cat` takes. Processor time is that of the
whole manager.
"""

RESPAWN_TEXT = """From the SIGKILL of a process until the first thing that its successor does. Some managers look at
their processes once in so many seconds, some wait a second on purpose; their own defaults are measured, but for those
that would give up.
"""

START_TEXT = """From the exec of the manager until the last process runs, each with a log of its own; and what the
manager with all its helpers has used of processors until it has settled, which other work on the machine changes less.
"""

IDLE_TEXT = """All processes sleep, and nobody asks for anything. What is used here is used all day on every machine
that you have, and each wake-up keeps a processor from sleeping. PSS is memory with what is shared counted once: a
manager of many small programs is not charged for their libraries again and again.
"""

RESTART_TEXT = """Ten processes write 200 numbered lines a second each while something happens to their manager.
*kept* are those that live on; *alive* is how many there are afterwards: more than 10 are doubles and orphans that
nobody will stop. *blind* is the longest time without an answer that all is well, *outage* the longest time for which
a service had no process that writes. *back* says whether the manager says so itself that all run, in the end.
"""

AWAY_TEXT = """How long our own two are away, by how many processes they have. First circusd, killed with SIGKILL,
from the exec of the next one until it manages everything; then papa, killed or upgraded, until it answers again.
"""

STATUS_TEXT = """How long a person waits for the command that says how all processes are, as a whole process. `one
request` is the same question asked by a program on a connection that it has: circus has an API for that.
"""

GROWTH_TEXT = """What each thing costs with more and more processes. A line that runs along the bottom costs nothing;
one that climbs as the axes do costs the same for each process; one that is steeper will hurt some day.

![each cost by the number of processes](growth.svg)
"""

AGAIN_TEXT = """`make bench` runs the whole plan and renders this page; `make bench BENCH_ARGS="..."` with

- `all --list` says what is in the plan, and how long it takes;
- `all --only respawn,start` measures these steps anew and keeps all other rows;
- `all --resume` goes on after an interruption;
- `all --quick` tries everything in minutes, and writes into a folder of its own;
- `report` renders without measuring.
"""


def render(head: Row, rows: list[Row]) -> str:
    claims = _claims(rows)
    parts = [
        INTRODUCTION,
        _warning(head, rows),
        _section("Who wins, who loses", VERDICTS_TEXT, verdicts(rows, claims), duels(rows, claims)),
        _section("Throughput of output", FLOODS_TEXT, _floods(rows)),
        _section("Respawn", RESPAWN_TEXT, of_peers(rows, _respawn())),
        _section("Start", START_TEXT, _start(rows)),
        _section("Idle", IDLE_TEXT, _idle(rows)),
        _section("Restart, crash, upgrade", RESTART_TEXT, _restarts(rows)),
        _section("Away", AWAY_TEXT, _away(rows)),
        _section("Control", STATUS_TEXT, _control(rows)),
        _section("Growth", GROWTH_TEXT, _growth(rows)),
        _section("Where and with what", _machine(head, rows), _failures(rows), _noise(rows), _peers(head)),
        _section("Again", AGAIN_TEXT),
    ]
    return "\n".join(part for part in parts if part)


def _section(title: str, text: str, *bodies: str) -> str:
    """Nothing where nothing was measured."""
    found = [body for body in bodies if body]
    return "\n".join([f"## {title}\n", text, *found]) if found or not bodies else ""


# What is asked --------------------------------------------------------------------------------------------------


def _named(steps: tuple[str, ...], value: str, scale: float = 1) -> Question:
    return Question(steps, key(value, scale))


def _by_size(rows: list[Row], steps: tuple[str, ...], value: str, scale: float = 1) -> list[Column]:
    return [
        Column(f"{size}", Question(steps, key(value, scale), (("children", size),))) for size in sizes_of(rows, steps)
    ]


def _flood_columns(rows: list[Row], steps: tuple[str, ...]) -> list[Column]:
    cat = _named(steps, "mb_per_s").answer(rows, "cat")
    columns = [Column("MB/s", _named(steps, "mb_per_s"))]
    if cat:
        columns.append(Column("x cat", _named(steps, "mb_per_s", 1 / cat.median)))
    return [
        *columns,
        Column("lost, %", Question(steps, per("lost", "bytes", 100))),
        Column("processor, s", _named(steps, "manager_cpu_s")),
        Column("wake-ups", _named(steps, "manager_wakeups")),
        Column("resident, MB", _named(steps, "manager_rss_mb")),
    ]


def _floods(rows: list[Row]) -> str:
    tables = []
    for steps in (FLOOD, FLOODS):
        for row in (row for row in rows if row["step"] in steps and "bytes" in row):
            children, megabytes = row["children"], row["bytes"] / row["children"] / 1e6
            title = f"{children} processes at once" if children > 1 else "One process"
            tables.append(f"{title}, {megabytes:.0f} MB each:\n\n{of_peers(rows, _flood_columns(rows, steps))}")
            break
    return "\n".join([*tables, "![throughput beside cat](throughput.svg)\n"] if tables else [])


def _respawn() -> list[Column]:
    return [
        Column("median, ms", _named(RESPAWN, "median_ms")),
        Column("95 of 100, ms", _named(RESPAWN, "p95_ms")),
        Column("longest, ms", _named(RESPAWN, "max_ms")),
        Column("kills", _named(RESPAWN, "times")),
    ]


def _start(rows: list[Row]) -> str:
    asked = {
        "Seconds, by the number of processes": (START, "start_s"),
        "Seconds of processor": (GROWTH, "begun_cpu_s"),
    }
    return _tables((title, of_peers(rows, _by_size(rows, *what))) for title, what in asked.items())


def _idle(rows: list[Row]) -> str:
    asked = {
        "Processor, % of one, by the number of processes": "cpu_percent",
        "Wake-ups a second": "wakeups_per_s",
        "PSS, MB": "pss_mb",
        "Programs that the manager consists of": "processes",
    }
    return _tables((title, of_peers(rows, _by_size(rows, GROWTH, value))) for title, value in asked.items())


def _restarts(rows: list[Row]) -> str:
    def table(what: str) -> str:
        def column(title: str, value: str, text: Callable[[Figure], str] = Figure.text) -> Column:
            return Column(title, Question(RESTART, key(value), (("what", what),)), text)

        return of_peers(
            rows,
            [
                column("kept", "kept"),
                column("alive", "alive"),
                column("back", "recovered", yes_or_no),
                column("lines lost", "lost"),
                column("doubled", "doubled"),
                column("blind, s", "blind_s"),
                column("outage, s", "outage_s"),
            ],
        )

    return _tables((title, table(what)) for what, title in SCENARIOS.items())


def _away(rows: list[Row]) -> str:
    taken_over = [row for row in rows if row["step"] == "takeover" and "median_s" in row]
    lines = [[f"circusd, {row['children']} processes", _ms(row["median_s"] * 1e3)] for row in taken_over]
    lines += [
        [f"papa, {row['what']} processes", _ms(row["median_ms"])]
        for row in rows
        if row["step"] == "recovery" and "median_ms" in row
    ]
    return markdown(["", "away, ms"], lines) if lines else ""


def _ms(value: float) -> str:
    return f"{value:.0f}"


def _control(rows: list[Row]) -> str:
    asked = {"The command, ms, by the number of processes": "status_ms", "One request, ms": "api_ms"}
    return _tables((title, of_peers(rows, _by_size(rows, GROWTH, value))) for title, value in asked.items())


def _growth(rows: list[Row]) -> str:
    asked = {
        "Respawn, ms, by the number of processes": "respawn_ms",
        "One sample of the statistics of all, ms of processor": "sample_ms",
    }
    return _tables((title, of_peers(rows, _by_size(rows, GROWTH, value))) for title, value in asked.items())


def _tables(titled: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{title}:\n\n{table}" for title, table in titled if table)


def _claims(rows: list[Row]) -> list[Claim]:
    """What is compared; titles stand alone, as one may be named where it was lost."""
    claims = [
        Claim("one flood, MB/s", Question(FLOOD, of_whole(key("mb_per_s"))), more_is_better=True),
        Claim("one flood, processor s", Question(FLOOD, of_whole(key("manager_cpu_s")))),
        Claim("one flood, lost %", Question(FLOOD, per("lost", "bytes", 100))),
        Claim("many floods, MB/s", Question(FLOODS, of_whole(key("mb_per_s"))), more_is_better=True),
        Claim("many floods, processor s", Question(FLOODS, of_whole(key("manager_cpu_s")))),
        Claim("many floods, lost %", Question(FLOODS, per("lost", "bytes", 100))),
        Claim("respawn, ms", Question(RESPAWN, key("median_ms"))),
    ]
    for steps, name, title in COMPARED:
        claims += [
            Claim(title.format(size), Question(steps, key(name), (("children", size),)))
            for size in sizes_of(rows, steps)
        ]
    for what in SCENARIOS:
        where = (("what", what),)
        claims += [
            Claim(f"{what}: processes kept", Question(RESTART, key("kept"), where), more_is_better=True),
            Claim(f"{what}: lines lost", Question(RESTART, key("lost"), where)),
            Claim(f"{what}: outage, s", Question(RESTART, key("outage_s"), where)),
            Claim(f"{what}: blind, s", Question(RESTART, key("blind_s"), where)),
        ]
    return claims


# Where and with what --------------------------------------------------------------------------------------------


def _machine(head: Row, rows: list[Row]) -> str:
    facts = head["machine"]
    took_s = sum(row.get("took_s", 0.0) for row in rows)
    return _paragraph(
        f"{facts['cores']} processors ({facts['processor']}), {facts['memory_gib']} GiB, {facts['system']}, "
        f"Linux {facts['kernel']}, Python {facts['python']}. Logs on {facts['logs_on']}, papa's state on "
        f"{facts['papa_state_on']}. Plan `{head['plan']}`, begun {head['began_at']}, {took_s / 60:.0f} minutes."
    )


def _warning(head: Row, rows: list[Row]) -> str:
    limit = (1 + BUSY) * head["machine"]["cores"]
    busy = sum(row["load_before"] > limit for row in rows)
    if not busy:
        return ""
    return _paragraph(
        f"**The machine was busy**: {busy} of {len(rows)} rows were measured with a load of more than {limit:g}. Only "
        "what is counted (bytes, lines, processes) can be relied on here."
    )


def _paragraph(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False) + "\n"


def _failures(rows: list[Row]) -> str:
    """A measurement that broke off says nothing in the tables above."""
    lines = [[row["step"], row["peer"], row["failed"].replace("|", "/")] for row in rows if "failed" in row]
    return f"What failed:\n\n{markdown(['step', 'peer', 'how'], lines)}" if lines else ""


def _noise(rows: list[Row]) -> str:
    """How much else ran: the load of the last minute before each row, of the steps in their order."""
    steps = list(dict.fromkeys(row["step"] for row in rows))
    columns = {step: [row["load_before"] for row in rows if row["step"] == step] for step in steps}
    lines = [[step, str(len(loads)), f"{min(loads):g}-{max(loads):g}"] for step, loads in columns.items()]
    return markdown(["step", "rows", "load before"], lines) if lines else ""


def _peers(head: Row) -> str:
    versions = [
        [name, known.get("version") or f"left out: {known['skipped']}"] for name, known in head["peers"].items()
    ]
    texts = [markdown(["peer", "version"], versions)]
    for name, known in head["peers"].items():
        for file, text in known.get("configuration", {}).items():
            texts.append(f"{name}, `{file}` of one process:\n\n```text\n{text}```\n")
    return "\n".join(texts)
