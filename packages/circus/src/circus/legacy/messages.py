"""The ancestors' commands in terms of ours: a message in, what to ask the control API, and its answer as a reply. Pure.

A message is ``{"id", "command", "properties", "msg_type"}``. A reply is ``{"status": "ok", "time", ...}`` or
``{"status": "error", "reason", "errno"}``. What is asked is a small program: a generator that yields `Ask`s and is sent
the answers, so that whoever has a way to circusd can run it (see `legacy.commands`).
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple

from circus.control.client import target
from circus.errors import CircusError

NOT_JSON, UNKNOWN_COMMAND, MESSAGE_ERROR, OS_ERROR, COMMAND_ERROR, BAD_DATA = 1, 2, 3, 4, 5, 6

Properties = Mapping[str, Any]
Answer = Mapping[str, Any]


class Ask(NamedTuple):
    """GET without a body, POST with one."""

    target: str
    body: dict[str, object] | None = None


#: Yields what to ask, returns the reply's own fields.
Program = Generator[Ask, Answer, dict[str, Any]]


class Refused(Exception):
    """``reason`` and ``errno`` of an error reply."""

    def __init__(self, errno: int, reason: str) -> None:
        super().__init__(reason)
        self.errno = errno
        self.reason = reason


def program_of(message: object) -> Program:
    """What to ask for a message.

    Raises: Refused.
    """
    if not isinstance(message, Mapping):
        raise Refused(NOT_JSON, "json invalid")
    command, properties = message.get("command"), message.get("properties") or {}
    if not isinstance(command, str):
        raise Refused(MESSAGE_ERROR, "message invalid 'command' is missing")
    if not isinstance(properties, Mapping):
        raise Refused(MESSAGE_ERROR, "message invalid 'properties' is not an object")
    name = command.lower()
    if name in ELSEWHERE:
        raise Refused(*ELSEWHERE[name])
    if name not in COMMANDS:
        raise Refused(UNKNOWN_COMMAND, f"unknown command: {command!r}")
    return COMMANDS[name](properties)


def refusal_of(error: CircusError, message: object) -> Refused:
    """What the ancestors would have said."""
    properties = message.get("properties") if isinstance(message, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    if error.code == "not-found" and name is not None and error.message.startswith(("watcher", "no watcher")):
        return Refused(MESSAGE_ERROR, f"program {name} not found")
    if error.code in ("bad-request", "not-found", "config-invalid", "usage"):
        return Refused(MESSAGE_ERROR, error.message)
    return Refused(OS_ERROR if error.code == "forbidden" else COMMAND_ERROR, error.message)


def is_waiting(message: object) -> bool:
    """Whether its sender waits for the end of what he orders."""
    properties = message.get("properties") if isinstance(message, Mapping) else None
    return isinstance(properties, Mapping) and _waits(properties)


# Properties -------------------------------------------------------------------------------------------------


def _name(properties: Properties) -> str:
    if "name" not in properties:
        raise Refused(MESSAGE_ERROR, "message invalid 'name' is missing")
    return str(properties["name"])


def _flag(properties: Properties, key: str, *, default: bool = False) -> bool:
    value = properties.get(key, default)
    return value.strip().lower() in ("true", "yes", "on", "1") if isinstance(value, str) else bool(value)


def _waits(properties: Properties) -> bool:
    return _flag(properties, "waiting")


def _number(properties: Properties, key: str) -> int | None:
    value = properties.get(key)
    if value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused(MESSAGE_ERROR, f"{key!r} isn't an integer") from None


# Orders -----------------------------------------------------------------------------------------------------


def _order(verb: str, told: tuple[str, ...]) -> Callable[[Properties], Program]:
    """``told``: the lists that a waiting caller gets when one watcher was meant."""

    def program(properties: Properties) -> Program:
        body: dict[str, object] = {"wait": _waits(properties)}
        names: list[str] | None = None
        if "name" in properties:
            names = yield from _meant(_name(properties), str(properties.get("match") or "glob"))
            body |= {"names": names, "match": "simple"}
        if verb == "reload":
            body |= {
                "graceful": _flag(properties, "graceful", default=True),
                "sequential": _flag(properties, "sequential"),
            }
        answer = yield Ask(target(verb), body)
        if not body["wait"] or names is None or len(names) != 1:
            return {}
        return {"info": {key: answer[key] for key in told} if told else None}

    return program


def _meant(pattern: str, match: str) -> Generator[Ask, Answer, list[str]]:
    """The names that a pattern stands for."""
    known = (yield Ask(target("watchers")))["watchers"]
    if match == "simple":
        expression = re.escape(pattern.lower()) + r"\Z"
    elif match == "glob":
        expression = fnmatch.translate(pattern.lower())
    elif match == "regex":
        expression = pattern
    else:
        raise Refused(MESSAGE_ERROR, f"match is {match!r}; use simple, glob or regex")
    try:
        found = [name for name in known if re.match(expression, name.lower())]
    except re.error as error:
        raise Refused(MESSAGE_ERROR, f"{pattern!r} is no regular expression: {error}") from None
    if not found:
        raise Refused(MESSAGE_ERROR, f"program {pattern} not found")
    return found


def _count(sign: int) -> Callable[[Properties], Program]:
    def program(properties: Properties) -> Program:
        nb = _number(properties, "nb")
        body: dict[str, object] = {"delta": sign * (1 if nb is None else nb), "wait": _waits(properties)}
        answer = yield Ask(target("watchers", _name(properties), "count"), body)
        found = {} if answer.get("numprocesses") is None else {"numprocesses": answer["numprocesses"]}
        return found | ({"singleton": True} if answer.get("warnings") else {})

    return program


def _signal(properties: Properties) -> Program:
    if "signum" not in properties:
        raise Refused(MESSAGE_ERROR, "message invalid 'signum' is missing")
    body = {
        "signum": properties["signum"],
        "pid": _number(properties, "pid"),
        "childpid": _number(properties, "childpid" if "childpid" in properties else "child_pid"),
        "children": _flag(properties, "children"),
        "recursive": _flag(properties, "recursive"),
    }
    yield Ask(target("watchers", _name(properties), "signal"), body)
    return {}


def _kill(properties: Properties) -> Program:
    body: dict[str, object] = {"pid": _number(properties, "pid"), "wait": _waits(properties)}
    if properties.get("signum") is not None:
        body["signum"] = properties["signum"]
    if properties.get("graceful_timeout") is not None:
        try:
            seconds = float(properties["graceful_timeout"])
            if not math.isfinite(seconds):
                raise ValueError
            body["graceful_timeout"] = seconds
        except (TypeError, ValueError, OverflowError):
            raise Refused(MESSAGE_ERROR, "'graceful_timeout' isn't a number") from None
    yield Ask(target("watchers", _name(properties), "kill"), body)
    return {}


def _set(properties: Properties) -> Program:
    options = properties.get("options")
    if not isinstance(options, Mapping):
        raise Refused(MESSAGE_ERROR, "message invalid 'options' is missing")
    env = options.get("env")
    for name, value in env.items() if isinstance(env, Mapping) else ():
        if not isinstance(value, str):
            raise Refused(MESSAGE_ERROR, f"env: the value of {name!r} is no string")
    yield Ask(target("watchers", _name(properties), "set"), {"options": dict(options), "wait": _waits(properties)})
    return {}


def _add(properties: Properties) -> Program:
    if "cmd" not in properties:
        raise Refused(MESSAGE_ERROR, "message invalid 'cmd' is missing")
    options = properties.get("options") or {}
    if not isinstance(options, Mapping):
        raise Refused(MESSAGE_ERROR, "message invalid 'options' is not an object")
    name, shall_start, waits = _name(properties).strip(), _flag(properties, "start"), _waits(properties)
    body: dict[str, object] = {
        "cmd": properties["cmd"],
        "args": properties.get("args") or "",
        "options": dict(options),
        "start": shall_start and waits,
        "wait": True,  # whoever has the answer may name the watcher: only its start is not waited for
    }
    answer = yield Ask(target("watchers", name, "add"), body)
    if shall_start and not waits:
        yield Ask(target("start"), {"wait": False, "names": [name], "match": "simple"})
    return {key: answer[key] for key in ("started", "kept")} if shall_start and waits else {}


def _rm(properties: Properties) -> Program:
    body: dict[str, object] = {"nostop": _flag(properties, "nostop"), "wait": _waits(properties)}
    yield Ask(target("watchers", _name(properties), "remove"), body)
    return {}


def _plain(verb: str) -> Callable[[Properties], Program]:
    def program(properties: Properties) -> Program:
        yield Ask(target(verb), {"wait": _waits(properties)})
        return {}

    return program


# Queries ----------------------------------------------------------------------------------------------------


def _list(properties: Properties) -> Program:
    if "name" in properties:
        return {"pids": (yield Ask(target("watchers", _name(properties))))["pids"]}
    return {"watchers": sorted(name.lower() for name in (yield Ask(target("watchers")))["watchers"])}


def _status(properties: Properties) -> Program:
    if "name" in properties:
        return {"status": (yield Ask(target("status", _name(properties))))["state"]}
    answer = yield Ask(target("status"))
    return {"statuses": {watcher["name"].lower(): watcher["state"] for watcher in answer["watchers"]}}


def _numprocesses(properties: Properties) -> Program:
    if "name" in properties:
        watcher = yield Ask(target("status", _name(properties)))
        return {"numprocesses": watcher["numprocesses"], "watcher_name": watcher["name"]}
    return {"numprocesses": sum(each["numprocesses"] for each in (yield Ask(target("status")))["watchers"])}


def _numwatchers(_properties: Properties) -> Program:
    return {"numwatchers": len((yield Ask(target("watchers")))["watchers"])}


def _options(properties: Properties) -> Program:
    return {"options": (yield _ask_options(properties))["options"]}


def _ask_options(properties: Properties) -> Ask:
    """``reveal`` is ours: the ancestors showed every value to everybody."""
    query = {"reveal": "true"} if properties.get("reveal") is True else None
    return Ask(target("watchers", _name(properties), "options", query=query))


def _get(properties: Properties) -> Program:
    keys = properties.get("keys")
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        raise Refused(MESSAGE_ERROR, "message invalid 'keys' is missing")
    known = (yield _ask_options(properties))["options"]
    found = {}
    for key in keys:
        if key not in known:
            raise Refused(MESSAGE_ERROR, f"{key!r} option not found")
        found[key] = known[key]
    return {"options": found}


def _dstats(_properties: Properties) -> Program:
    return {"info": (yield Ask(target("dstats")))["info"]}


def _globaloptions(properties: Properties) -> Program:
    options = (yield Ask(target("options")))["options"]
    option = properties.get("option")
    if not option:
        return {"options": options}
    if not isinstance(option, str) or option not in options:
        raise Refused(MESSAGE_ERROR, f"{option!r} option not found")
    return {"options": {option: options[option]}}


def _listsockets(_properties: Properties) -> Program:
    rows = [_socket(row) for row in (yield Ask(target("sockets")))["sockets"]]
    return {"sockets": sorted(rows, key=lambda row: row["fd"])}


def _socket(row: Answer) -> dict[str, Any]:
    place = {"path": row["path"]} if row.get("path") else {"host": row.get("host"), "port": row.get("port")}
    return {"fd": row.get("fileno", -1), "name": row["name"], "backlog": row.get("backlog"), **place}


def _stats(properties: Properties) -> Program:
    query = {"extended": "true"} if _flag(properties, "extended") else {}
    if "name" not in properties:
        return {"infos": (yield Ask(target("stats", query=query)))["infos"]}
    name, pid = _name(properties), _number(properties, "process")
    query |= {"name": name} if pid is None else {"name": name, "pid": str(pid)}
    infos = (yield Ask(target("stats", query=query)))["infos"]
    info: Answer = next(iter(infos.values()), {})
    if pid is not None:
        return {"process": pid, "info": info.get(str(pid), "No such process (stopped?)")}
    return {"name": name, "info": info}


COMMANDS: Mapping[str, Callable[[Properties], Program]] = {
    "add": _add,
    "decr": _count(-1),
    "dstats": _dstats,
    "get": _get,
    "globaloptions": _globaloptions,
    "incr": _count(1),
    "kill": _kill,
    "list": _list,
    "listsockets": _listsockets,
    "numprocesses": _numprocesses,
    "numwatchers": _numwatchers,
    "options": _options,
    "quit": _plain("quit"),
    "reload": _order("reload", ("stopped", "started", "kept")),
    "reloadconfig": _plain("reloadconfig"),
    "restart": _order("restart", ("stopped", "started", "kept")),
    "rm": _rm,
    "set": _set,
    "signal": _signal,
    "start": _order("start", ("started", "kept")),
    "stats": _stats,
    "status": _status,
    "stop": _order("stop", ()),
}

#: What is not answered here, and why.
ELSEWHERE: Mapping[str, tuple[int, str]] = {
    "listen": (MESSAGE_ERROR, "listen is no command of this endpoint: subscribe to the events"),
    "ipython": (UNKNOWN_COMMAND, "unknown command: 'ipython': circusd has no shell inside"),
}
