"""What there is before a drill: circusd, the kernel, processes, sockets and log files. Only looks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from circus import procfs
from circus.config import options
from circus.drill import manager, texts, visitors
from circus.drill.account import Process
from circus.drill.kernel import Kernel
from circus.engine.names import Names
from circus.errors import CircusError

Ask = Callable[..., dict[str, Any]]

_WORDS = {"out": "stdout", "err": "stderr"}


@dataclass(slots=True)
class Log:
    """A log file: the streams that run into it, and how its lines look. ``why``: it is not compared."""

    path: str
    look: str
    streams: list[tuple[int, str]] = field(default_factory=list)
    why: str = ""


@dataclass(slots=True)
class Scene:
    """``others``: processes of the kernel that are none of this circusd's. ``elsewhere``: streams without a log file,
    by where they go."""

    name: str
    circusd: procfs.Row
    control: str
    start: manager.Start
    keeper: str
    status: dict[str, Any]
    kernel: dict[str, Any]
    processes: list[Process]
    others: list[Process]
    owner: str
    sockets: list[dict[str, Any]]
    logs: list[Log]
    elsewhere: dict[str, list[tuple[int, str]]]

    @property
    def pid(self) -> int:
        return self.circusd.pid


def look(ask: Ask, control: str, kernel_of: Callable[[str | None], Kernel]) -> tuple[Scene, Kernel]:
    """Ask circusd and its kernel, and look at the machine. The caller closes the kernel and the scene's ``start``.

    Raises: CircusError; conflict, where circusd could not be started again.
    """
    version, status, settings = ask("version"), ask("status"), ask("options")["options"]
    pid = int(version["pid"])
    circusd, owner = procfs.row(pid), procfs.owner(pid)
    if circusd is None or owner is None or os.geteuid() not in (0, owner):
        raise CircusError("conflict", f"circusd (pid {pid}) is not yours to kill", "run circusctl as its user, or root")
    start = manager.look(pid, version.get("argv", []))
    with contextlib.ExitStack() as undo:
        undo.callback(start.close)
        if owner != os.geteuid():
            # The kernel of another user is named by the directory of that user.
            os.environ["PAPA_RUNTIME_DIR"] = start.environ.get("PAPA_RUNTIME_DIR") or os.path.dirname(control)
        kernel = kernel_of(settings.get("papa_endpoint"))
        undo.callback(kernel.close)
        watchers = {each["name"]: each for each in status["watchers"]}
        configured = {name: ask("watchers", name, "options")["options"] for name in watchers}
        names = Names(status["name"])
        rows = [row for row in kernel.rows() if row["running"]]
        ours = [row for row in rows if row["meta"].get("circusd") == status["name"] and row["name"] is not None]
        logs, elsewhere = _destinations(ours, configured, start.cwd)
        scene = Scene(
            name=status["name"],
            circusd=circusd,
            control=control,
            start=start,
            keeper=manager.keeper(pid),
            status=status,
            kernel=kernel.status(),
            processes=[_process(row, watchers, configured) for row in ours],
            others=[_process(row, {}, {}) for row in rows if row not in ours],
            owner=names.prefix,
            sockets=[row for row in ask("sockets")["sockets"] if visitors.can_visit(row)],
            logs=logs,
            elsewhere=elsewhere,
        )
        undo.pop_all()
    return scene, kernel


def _process(row: Mapping[str, Any], watchers: Mapping[str, Any], configured: Mapping[str, Any]) -> Process:
    watcher = row["meta"].get("watcher", "")
    known = configured.get(watcher, {})
    is_job = bool(watchers.get(watcher, {}).get("job")) or known.get("type") == "oneshot"
    ticks = row["start_ticks"]
    if ticks is None:
        found = procfs.row(row["pid"])
        ticks = 0 if found is None else found.start_ticks
    name = row["name"] or f"process {row['id']}"
    return Process(row["id"], name, watcher if watcher in watchers else "", row["pid"], ticks, is_job)


def _destinations(
    rows: list[dict[str, Any]], configured: Mapping[str, Mapping[str, Any]], cwd: str
) -> tuple[list[Log], dict[str, list[tuple[int, str]]]]:
    logs: dict[str, Log] = {}
    elsewhere: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        known = configured.get(row["meta"].get("watcher", ""))
        for stream in row["streams"]:
            where = _where(known, _WORDS[stream], cwd)
            if isinstance(where, str):
                elsewhere.setdefault(where, []).append((row["id"], stream))
                continue
            log = logs.setdefault(where.path, where)
            if log.look != where.look:
                log.why = "streams of several formats run into it"
            log.streams.append((row["id"], stream))
    return list(logs.values()), elsewhere


def _where(known: Mapping[str, Any] | None, stream: str, cwd: str) -> Log | str:
    if known is None:
        return "a watcher that is no more"
    said = {key.partition(".")[2]: known[key] for key in known if key.startswith(f"{stream}_stream.")}
    if not said.get("class"):
        return "no stream"
    kind = options.STREAM_CLASSES.get(str(said["class"]).removeprefix("circus.stream."))
    if kind != "FileStream" or not said.get("filename"):
        return str(said["class"])
    look = texts.PREFIXED if said.get("time_format") else texts.PLAIN
    return Log(
        os.path.realpath(os.path.join(cwd, said["filename"])), texts.JSON if said.get("format") == "json" else look
    )
