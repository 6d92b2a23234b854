"""The command line of circusd."""

from __future__ import annotations

import argparse

from circus import __version__

LEVELS = ("critical", "error", "warning", "info", "debug")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="circusd", description="Start and watch the programs of a configuration, hosted by papa."
    )
    parser.add_argument("config", nargs="?", help="the configuration file")
    parser.add_argument("--daemon", action="store_true", help="go to the background once it takes commands")
    parser.add_argument("--log-level", type=str.lower, choices=LEVELS, help="how much to log")
    parser.add_argument("--log-output", metavar="F", help="where to log: a file, - (standard error), syslog://...")
    parser.add_argument("--logger-config", metavar="F", help="a logging configuration, .ini or .json")
    parser.add_argument("--pidfile", metavar="F", help="write circusd's pid to this file")
    parser.add_argument("--version", action="version", version=__version__)
    arguments = parser.parse_args(argv)
    if arguments.config is None:
        parser.print_help()
        parser.exit(0)
    return arguments
