"""The JSON Schema of a configuration in TOML, for editors: made from the tables of options, as the reference is.

It asks for TOML's own types, where the reader also takes the text that an INI file would have. What only the reader
can know (is there such a program?) it does not ask, and keys that nothing knows it lets pass where the reader keeps
them for hooks and plugins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circus.config import checks, notifiers, options, plugins, quantities, rollouts, values
from circus.config.options import Option

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: A text that holds a variable may become anything.
VARIABLE = r"\$\(circus\.|\(\(circus\."

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)"
_TIME = rf"^\s*{_NUMBER}\s*([mM]?[sS]|[mM]|[mM][iI][nN]|[hH]|[dD])?\s*$"
_SIZE = r"^\s*\+?([0-9]+\.?[0-9]*|\.[0-9]+)\s*([kKmMgGtT]?([iI]?[bB])?)\s*$"
_INFINITE = r"^$|^(-1|unlimited|infinity)$"


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


def _whole(low: int, high: int | None = None) -> Schema:
    return {"type": "integer", "minimum": low} | ({} if high is None else {"maximum": high})


_TIMES = [{"type": "number", "minimum": 0}, _text(_TIME)]
_INT_MAX = (1 << 31) - 1

#: Type of an option -> what it may be, beside a text with a variable in it.
TYPES: Mapping[str, list[Schema]] = {
    "text": [{"type": "string"}],
    "pattern": [{"type": "string"}],
    "account": [{"type": "string"}, _whole(0)],
    "words": [{"type": "string"}, {"type": "array", "items": _text(r"^\S+$")}],
    "list": [{"type": "string"}, {"type": "array", "items": _text(r"^\S+$")}],
    "addresses": [{"type": "string"}, {"type": "array", "items": _text(r"^\S+:[0-9]+$")}],
    "flag": [{"type": "boolean"}],
    "integer": [_whole(-_INT_MAX - 1, _INT_MAX)],
    "count": [_whole(0)],
    "positive": [_whole(1, _INT_MAX)],
    "processes": [_whole(0, quantities.MAX_PROCESSES)],
    "retries": [_whole(-1, _INT_MAX)],
    "port": [_whole(0, 65535)],
    "period": [{"type": "number"}, _text(_TIME)],
    "seconds": _TIMES,
    "interval": _TIMES,
    "pause": _TIMES,
    "factor": [{"type": "number", "minimum": 1, "maximum": quantities.MAX_FACTOR}],
    "attempts": [_whole(-1, _INT_MAX)],
    "limit_action": [_text(r"^[A-Za-z]+$")],
    "size": [_whole(0), _text(_SIZE)],
    "octal": [_text(r"^(0o)?[0-7]{1,3}$")],
    "signal": [_whole(1, 64), _text(r"^[A-Za-z0-9]+([+-][0-9]+)?$")],
    "limit": [_whole(-1), _text(_INFINITE)],
    "limit_size": [_whole(-1), _text(f"{_INFINITE}|{_SIZE}")],
    "limit_seconds": [{"type": "number", "minimum": -1}, _text(f"{_INFINITE}|{_TIME}")],
    "limit_microseconds": [_whole(-1), _text(rf"{_INFINITE}|^{_NUMBER}\s*([uUmM]?[sS])?$")],
    "percent": [{"type": "number", "minimum": 0}, _text(r"^([0-9.]+%?)?$")],
    "share": [{"type": "number", "minimum": 0, "maximum": 1}],
    "memory": [{"type": "number", "minimum": 0}, _text(rf"^([0-9.]+%?)?$|{_SIZE}")],
    "family": [_text(r"^([aA][fF]_)?([iI][nN][eE][tT]6?|[uU][nN][iI][xX])$")],
    "socktype": [_text(r"^([sS][oO][cC][kK]_)?([sS][tT][rR][eE][aA][mM]|[dD][gG][rR][aA][mM]|[sS][eE][qQ].*)$")],
    "level": [_text(r"^[A-Za-z]+$")],
    "color": [_text(r"^[A-Za-z]+$")],
    "line_format": [_text(r"^[A-Za-z]+$")],
    "rotation": [_text(r"^[A-Za-z]+[0-6]?$")],
    "buffer": [_whole(quantities.MIN_BUFFER, quantities.MAX_BUFFER), _text(_SIZE)],
    "ready": [_text(rf"^({'|'.join(checks.READY)})\b")],
    "health_check": [_text(rf"^({'|'.join(checks.HEALTH)})\b")],
    "health_action": [_text(r"^[A-Za-z]+$")],
    "overflow": [_text(r"^[A-Za-z-]+$")],
    "kill_mode": [_text(r"^[A-Za-z]+$")],
    "stall": [{"type": "number", "minimum": 0, "maximum": quantities.MAX_STALL}, _text(rf"^[A-Za-z]+$|{_TIME}")],
    "bound": [_whole(0, rollouts.MAX_NUMBER), _text(r"^([0-9]{1,6}\s*%?)?$")],
    "update": [_text(r"^[A-Za-z]+$")],
    "facility": [_text(r"^[A-Za-z]+[0-7]?$")],
    "severity": [_text(r"^[A-Za-z]+$")],
    "receiver": [_text(r"^(/|(udp|tcp)://.)")],
    "name": [_text(r"^[A-Za-z0-9][A-Za-z0-9._-]*$") | {"maxLength": values.MAX_NAME}],
    "control": [_text(r"^unix:///.")],
    "papa": [{"type": "string"}, _whole(0, 65535)],
    "watcher_type": [_text(r"^[A-Za-z]+$")],
    "cron": [_text(r"^(@|.+ .+ .+ .+)")],
    "timezone": [_text(r"^[A-Za-z0-9_+/-]+$")],
    "overlap": [_text(r"^[A-Za-z]+$")],
    "missed": [_text(r"^[A-Za-z]+$")],
    "history": [_whole(1, quantities.MAX_RUNS)],
}

_SCALAR: Schema = {"type": ["string", "number", "boolean"]}
_VARIABLES: Schema = {"type": "object", "additionalProperties": _SCALAR}


def schema() -> Schema:
    """The whole schema."""
    watcher = _table(options.WATCHER)
    watcher["properties"] |= {
        "stdout_stream": _ref("stream"),
        "stderr_stream": _ref("stream"),
        "hooks": {"type": "object", "properties": {name: _hook(doc) for name, doc in options.HOOKS.items()}},
        **{family: _closed(_table(table)) for family, table in options.FAMILIES.items()},
        "env": _VARIABLES | {"description": "Variables of its processes, over those of [env]."},
        "rlimits": _closed({"type": "object", "properties": {name: _limit(name) for name in options.RLIMITS}}),
    }
    watcher["patternProperties"] = {"^rlimit_": {"type": ["string", "number"]}}
    plugin = _table(options.WATCHER) | {"description": "Options of the plugin, and those of a watcher for its process."}
    uses = [plugins.FLAPPING, *(use for use in plugins.BUILT_IN if "._" not in use)]
    plugin["properties"]["use"] = {
        "type": "string",
        "description": "The class of the plugin: package.module.Class.",
        "examples": uses,
    }
    for name in plugins.PLUGINS_OWN - {"use"}:
        plugin["properties"].pop(name, None)
    notifier = _table(notifiers.NOTIFIER)
    headers = {"type": "object", "additionalProperties": {"type": "string"}}
    notifier["properties"]["header"] = headers | {"description": "Headers of a message to `url`, by name."}
    return {
        "$schema": DIALECT,
        "title": "Configuration of circusd",
        "type": "object",
        "properties": {
            "circus": _closed(_table(options.CIRCUS)),
            "env": {
                "type": "object",
                "description": "Variables of all processes; a table in it is for the watchers that its patterns match.",
                "additionalProperties": {"anyOf": [_SCALAR, _VARIABLES]},
            },
            "watcher": _named(_ref("watcher")),
            "socket": _named(_closed(_table(options.SOCKET))),
            "plugin": _named(plugin),
            "notifier": _named(_ref("notifier")),
            "DEFAULT": {"type": "object", "description": "Values for all sections but [env]."},
        },
        "additionalProperties": False,
        "$defs": {
            "variable": {"type": "string", "pattern": VARIABLE},
            "watcher": watcher,
            "notifier": notifier,
            "stream": _table(options.STREAM),
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _table(table: Mapping[str, Option]) -> Schema:
    """Options with a dot in their names are those of a table in this one."""
    properties: dict[str, Schema] = {}
    for option in table.values():
        family, dot, key = option.name.partition(".")
        if dot:
            properties.setdefault(family, _closed({"type": "object", "properties": {}}))
            properties[family]["properties"][key] = _option(option)
        else:
            properties[option.name] = _option(option)
    return {"type": "object", "properties": properties}


def _closed(found: Schema) -> Schema:
    return found | {"additionalProperties": False}


def _named(of_one: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of_one}


def _option(option: Option) -> Schema:
    found = _value(option.type) | {"description": option.doc}
    if option.idle:
        return found | {"deprecated": True, "description": f"{option.doc} Without effect: {option.idle}."}
    if option.default not in (None, "", ()) and option.type not in ("octal", "signal", "memory"):
        found["default"] = list(option.default) if isinstance(option.default, tuple) else option.default
    return found


def _value(kind: str) -> Schema:
    allowed = TYPES[kind]
    if allowed == [{"type": "string"}]:
        return {"type": "string"}
    return {"anyOf": [*allowed, _ref("variable")]}


def _hook(doc: str) -> Schema:
    return {"type": "string", "description": f"package.module.function[,true]; called {doc}."}


def _limit(name: str) -> Schema:
    return _value(options.rlimit_type(name))
