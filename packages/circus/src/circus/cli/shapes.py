"""What each command of circusctl prints with --json, as JSON Schema: made of the types of the API, and of a few for
what circusctl puts together itself. Values only; no command reads them.

Scripts rely on these shapes: a field may be added, none is renamed, removed or changed in meaning. A new command has a
row in ``ANSWERS``. A test fails for one that has none, and for an answer with a field that stands nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from circus.cli import drill_shapes
from circus.config.schema import DIALECT
from circus.control import grants, reasons, rows, schema, told
from circus.control.openapi import anything, one_line_each

Schema = dict[str, Any]

#: The name of what is printed in place of an answer, by any command.
ERROR = "error"


class WatcherStatus(schema.WatcherAnswer, frozen=True, kw_only=True, omit_defaults=True):
    """A watcher. With --verbose also what StatusAnswer has of it alone in ``drift``, ``by_hand`` and ``output``."""

    drift: object = None
    by_hand: str = ""
    output: dict[str, dict[str, float]] = {}


def _of_several(one: type[Struct]) -> type[Struct]:
    """The same about several watchers, or several processes of one: by name or pid."""
    name = f"Several{one.__name__}"
    made = msgspec.defstruct(name, [("answers", dict[str, one])], frozen=True, module=__name__)  # type: ignore[valid-type]
    made.__doc__ = f"Where several were asked for: {one.__name__}, by the name of the watcher, or by pid."
    return made


class NumWatchers(Struct, frozen=True):
    numwatchers: int


class NumProcesses(Struct, frozen=True, omit_defaults=True):
    """Where one watcher was asked for, ``watcher_name`` is it."""

    numprocesses: int
    watcher_name: str = ""


class Notifiers(Struct, frozen=True):
    """By name."""

    notifiers: dict[str, rows.Notifier]


class Heard(Struct, frozen=True, omit_defaults=True):
    """An event. ``id``: it was the one before those that come behind it. Asked by ZMQ: topic and message alone."""

    topic: str
    message: object
    id: str = ""
    watcher: str | None = ""
    event: str = ""


class Missed(Struct, frozen=True):
    """So many events are missing here; null: this is another circusd, and nobody knows how many."""

    missed: int | None
    id: str
    warnings: list[str]


class LogRow(Struct, frozen=True, omit_defaults=True):
    """A line that a process wrote. ``time`` is as in RFC 3339; null: nobody knows. Where ``line`` is not what was
    written, because that is no UTF-8, ``raw`` is, in base64. ``cursor``: to go on behind this line, by --cursor. Over
    TCP there is no cursor, and instead ``cut``: the line is longer, and ``mark``: circusd wrote it, about output that
    is missing."""

    time: str | None
    watcher: str | None
    wid: int | None
    pid: int | None
    stream: str | None
    line: str
    raw: str = ""
    cursor: str = ""
    cut: bool = False
    mark: bool = False


class LogGap(Struct, frozen=True):
    """So many bytes of this file were gone before they were read."""

    missing_bytes: int
    path: str


class LogWarnings(Struct, frozen=True):
    """The same over TCP: what is missing here, in words."""

    warnings: list[str]


class AuditEntry(Struct, frozen=True, omit_defaults=True):
    """``who`` asked ``from_`` where for what ``operation``, of which ``watchers``, or ``about`` what else, with which
    ``options``, and ``given`` what besides: names alone. ``result``: ok, under-way, or the code of an error; ``more``:
    so many like this one are not told of. With ``missing`` there is nothing else: so many lines are not there."""

    at: rows.Moment
    who: str = ""
    from_: str = field(name="from", default="")
    operation: str = ""
    watchers: list[str] = []
    about: str = ""
    options: list[str] = []
    given: list[str] = []
    result: str = ""
    ms: float = 0.0
    request: str = ""
    more: int = 0
    missing: int = 0


class Audit(Struct, frozen=True):
    """Oldest first."""

    path: str
    entries: list[AuditEntry]


class Finding(Struct, frozen=True):
    """``severity``: error, warning, note. ``line`` 0: it is about the whole file."""

    file: str
    line: int
    severity: str
    what: str
    hint: str


class ConfigCheck(Struct, frozen=True, omit_defaults=True):
    """``watchers`` and ``sockets`` by name. ``error`` is there where some finding is one; the exit status is 1 then."""

    file: str
    watchers: list[str]
    sockets: list[str]
    findings: list[Finding]
    counts: dict[str, int]
    error: schema.ErrorBody | None = None


class ShownVariable(Struct, frozen=True):
    """``origin``: where its value comes from; ``text`` says it for people."""

    name: str
    origin: str
    file: str
    line: int
    text: str


class ShownOption(Struct, frozen=True):
    """``value`` as a file writes it; ``variables``: those that it refers to. Else as ShownVariable."""

    option: str
    value: str
    origin: str
    file: str
    line: int
    text: str
    variables: list[ShownVariable]


class ShownSection(Struct, frozen=True):
    """``kind``: circus, socket, watcher."""

    kind: str
    name: str
    options: list[ShownOption]


class ConfigShow(Struct, frozen=True):
    file: str
    shown: list[ShownSection]


class Completion(Struct, frozen=True):
    """What the shell is to run."""

    shell: str
    script: str


class Init(Struct, frozen=True):
    """What the watcher of the new file runs; ``notes`` are findings as `config check` has them."""

    file: str
    watcher: str
    argv: list[str]
    notes: list[str]


class AnySchema(Struct, frozen=True):
    """A JSON Schema."""


_SEVERAL_DONE = _of_several(schema.DoneAnswer)
_SEVERAL_SIGNALS = _of_several(schema.SignalAnswer)
_SEVERAL_PIDS = _of_several(schema.PidsAnswer)
_SEVERAL_NUMBERS = _of_several(NumProcesses)
_SEVERAL_OPTIONS = _of_several(schema.OptionsAnswer)
_SEVERAL_EXITS = _of_several(schema.ExitsAnswer)
_SEVERAL_RUNS = _of_several(schema.RunsAnswer)

#: Command -> what it prints: one of these; of those in ``STREAMS``, one in each line.
ANSWERS: Mapping[str, tuple[type[Struct], ...]] = {
    "status": (schema.StatusAnswer, WatcherStatus),
    "list": (schema.WatchersAnswer, schema.PidsAnswer, _SEVERAL_PIDS),
    **dict.fromkeys(("start", "stop", "restart", "reload"), (schema.DoneAnswer,)),
    **dict.fromkeys(("incr", "decr"), (schema.DoneAnswer, _SEVERAL_DONE)),
    "numprocesses": (NumProcesses, schema.DoneAnswer, _SEVERAL_NUMBERS, _SEVERAL_DONE),
    "numwatchers": (NumWatchers,),
    "signal": (schema.SignalAnswer, _SEVERAL_SIGNALS),
    "stats": (schema.StatsAnswer,),
    "dstats": (schema.DaemonStatsAnswer,),
    "globaloptions": (schema.GlobalOptionsAnswer,),
    "options": (schema.OptionsAnswer, _SEVERAL_OPTIONS),
    "get": (schema.OptionsAnswer, _SEVERAL_OPTIONS),
    "exits": (schema.ExitsAnswer, _SEVERAL_EXITS),
    "why": (reasons.WhyAnswer,),
    "listsockets": (schema.SocketsAnswer,),
    "run": (schema.RunAnswer,),
    "runs": (schema.RunsAnswer, _SEVERAL_RUNS),
    "operations": (told.OperationsAnswer, told.OperationAnswer, told.ProgressAnswer),
    "logs": (LogRow, LogGap, LogWarnings),
    "audit": (Audit,),
    "notify list": (Notifiers,),
    "notify test": (schema.NotifierAnswer,),
    **dict.fromkeys(("events", "listen"), (Heard, Missed)),
    **dict.fromkeys(("add", "set"), (schema.DoneAnswer,)),
    **dict.fromkeys(("rm", "kill"), (schema.DoneAnswer, _SEVERAL_DONE)),
    "forget": (schema.ForgetAnswer,),
    "reloadconfig": (schema.PlanAnswer,),
    **dict.fromkeys(("quit", "shutdown"), (schema.DoneAnswer,)),
    "version": (schema.VersionAnswer,),
    "token create": (grants.TokenAnswer,),
    "token list": (grants.TokensAnswer,),
    "token revoke": (grants.RevokedAnswer,),
    "config check": (ConfigCheck,),
    "config show": (ConfigShow,),
    "config schema": (AnySchema,),
    "completion": (Completion,),
    "upgrade": (schema.UpgradeAnswer,),
    "drill": (drill_shapes.Drill,),
    "init": (Init,),
}

#: These print an object in each line, until they end; operations and status with --follow.
STREAMS = ("logs", "events", "listen", "operations", "status")


def key(command: str) -> str:
    """Under which name ``$defs`` has what the command prints."""
    return command.replace(" ", "-")


def describe() -> Schema:
    """All of them, as one schema that knows each under ``$defs``."""
    kinds = list(dict.fromkeys(kind for each in ANSWERS.values() for kind in each))
    shapes, parts = msgspec.json.schema_components(
        [schema.ErrorAnswer, *kinds], schema_hook=anything, ref_template="#/$defs/{name}"
    )
    of_kind = dict(zip([schema.ErrorAnswer, *kinds], shapes, strict=True))
    parts["AnySchema"] = {"description": "A JSON Schema", "$ref": DIALECT}
    commands = {
        key(name): of_kind[each[0]] if len(each) == 1 else {"anyOf": [of_kind[kind] for kind in each]}
        for name, each in ANSWERS.items()
    }
    definitions = {ERROR: of_kind[schema.ErrorAnswer]} | commands | parts
    return {
        "$schema": DIALECT,
        "title": "What circusctl prints with --json",
        "description": "Each command has a definition of its name, with - for a space; error is that of all of them.",
        "anyOf": [{"$ref": f"#/$defs/{each}"} for each in (ERROR, *commands)],
        "$defs": {name: one_line_each(each) for name, each in definitions.items()},
    }


def text() -> str:
    return json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"
