"""The command line of circusd."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from circus import __version__, nearest

_NEXT = """\
next: circusctl init -- PROGRAM ARG...   writes a first circus.ini for a program, and checks it
      circusd circus.ini                 starts it here; with --daemon in the background
      circusctl status -v                says how it is"""

LEVELS = ("critical", "error", "warning", "info", "debug")


class _Parser(argparse.ArgumentParser):
    """One line for what is wrong, and one that says what to do."""

    def error(self, message: str) -> NoReturn:
        self._refuse(message, "`circusd --help` says what may stand there")

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        asked, rest = super().parse_known_args(*args, **kwargs)
        if rest:
            odd = [word for word in rest if word.startswith("-")] or rest
            known = [option for action in self._actions for option in action.option_strings]
            hint = nearest.hint(odd[0].partition("=")[0], known, "`circusd --help` says what may stand there")
            self._refuse(f"unrecognized arguments: {' '.join(odd)}", hint)
        return asked, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = list(map(str, action.choices))
            what = f"argument {'/'.join(action.option_strings)}: {value!r} is none of {', '.join(choices)}"
            self._refuse(what, nearest.hint(str(value), choices, "choose one of them"))

    def _refuse(self, message: str, hint: str) -> NoReturn:
        self.exit(2, f"circusd: {message}\n  hint: {hint}\n")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="circusd",
        description="Start and watch the programs of a configuration, hosted by papa.",
        epilog=_NEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
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
