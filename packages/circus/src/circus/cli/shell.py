"""`circusctl` without a command: a shell whose lines are the commands of circusctl.

At a terminal: the version, the status, then a prompt, with history and TAB; an error or Ctrl-C ends a command and not
the shell. From a pipe or a file: its lines one after the other, without a prompt, and all of them whatever becomes of
each; the exit status is that of the first that failed, so that a script sees it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys

import circus
from circus.cli import quoting, words
from circus.cli.printing import say, write
from circus.errors import TABLE, CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: Does what words say and prints; returns the exit status.
    Obey = Callable[[list[str]], int]

PROMPT = "(circusctl) "

#: Of these the second ends circusd; many type it to leave a shell.
LEAVE, QUIT = "exit", "quit"

_QUESTION = f"quit ends circusd; `{LEAVE}` or Ctrl-D leaves this shell. End circusd? [y/N] "

#: What the shell reports for a program that SIGINT ended.
INTERRUPTED = 130


def run(options: list[str], obey: Obey) -> int:
    """``options`` of circusctl hold for all lines. Raises: CircusError usage, for an input without a command."""
    if sys.stdin is not None and sys.stdin.isatty():
        return _at_terminal(options, obey)
    return _from_script(options, obey)


def _from_script(options: list[str], obey: Obey) -> int:
    first_failure = count = 0
    for line in _lines():
        if line.strip() == LEAVE:
            break
        status = _obey(options, line, obey)
        if status == INTERRUPTED:
            return status
        first_failure = first_failure or status or 0
        count += status is not None
    if not count:
        raise CircusError("usage", "no command is given", "`circusctl --help` lists them")
    return first_failure


def _lines() -> Iterator[str]:
    """Of standard input, as they come; none where there is no such thing."""
    if sys.stdin is None:
        return
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # as what stands on a command line
    with contextlib.suppress(OSError):
        while line := sys.stdin.readline():
            yield line


def _at_terminal(options: list[str], obey: Obey) -> int:
    # Large, and for people alone.
    from circus.cli import editing

    say(f"circusctl {circus.__version__}\n")
    _obey(options, "status", obey)
    editor = editing.Editor(options, own=[LEAVE])
    while True:
        try:
            line = input(PROMPT)
            editor.keep(line)
            if line.strip() == LEAVE:
                return 0
            if _ends_circusd(line) and input(_QUESTION).strip().lower() not in ("y", "yes"):
                continue
            _obey(options, line, obey)
        except KeyboardInterrupt:
            say("\n")
        except EOFError:
            say("\n")
            return 0


def _ends_circusd(line: str) -> bool:
    typed = line.split()
    typed = typed[1:] if typed[:1] == ["circusctl"] else typed
    return typed[:1] == [QUIT] and not {"-h", "--help"}.intersection(typed)


def _obey(options: list[str], line: str, obey: Obey) -> int | None:
    """The exit status of a line; None for one in which nothing stands."""
    asked, begun = quoting.split(line.rstrip("\n") + " ")
    if begun.raw:
        return _unknown(line, "a quote is not closed")
    if asked[:1] == ["circusctl"]:
        del asked[0]
    if not asked or asked[0].startswith("#"):
        return None
    try:
        if hint := _why_unknown([*options, *asked]):
            return _unknown(line, hint)
        return obey([*options, *asked])
    except SystemExit as end:  # help, and logs
        return end.code if isinstance(end.code, int) else 0


def _why_unknown(asked: list[str]) -> str:
    """Nothing, if there is such a command; whatever else is wrong is told by who obeys."""
    try:
        is_command = not isinstance(words.parse(asked), argparse.Namespace)
    except CircusError as error:
        return error.hint if error.message.startswith(words.UNKNOWN) else ""
    return "" if is_command else "`help` lists the commands"


def _unknown(line: str, hint: str) -> int:
    write(sys.stderr, f"*** Unknown syntax: {line.strip()}\n  hint: {hint}\n")
    return TABLE["usage"][1]
