"""What `[plugin:NAME]` becomes: a watcher whose program is a plugin's process; and the options of the built-in plugins.

A plugin's section has two readers. The watcher takes what is an option of watchers; the plugin gets every key, as text,
by the one variable ``VARIABLE`` of its environment: no value has to pass a command line.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from circus.config import dependencies, options
from circus.config.model import CircusConfig, StreamConfig, WatcherConfig
from circus.config.options import Option
from circus.config.read import Section

VARIABLE = "CIRCUS_PLUGIN"

FLAPPING = "circus.plugins.flapping.Flapping"

#: Keys of a section that are the plugin's alone: the watcher has its own program, or the name means something else.
PLUGINS_OWN = frozenset(
    {
        *("use", "active", "cmd", "args", "executable", "shell", "shell_args", "stdin_socket", "use_sockets"),
        *("listen_fds", "on_demand", "virtualenv", "type", "schedule"),
    }
)

#: What a watcher of a plugin has unless the section says otherwise. It leaves with circusd: `[circus] use_papa` is for
#: services.
_DEFAULTS: Mapping[str, Any] = {
    "priority": 1,
    "singleton": True,
    "copy_env": True,
    "copy_path": True,
    "use_papa": False,
}

#: Without these a plugin would look for its circusd elsewhere.
_KEPT_VARIABLES = ("PAPA_RUNTIME_DIR",)


def _table(*rows: Option) -> dict[str, Option]:
    return {row.name: row for row in rows}


def _every(seconds: float) -> Option:
    return Option("loop_rate", "interval", seconds, "Look every so many seconds.", "restart")


_STATSD = (
    Option("application_name", "text", "app", "Name in the counters: `circus.NAME...`.", "restart"),
    Option("host", "text", "localhost", "Where statsd listens (UDP).", "restart"),
    Option("port", "port", 8125, "And its port.", "restart"),
    Option("sample_rate", "share", 1.0, "Share of the counts that is sent, from 0 to 1; statsd multiplies.", "restart"),
)

STATSD = _table(*_STATSD)
FULL_STATS = _table(*_STATSD, _every(60.0))
RESOURCE_WATCHER = _table(
    Option("watcher", "text", None, "The watcher to look at; required.", "restart"),
    Option("service", "text", None, "Once: the name of `watcher`.", "restart"),
    _every(60.0),
    Option("max_cpu", "percent", 90.0, "More than this is too much, percent of one processor.", "restart"),
    Option("min_cpu", "percent", None, "Less than this is too little.", "restart"),
    Option("max_mem", "memory", (90.0, False), "More resident memory than this is too much: percent of the host's, or "
           "bytes with a unit (`100M`).", "restart"),
    Option("min_mem", "memory", None, "Less than this is too little.", "restart"),
    Option("health_threshold", "percent", 75.0, "A mean of cpu and memory percent above this is too "
           "much.", "restart"),
    Option("max_count", "count", 3, "So often in a row is borne; once more, and the watcher is restarted.", "restart"),
    Option("process_children", "flag", False, "Look at the children of its processes instead; one that uses too "
           "much gets `child_signal`.", "restart"),
    Option("child_signal", "signal", 15, "Signal for such a child.", "restart"),
    *_STATSD,
)  # fmt: skip
WATCHDOG = _table(
    _every(60.0),
    Option("watchers_regex", "pattern", ".*", "Names of watchers begin so; plugins are never meant.", "restart"),
    Option("msg_regex", "pattern", "^(?P<pid>.*);(?P<timestamp>.*)$", "A datagram; it needs the group `pid`.",
           "restart"),
    Option("max_count", "positive", 3, "A process that is silent for so many loops is killed.", "restart"),
    Option("ip", "text", "127.0.0.1", "Address to listen on (UDP).", "restart"),
    Option("port", "port", 1664, "And its port.", "restart"),
    Option("watchers_stop_signal", "signal", None, "Signal of the kill. Default: the watcher's own.", "restart"),
    Option("watchers_graceful_timeout", "seconds", None, "SIGKILL follows after it. Default: the watcher's own.",
           "restart"),
)  # fmt: skip
HTTP_OBSERVER = _table(
    Option("check_url", "text", "http://localhost/", "Asked by GET; an answer below 400 is a good one.", "restart"),
    Option("timeout", "interval", 10.0, "An answer that takes longer is a failure.", "restart"),
    Option("restart_on_error", "text", None, "Watcher to restart after a failure.", "restart"),
    _every(60.0),
    replace(_STATSD[0], default="http_observer"),
    *_STATSD[1:],
)
REDIS_OBSERVER = _table(
    Option("redis_url", "text", "redis://localhost:6379/0", "The server.", "restart"),
    Option("timeout", "interval", 5.0, "An answer that takes longer is a failure.", "restart"),
    Option("restart_on_timeout", "text", None, "Watcher to restart after a failure.", "restart"),
    _every(60.0),
    replace(_STATSD[0], default="redis_observer"),
    *_STATSD[1:],
)
COMMAND_RELOADER = _table(_every(1.0))

#: By the name that `use` has.
BUILT_IN: Mapping[str, Mapping[str, Option]] = {
    "circus.plugins.resource_watcher.ResourceWatcher": RESOURCE_WATCHER,
    "circus.plugins.watchdog.WatchDog": WATCHDOG,
    "circus.plugins.statsd.StatsdEmitter": STATSD,
    "circus.plugins._statsd.StatsdEmitter": STATSD,
    "circus.plugins.statsd.FullStats": FULL_STATS,
    "circus.plugins.http_observer.HttpObserver": HTTP_OBSERVER,
    "circus.plugins.redis_observer.RedisObserver": REDIS_OBSERVER,
    "circus.plugins.command_reloader.CommandReloader": COMMAND_RELOADER,
}


#: Options of which a plugin needs one.
REQUIRED: Mapping[str, tuple[str, ...]] = {"circus.plugins.resource_watcher.ResourceWatcher": ("watcher", "service")}


#: Options of built-in plugins that name a watcher.
NAMING = ("watcher", "service", "restart_on_error", "restart_on_timeout")

#: Prefixes of options that a watcher obeys without a new process.
_LIVE = ("hooks.", "stdout_stream.", "stderr_stream.", *(f"{family}." for family in options.FAMILIES))


def is_for_watcher(key: str) -> bool:
    """Whether the watcher takes it, too."""
    if key in PLUGINS_OWN or key in dependencies.KEYS or key.startswith("job."):
        return False
    return key in options.WATCHER or key.startswith((*_LIVE, "rlimit_", "env."))


def watchers_part(section: Section) -> Section:
    """The section as the watcher reads it."""
    entries = {key: entry for key, entry in section.entries.items() if is_for_watcher(key)}
    return Section(section.name, section.file, section.line, entries)


def as_plugin(
    watcher: WatcherConfig,
    *,
    use: str,
    is_active: bool,
    texts: Mapping[str, str],
    circus: CircusConfig,
    environ: Mapping[str, str],
) -> WatcherConfig:
    """``watcher`` as it was read from the section, made a plugin's; ``texts`` are all keys, expanded."""
    name = watcher.name.partition(":")[2]
    own = {key: text for key, text in texts.items() if key != "use"}
    told = {
        "name": name,
        "use": use,
        "endpoint": circus.control or circus.name,
        "check_delay": circus.check_delay_s,
        "config": own,
    }
    kept = {key: environ[key] for key in _KEPT_VARIABLES if key in environ}
    changes = {key: value for key, value in _DEFAULTS.items() if key not in watcher.written}
    if not is_active:
        changes["autostart"] = False
    command = f"{shlex.quote(sys.executable)} -P -m circus.plugins"
    shown = {key: str(value).lower() for key, value in changes.items()}
    restarting = {key: text for key, text in own.items() if not _is_live(key)}
    basis = json.dumps([watcher.digest, use, told["endpoint"], restarting], sort_keys=True)
    return replace(
        watcher,
        **changes,
        cmd=command,
        env={**kept, **watcher.env, VARIABLE: json.dumps(told)},
        stdout_stream=watcher.stdout_stream or StreamConfig(class_name="LogStream", filename=watcher.name),
        stderr_stream=watcher.stderr_stream or StreamConfig(class_name="WarningLogStream", filename=watcher.name),
        plugin=use,
        extra={key: text for key, text in own.items() if not is_for_watcher(key)},
        digest=hashlib.sha256(basis.encode("utf-8", "surrogateescape")).hexdigest(),
        written={"cmd": command, **shown, **texts},
    )


def _is_live(key: str) -> bool:
    """Whether the watcher obeys a change of it without a new process."""
    if key.startswith(_LIVE):
        return True
    return is_for_watcher(key) and key in options.WATCHER and options.WATCHER[key].change == "live"


def search_path(watcher: WatcherConfig) -> list[str]:
    """Where the plugin's process finds modules beside those that circusd finds."""
    listed = watcher.env.get("PYTHONPATH", "").split(os.pathsep)
    return [*filter(None, listed), watcher.working_dir or "."]
