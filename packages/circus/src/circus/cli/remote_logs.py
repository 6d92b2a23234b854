"""`circusctl logs` where circusd is on another host: what the files there say, asked of circusd itself.

Imported for that alone. It takes one watcher; patterns, `--grep` and `--cursor` are for who is at the files.
"""

from __future__ import annotations

import json
from datetime import datetime

from circus.control import sse
from circus.control.client import target
from circus.errors import CircusError
from circus.logbook import moments

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from circus.cli.asking import Answer, Daemon

#: Of one answer, as circusd gives it.
PAGE = 1000

_CHUNK = 64 * 1024


def run(daemon: Daemon, args: argparse.Namespace, count: int) -> Iterator[Answer]:
    """``count``: so many lines, the last ones; -1: all. Raises: CircusError."""
    if len(args.names) != 1 or set("*?[") & set(args.names[0]):
        raise CircusError("usage", "from another host logs shows one watcher", "name it; circusctl there shows many")
    for option in ("grep", "cursor"):
        if getattr(args, option) is not None:
            hint = "pipe the lines through grep" if option == "grep" else "circusctl there has it"
            raise CircusError("usage", f"--{option} works on circusd's own host alone", hint)
    query = _query(args)
    return _follow(daemon, args.names[0], query, count) if args.follow else _pages(daemon, args.names[0], query, count)


def _query(args: argparse.Namespace) -> dict[str, str]:
    now = datetime.now().astimezone()
    query = {"stream": args.stream, "instance": args.instance, "around_exit": args.around_exit}
    for name in ("since", "until"):
        if (text := getattr(args, name)) is not None:
            query[name] = moments.parse(text, now) / 1e9
    return {key: str(value) for key, value in query.items() if value is not None}


def _pages(daemon: Daemon, name: str, query: dict[str, str], count: int) -> Iterator[Answer]:
    left, pages = count, []
    query = {**query, "order": "oldest" if count < 0 else "newest"}
    while left:
        query["limit"] = str(PAGE if left < 0 else min(left, PAGE))
        answer = daemon.get("watchers", name, "logs", query=query)
        gaps = [f"{each['bytes']} bytes of {each['path']} are gone" for each in answer["gaps"]]
        page = [{"warnings": gaps}] if gaps else []
        page += [_row(answer["name"], each) for each in answer["lines"]]
        if left < 0:
            yield from page
        else:
            pages.append(page)
            left -= len(answer["lines"])
        if not answer["more"]:
            break
        query["cursor"] = answer["cursor"]
    for page in reversed(pages):
        yield from page


def _follow(daemon: Daemon, name: str, query: dict[str, str], count: int) -> Iterator[Answer]:
    if "since" not in query:
        query["limit"] = str(min(PAGE if count < 0 else count, PAGE))
    sock, data = daemon.client.open_stream(target("watchers", name, "logs", query={**query, "follow": "true"}))
    parser = sse.Parser()
    with sock:
        sock.setblocking(True)
        while True:
            for said in parser.feed(data):
                told = json.loads(said.data)
                if said.kind == "failed":
                    raise CircusError(told["code"], told["message"], told["hint"])
                if said.kind == "missed":
                    what = next(key for key in ("lines", "bytes") if key in told)
                    yield {"warnings": [f"{told[what]} {what} were missed"]}
                else:
                    yield _row(name, told)
            try:
                data = sock.recv(_CHUNK)
            except OSError:
                data = b""
            if not data:
                raise CircusError("unreachable", "circusd has left, or ended this", "ask again")


def _row(name: str, line: Answer) -> Answer:
    """As a row of `circusctl logs --json`, which has a cursor besides."""
    at = line.get("at")
    row = {
        "time": None if at is None else moments.text(int(at * 1e9)),
        "watcher": name,
        "wid": line.get("instance"),
        "pid": line.get("pid"),
        "stream": line.get("stream") or None,
        "line": line["text"],
    }
    return row | {key: line[key] for key in ("raw", "cut", "mark") if key in line}
