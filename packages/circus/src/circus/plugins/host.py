"""The process of a plugin: finds the class, makes one, runs it; and `circus-plugin`, which does so by hand.

Under circusd everything comes by one variable of the environment, which is taken out of it at once; what the plugin
prints or logs becomes lines of circusd's log. By hand it comes from the command line.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import circus
from circus.config.plugins import VARIABLE
from circus.errors import TABLE, CircusError
from circus.legacy.exc import CallError
from circus.plugins import base
from circus.plugins.base import CircusPlugin

log = logging.getLogger("circus.plugins")

#: Parameters of a plugin that no key of its section can stand for.
RESERVED = frozenset({"endpoint", "pubsub_endpoint", "check_delay", "ssh_server"})

LEVELS = ("debug", "info", "warning", "error", "critical")


class Told(NamedTuple):
    """What a process of a plugin is told to run."""

    name: str
    use: str
    endpoint: str
    check_delay: float
    config: Mapping[str, str]
    pubsub: str | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the plugin was told to end; 1 when it could not begin, with one line why."""
    text = os.environ.pop(VARIABLE, None)
    try:
        if text is not None and argv is None:
            told = _from_circusd(text)
            _log_to_circusd()
        else:
            told = _from_words(sys.argv[1:] if argv is None else argv)
        _set_title(told.name)
        # Behind everything else: what lies where circusd was started must not stand in for a module of Python.
        sys.path.append(os.getcwd())
        plugin = _make(told)
    except CircusError as error:
        print(str(error).replace("\n  hint:", ";"), file=sys.stderr)
        return error.exit_status
    plugin.started_at = _started_at()
    try:
        plugin.start()
    except (CallError, CircusError) as error:
        print(str(error).replace("\n  hint:", ";"), file=sys.stderr)
        return TABLE["failed"][1]
    except Exception:
        log.exception("%s failed", told.use)
        return TABLE["failed"][1]
    finally:
        # Threads that it has begun are waited for by Python, and would be for ever.
        signal.alarm(base.LEAVE_S)
    return 0


def _make(told: Told) -> CircusPlugin:
    """Raises: CircusError."""
    module_name, _, attribute = told.use.replace(":", ".").rpartition(".")
    try:
        made = getattr(importlib.import_module(module_name), attribute)
        config = {key: text for key, text in told.config.items() if key not in RESERVED}
        plugin: CircusPlugin = made(told.endpoint, told.pubsub, told.check_delay, None, **config)
        if not callable(getattr(plugin, "start", None)):
            raise TypeError("it has no method start: is it a subclass of circus.plugins.CircusPlugin?")
    except CircusError:
        raise
    except Exception as error:
        log.debug("%s", told.use, exc_info=True)
        raise CircusError(
            "failed",
            f"plugin {told.use} cannot be made: {type(error).__name__}: {error}",
            f"`circus-plugin --log-level debug {told.use}` shows where",
        ) from error
    return plugin


def _started_at() -> float:
    """When this process began (wall clock; Linux, else now): what happened while it was loaded is news to it, too."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])  # proc(5), starttime
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError):
        return time.time()


def _from_circusd(text: str) -> Told:
    try:
        return Told(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise CircusError("usage", f"{VARIABLE} is not what circusd writes: {error}") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise CircusError("usage", message, f"see `{self.prog} --help`")


def _from_words(words: Sequence[str]) -> Told:
    parser = _Parser(
        prog="circus-plugin",
        description="Runs a plugin by hand, to try it. circusd runs those of its configuration itself.",
    )
    parser.add_argument("plugin", metavar="CLASS", help="package.module.Class")
    parser.add_argument("--endpoint", default="default", help="which circusd, as for circusctl; or tcp://HOST:PORT")
    parser.add_argument("--pubsub", help="where events come from, if there is no control socket here")
    parser.add_argument("--config", default="", metavar="K:V:::K:V", help="the keys of the plugin's section")
    parser.add_argument("--check-delay", type=float, default=5.0, metavar="S")
    parser.add_argument("--log-level", default="info", type=str.lower, choices=LEVELS)
    parser.add_argument("--log-output", default="-", metavar="FILE", help="default: standard error")
    parser.add_argument("--version", action="version", version=circus.__version__)
    args = parser.parse_args(list(words))
    try:
        logging.basicConfig(
            level=args.log_level.upper(),
            filename=None if args.log_output in ("-", "stdout") else args.log_output,
            format="%(asctime)s %(name)s[%(process)d] [%(levelname)s] %(message)s",
            datefmt="%Y-%m-%d %H:%M:%S",
        )
    except OSError as error:
        raise CircusError("usage", f"--log-output {args.log_output}: {error.strerror}") from None
    config = _parse_config(args.config)
    return Told(args.plugin, args.plugin, args.endpoint, args.check_delay, config, args.pubsub)


def _parse_config(text: str) -> dict[str, str]:
    """The ancestors' form. Values with colons are whole; what needs `:::` needs a section of circusd's file."""
    config = {}
    for pair in filter(None, text.split(":::")):
        key, colon, value = pair.partition(":")
        if not colon or not key.strip():
            raise CircusError("usage", f"--config: {pair!r} is no KEY:VALUE", "write --config KEY:VALUE:::KEY:VALUE")
        config[key.strip()] = value.strip()
    return config


class _Mild(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING


def _log_to_circusd() -> None:
    """Lines without time and name, which circusd's log puts before them; what is serious to standard error."""
    mild, serious = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    mild.addFilter(_Mild())
    serious.setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[mild, serious])
    for stream in (sys.stdout, sys.stderr):
        # A line that is printed is a line that is read.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]


def _set_title(name: str) -> None:
    try:
        from setproctitle import setproctitle  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return
    setproctitle(f"circus plugin {name}")
