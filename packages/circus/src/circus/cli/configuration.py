"""`circusctl config ...`: the commands that look at a configuration file, and need no circusd.

What is asked for is worked out here, in circusctl's own process; the rooms of the configuration are imported only then.
"""

from __future__ import annotations

import json
import os
import sys

from circus.cli import render
from circus.cli.asking import Command, Daemon
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from typing import Any

    from circus.config.model import CircusConfig, Finding
    from circus.config.show import Origin

    Answer = dict[str, Any]


# check ------------------------------------------------------------------------------------------------------


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the configuration that circusd would be started with")
    parser.add_argument(
        "--hooks",
        action="store_true",
        help="look up the hooks, too; that imports their modules, as a start of circusd does",
    )


def _check(_daemon: Daemon, args: argparse.Namespace) -> Answer:
    from circus.config.check import check
    from circus.config.load import in_order

    config, findings = check(args.file, os.environ)
    findings = in_order(args.file, [*findings, *_about_hooks(config, is_asked=args.hooks)])
    counts = {
        severity: sum(each.severity == severity for each in findings) for severity in ("error", "warning", "note")
    }
    answer: Answer = {
        "file": config.path,
        "watchers": [each.name for each in config.watchers],
        "sockets": [each.name for each in config.sockets],
        "findings": [
            {"file": each.file, "line": each.line, "severity": each.severity, "what": each.what, "hint": each.hint}
            for each in findings
        ],
        "counts": counts,
    }
    if counts["error"]:
        error = CircusError("failed", f"{config.path} has {_number(counts['error'], 'error')}", "mend what is listed")
        answer["error"] = {"code": error.code, "message": error.message, "hint": error.hint}
    return answer


def _about_hooks(config: CircusConfig, *, is_asked: bool) -> Sequence[Finding]:
    from circus.config.model import ConfigInvalid, Finding

    written = [hook for watcher in config.watchers for hook in watcher.hooks.values()]
    if not written:
        return ()
    if not is_asked:
        what = f"{_number(len(written), 'hook')} not looked up, because that runs users' code"
        return [Finding(written[0].file, written[0].line, what, "--hooks does it, as a start of circusd does", "note")]
    import contextlib

    from circus import hooks

    try:
        # What modules print when they are imported is no part of the answer.
        with contextlib.redirect_stdout(sys.stderr):
            hooks.check(config.watchers)
    except ConfigInvalid as error:
        return error.findings
    return ()


def _check_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    for each in answer["findings"]:
        place = f"{each['file']}:{each['line']}" if each["line"] else each["file"]
        hint = f" ({each['hint']})" if each["hint"] else ""
        yield render.one_line(f"{place}: {each['severity']}: {each['what']}{hint}")
    counts = answer["counts"]
    said = [_number(counts[severity], severity) for severity in ("error", "warning") if counts[severity]]
    if not counts["error"]:
        said = [_number(len(answer[kind]), kind[:-1]) for kind in ("watchers", "sockets")] + said
    yield f"{'error' if counts['error'] else 'ok'}: {render.one_line(answer['file'])}: {', '.join(said)}"


# show -------------------------------------------------------------------------------------------------------

#: Longer options and values push their origin to the right.
COLUMN = 56


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="a watcher or a socket, in any case; watcher:NAME, socket:NAME; circus"
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="default: the file of the running circusd")


def _show(daemon: Daemon, args: argparse.Namespace) -> Answer:
    from circus.config.show import show

    if not args.file and not daemon.is_here:
        raise CircusError("usage", "config show reads a file of this host, and circusd is on another", "give FILE")
    path = os.path.abspath(args.file) if args.file else daemon.get("version")["config"]
    shown = [
        {
            "kind": each.kind,
            "name": each.name,
            "options": [
                {
                    "option": row.option,
                    "value": row.value,
                    **_origin(row.origin),
                    "variables": [{"name": name, **_origin(origin)} for name, origin in row.variables],
                }
                for row in each.rows
            ],
        }
        for each in show(path, os.environ, args.name)
    ]
    return {"file": path, "shown": shown}


def _origin(origin: Origin) -> Answer:
    return {"origin": origin.what, "file": origin.file, "line": origin.line, "text": str(origin)}


def _show_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    for each in answer["shown"]:
        yield render.one_line(each["kind"] if each["kind"] == "circus" else f"{each['kind']} {each['name']}")
        for row in each["options"]:
            said = render.one_line(f"{row['option']} = {row['value']}")
            variables = "".join(f"; {each['name']}: {each['text']}" for each in row["variables"])
            yield f"  {said:<{COLUMN}}  {render.one_line(row['text'] + variables)}"


# schema -----------------------------------------------------------------------------------------------------


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    return


def _schema(_daemon: Daemon, _args: argparse.Namespace) -> Answer:
    from circus.config.schema import schema

    return schema()


def _schema_lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    return json.dumps(answer, indent=2).splitlines()


def _number(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


COMMANDS = (
    Command(
        "config check",
        "all that is wrong with a configuration file",
        _check,
        _check_lines,
        _check_arguments,
        fails=lambda answer: "error" in answer,
    ),
    Command("config show", "options, what counts and where it is written", _show, _show_lines, _show_arguments),
    Command("config schema", "JSON Schema of a configuration in TOML", _schema, _schema_lines, _no_arguments),
)
