"""What a program gives as mappings, numbers and objects, as sections of a configuration: the same reading, checks and
messages as for a file. Objects are held by `given` under a path, which stands in the section.
"""

from __future__ import annotations

import functools
import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from circus import given
from circus.config import amend, options
from circus.config.read import Document, Entry, Section
from circus.embedding.sockets import CircusSocket
from circus.errors import CircusError

#: Keywords of the ancestors' Arbiter whose value says what a section [circus] says.
_CIRCUS = frozenset(
    {
        *("warmup_delay", "umask", "endpoint_owner", "papa_endpoint", "use_papa", "store_size", "store_age"),
        *("httpd", "httpd_host", "httpd_port", "httpd_close_outputs", "statsd", "statsd_close_outputs", "debug"),
        *("debug_gc", "multicast_endpoint", "ssh_server", "fqdn_prefix"),
    }
)

#: And those that concern the process, which is the program's own business.
_PROGRAMS_OWN = frozenset(
    {
        *("context", "env", "stream_backend", "proc_name", "pidfile", "loglevel", "logoutput", "loggerconfig"),
        "prereload_fn",
    }
)

#: Keywords of the ancestors' Watcher that a section does not have, and that ask for nothing here.
_NOT_OPTIONS = frozenset(("loop", "prereload_fn"))

_STREAMS = ("stdout_stream", "stderr_stream")

#: Where the ancestors' stream classes are, which circusd writes by itself.
_OWN_STREAMS = ("circus.stream", "circus.legacy.stream")


class Holder:
    """Holds objects until ``release``."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def hold(self, thing: object, called: str = "") -> str:
        self.paths.append(given.hold(thing, called))
        return self.paths[-1]


def document(
    path: str,
    *,
    circus: Mapping[str, object],
    watchers: Iterable[tuple[str, Mapping[str, str]]],
    sockets: Iterable[CircusSocket | Mapping[str, Any]] = (),
    plugins: Iterable[Mapping[str, Any]] = (),
) -> Document:
    """``path`` is where findings point to. Raises: CircusError bad-request."""
    made = Document(path)
    sections: list[tuple[str, Mapping[str, str]]] = [("circus", amend.texts_of(_without_none(circus)))]
    sections += [(f"watcher:{name}", texts) for name, texts in watchers]
    for each in sockets:
        described = each if isinstance(each, CircusSocket) else CircusSocket.load_from_config(each)
        sections.append((f"socket:{described.name}", _socket(described)))
    sections += [_plugin(each) for each in plugins]
    for title, texts in sections:
        if title in made.sections:
            kind, _, name = title.partition(":")
            raise CircusError("conflict", f"two {kind}s are named {name}", "give one of them another name")
        entries = {key: Entry(key, text, path, 0) for key, text in texts.items()}
        made.sections[title] = Section(title, path, 0, entries)
    return made


def circus(told: Mapping[str, Any]) -> dict[str, Any]:
    """What keywords of an Arbiter say of a section [circus]. Raises: TypeError for one that it does not have."""
    if unknown := sorted(told.keys() - _CIRCUS - _PROGRAMS_OWN):
        raise TypeError(f"an Arbiter has no keyword {unknown[0]!r}")
    meant = {key: each for key, each in told.items() if key in _CIRCUS and each}
    if isinstance(meant.get("umask"), int):
        meant["umask"] = f"{meant['umask']:o}"
    return meant


def watcher(told: Mapping[str, Any], hold: Callable[[object, str], str]) -> tuple[str, dict[str, str]]:
    """The name and the options of a watcher. Raises: CircusError bad-request."""
    name = name_of(told)
    rest = _without_none({key: each for key, each in told.items() if key != "name" and key not in _NOT_OPTIONS})
    for key, limit in (rest.pop("rlimits", None) or {}).items():
        rest[f"rlimit_{str(key).lower().removeprefix('rlimit_')}"] = "" if limit is None else limit
    if isinstance(rest.get("hooks"), Mapping):
        rest["hooks"] = {hook: _hook(hook, each, hold) for hook, each in rest["hooks"].items()}
    if isinstance(rest.get("env"), Mapping):
        rest["env"] = _without_none(rest["env"])
    for key in _STREAMS:
        if key in rest:
            rest[key] = _stream(f"{name}_{key}", rest[key], hold)
    for key in ("cmd", "args"):
        if isinstance(rest.get(key), tuple | list):
            rest[key] = shlex.join(str(word) for word in rest[key])
    if not rest.get("args"):
        rest.pop("args", None)
    try:
        texts = amend.texts_of({key: _plain(each) for key, each in rest.items()})
    except CircusError as error:
        raise CircusError(error.code, f"{name}: {error.message}", error.hint) from None
    return name, texts


def name_of(told: Mapping[str, Any]) -> str:
    """The one that it has, else that of its program. Raises: CircusError bad-request."""
    cmd = told.get("cmd")
    if not cmd:
        raise CircusError("bad-request", f"{told.get('name') or 'a watcher'}: cmd is missing", "give it a program")
    words = shlex.split(cmd) if isinstance(cmd, str) else list(cmd)
    return str(told.get("name") or os.path.basename(words[0]))


def _without_none(told: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in told.items() if each is not None}


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _hook(name: str, value: Any, hold: Callable[[object, str], str]) -> str:
    """A function or its path, alone or with whether its errors are ignored."""
    function, ignores = (*value, False)[:2] if isinstance(value, tuple | list) and value else (value, False)
    path = function if isinstance(function, str) else hold(function, getattr(function, "__name__", name))
    return f"{path},{'true' if ignores else 'false'}" if ignores else path


def _stream(called: str, value: Any, hold: Callable[[object, str], str]) -> dict[str, Any]:
    """A callable, or a mapping with ``stream`` (a callable), ``class`` (a class or its name) or ``filename``."""
    if not isinstance(value, Mapping):
        value = {"stream": value}
    told = _without_none(value)
    if "stream" in told:
        thing = told["stream"]
        if not callable(thing):
            what = f"{called}: a stream is called with what processes write, and {type(thing).__name__} cannot be"
            raise CircusError("bad-request", what, "give a function, or an object that has __call__")
        return {"class": hold(lambda: thing, called)}
    made = told.pop("class", None)
    if isinstance(made, type) and made.__module__ in _OWN_STREAMS and made.__name__ in options.STREAM_CLASSES:
        made = made.__name__
    if made is not None and not isinstance(made, str):
        return {"class": hold(functools.partial(made, **told), called)}
    return {key: _plain(each) for key, each in {"class": made or "FileStream", **told}.items()}


def _socket(described: CircusSocket) -> dict[str, str]:
    told = _without_none(described.options())
    for key, kinds in (("family", socket.AddressFamily), ("type", socket.SocketKind)):
        if isinstance(told.get(key), int):
            told[key] = kinds(told[key]).name
    if isinstance(told.get("umask"), int):
        told["umask"] = f"{told['umask']:o}"
    return amend.texts_of({key: _plain(each) for key, each in told.items()})


def _plugin(told: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    use = told.get("use")
    if isinstance(use, type):
        use = f"{use.__module__}.{use.__qualname__}"
    if not isinstance(use, str) or not use:
        raise CircusError("bad-request", "a plugin has no `use`", "name its class: package.module.Class")
    rest = _without_none({key: each for key, each in told.items() if key not in ("use", "name")})
    if "PYTHONPATH" not in rest.get("env", {}):
        # Its class is found where the program finds it.
        rest["env"] = {**rest.get("env", {}), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return f"plugin:{told.get('name') or use}", amend.texts_of({"use": use, **rest})
