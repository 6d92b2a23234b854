"""How circusctl reads words: argparse, but one line for what is wrong, and the word that was perhaps meant."""

from __future__ import annotations

import argparse
import sys

from circus import nearest
from circus.cli import terminal
from circus.cli.printing import say
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


#: The first word of what shells ask at a TAB; no command, as people never type it.
ASK = "__complete"


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Knows the width, for which argparse would import shutil and with it three compressors."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=terminal.columns() - 2)


class Parser(argparse.ArgumentParser):
    """One line for a wrong command line, instead of the whole usage."""

    def read(self, words: list[str], namespace: argparse.Namespace | None = None) -> argparse.Namespace:
        """Raises: CircusError usage."""
        if any(not action.option_strings for action in self._actions) and "--" in words:
            # Between arguments argparse forgets what `--` says of those behind it.
            options, given = self.parted(words)
            asked, rest = self.parse_known_args([*options, "--", *given], namespace)
        elif any(not action.option_strings for action in self._actions):
            asked, rest = self.parse_known_intermixed_args(words, namespace)
        else:
            asked, rest = self.parse_known_args(words, namespace)
        if rest:
            near = next(filter(None, map(self.nearest_option, rest)), None)
            hint = f"did you mean {near}?" if near else self._hint
            raise CircusError("usage", f"unrecognized arguments: {' '.join(rest)}", hint)
        return asked

    def parted(self, words: list[str]) -> tuple[list[str], list[str]]:
        """Options with their values; and the arguments: all else, and whatever stands behind `--`."""
        options: list[str] = []
        given: list[str] = []
        taking, at = self.taking, 0
        while at < len(words) and words[at] != "--":
            is_argument = not words[at].startswith("-") or words[at] == "-"
            count = 2 if words[at] in taking else 1
            (given if is_argument else options).extend(words[at : at + count])
            at += count
        return options, given + words[at + 1 :]

    def nearest_option(self, word: str) -> str | None:
        """The option that ``word`` is a slip of, if it is one at all."""
        name = word.partition("=")[0]
        return nearest.nearest(name, self.options) if word.startswith("--") else None

    @property
    def actions(self) -> list[argparse.Action]:
        return self._actions

    @property
    def taking(self) -> dict[str, argparse.Action]:
        """The options that take a value, with what they are."""
        taking = [action for action in self._actions if action.nargs is None]
        return {option: action for action in taking for option in action.option_strings}

    @property
    def options(self) -> list[str]:
        return [option for action in self._actions for option in action.option_strings]

    @property
    def _hint(self) -> str:
        return f"see `{self.prog} --help`"

    def error(self, message: str) -> NoReturn:
        raise CircusError("usage", message, self._hint)

    def print_help(self, _file: object = None) -> NoReturn:
        sys.exit(say(self.format_help()))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """argparse lists what may stand there in another form with every version of Python."""
        if action.choices is None or value in action.choices:
            return
        choices = list(map(str, action.choices))
        name = "/".join(action.option_strings) or action.metavar or action.dest
        what = f"argument {name}: {value!r} is none of {', '.join(choices)}"
        raise CircusError("usage", what, nearest.hint(str(value), choices, self._hint))
