"""The entry of circusd: all that can be wrong before anything is touched, then its life."""

from __future__ import annotations

import gc
import logging
import os
import sys

from circus import hooks, upgrade
from circus.config import load
from circus.daemon import allocator, arguments, detach, life, logs, notify
from circus.daemon.pidfile import Pidfile
from circus.daemon.ward import Ward
from circus.errors import CircusError
from circus.upgrade import handover, rehearsal
from circus.upgrade.succession import Origin, Succession
from papa.errors import PapaError

log = logging.getLogger("circus")


def main(argv: list[str] | None = None) -> None:
    # Until circusd is up, what is made is kept: to look through it again and again is a tenth of a start.
    gc.disable()
    allocator.tame()
    environ = dict(os.environ)
    options = arguments.parse(sys.argv[1:] if argv is None else argv)
    if os.environ.pop(upgrade.REHEARSAL, None) is not None:
        rehearsal.main(options.config)
    # Taken out of the environment before anything copies it.
    manager = notify.Manager.of(os.environ)
    ward = Ward.of(os.environ)
    is_detached = options.daemon and ward.has_warden and not ward.is_contained
    if ward.is_contained and options.daemon:
        print("warning: --daemon has no effect in a container, which lives as long as circusd", file=sys.stderr)
    readiness = detach.Readiness(ward.starter)
    succession = None
    try:
        left = handover.take(os.environ)
        succession = Succession(Origin.of(environ, ward.renew), left)
        if is_detached and "log" in ward.kept:
            # Standard error is nobody's any more; what is wrong now can be read where the one before wrote.
            logs.configure(*ward.kept["log"])
        config = load.load(os.path.abspath(options.config), os.environ)
        for finding in config.warnings:
            print(f"warning: {finding}", file=sys.stderr)
        hooks.check(config.watchers)
        pidfile_path = options.pidfile or config.pidfile
        pidfile = Pidfile(pidfile_path) if pidfile_path else None
        log_to = (
            options.log_level or config.loglevel,
            options.log_output or config.logoutput,
            options.logger_config or config.loggerconfig,
        )
        logs.configure(*log_to)
    except (CircusError, OSError) as error:
        text = f"circusd: {error}"
        if is_detached and "log" in ward.kept:
            log.error("%s", text.replace("\n", " "))
        if succession is not None:
            succession.go_back(error)
        sys.exit(1 if is_detached and "log" in ward.kept else text)
    if config.umask is not None:
        os.umask(config.umask)
    if is_detached:
        if logs.goes_to_terminal():
            print("warning: in the background the log goes nowhere; set logoutput or --log-output", file=sys.stderr)
        detach.close_terminal()
        if manager.is_there or not config.warden:
            ward.dismiss()
    ward.keep(log=log_to)
    try:
        life.Life(config, pidfile, readiness, manager, ward, succession).live()
    except (CircusError, PapaError) as error:
        text = f"circusd: {error}"
        if is_detached or not logs.goes_to_terminal():
            log.error("%s", text.replace("\n", " "))
        readiness.tell(text)
        sys.exit(1 if is_detached else text)
    except Exception as error:
        log.exception("circusd failed")
        readiness.tell(f"circusd: {type(error).__name__}: {error}; its log has the traceback")
        sys.exit(1)
