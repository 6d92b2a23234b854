"""`circusctl init -- PROGRAM ARG...`: a first configuration, written and checked; needs no circusd."""

from __future__ import annotations

import os
import shlex

from circus.cli import render
from circus.cli.asking import Command, Daemon
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from circus.cli.asking import Answer
    from circus.config.first import First

#: What only a shell understands.
_OF_A_SHELL = frozenset(" \t\n|&;<>()$`*?[]~=")

#: Replaced by papa, wherever it stands.
_OF_PAPA = "$(socket.{}.fileno)"

_SHELL = "/bin/sh"

_HINT = "write circusctl init -- PROGRAM ARG..."

_EPILOG = """\
All behind PROGRAM belongs to it. A single word that is no program is a line for a shell:

  circusctl init -- python3 app.py --port 8000
  circusctl init --name web --processes 4 --socket 127.0.0.1:8000 -- ./web '$(circus.sockets.web)'
  circusctl init -- './fetch | ./sort > out'"""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", metavar="FILE", default="circus.ini", help="where to write it (default: circus.ini)")
    parser.add_argument("--name", metavar="NAME", help="of the watcher (default: from the program)")
    parser.add_argument("--processes", metavar="N", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--socket", metavar="HOST:PORT", help="a listening socket for the program")
    parser.add_argument("--force", action="store_true", help="also where FILE is there already")
    parser.usage = "circusctl init [OPTION...] [--] PROGRAM [ARG...]"
    parser.epilog = _EPILOG


def _run(_daemon: Daemon, args: argparse.Namespace) -> Answer:
    from circus.config import first

    if not args.command:
        raise CircusError("usage", "PROGRAM is missing", _HINT)
    path = os.path.abspath(args.to)
    if path.endswith(".toml"):
        raise CircusError("usage", f"--to {args.to}: init writes INI, not TOML", "name a file that ends in .ini")
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise CircusError("failed", f"{path}: there is no directory {folder}", "make it, or name another FILE by --to")
    if os.path.exists(path) and not args.force:
        hint = "name another by --to; --force overwrites it"
        raise CircusError("failed", f"{path} is there already, and was not touched", hint)
    argv = _absolute(args.command)
    named = args.command[0].split()[:1] if argv[0] == _SHELL and len(args.command) == 1 else args.command
    wanted = first.First(
        name=args.name or first.name_of(named),
        argv=argv,
        folder=os.getcwd(),
        logs=folder,
        numprocesses=args.processes,
        address=_address(args.socket),
    )
    if wanted.address and not any(wanted.variable in word for word in argv):
        what = "--socket: no argument of the program says which descriptor it is"
        raise CircusError("usage", what, f"write '{wanted.variable}' where it takes the number of one")
    notes = _write(path, wanted, has_force=args.force)
    return {"file": path, "watcher": wanted.name, "argv": argv, "notes": notes}


def _absolute(given: list[str]) -> list[str]:
    """With the program as it was found; a line for a shell is given to one. Raises: CircusError failed."""
    import shutil  # for this command alone

    program = given[0]
    found = shutil.which(program)
    if found is None and os.path.dirname(program) == "" and os.access(program, os.X_OK) and os.path.isfile(program):
        found = program
    if found is not None:
        return [os.path.abspath(found), *given[1:]]
    if len(given) == 1 and _OF_A_SHELL.intersection(program):
        return [_SHELL, "-c", program]
    if os.path.isfile(program):
        what = f"{program} is no program: it may not be executed"
        raise CircusError("failed", what, f"chmod +x {shlex.quote(program)}, or name its interpreter before it")
    raise CircusError("failed", f"there is no program {program!r}", "give its path, or put its directory on PATH")


def _address(text: str | None) -> tuple[str, int] | None:
    from circus.config import doors

    if text is None:
        return None
    try:
        return doors.split_address(text)
    except ValueError:
        hint = "write for example 127.0.0.1:8000"
        raise CircusError("usage", f"--socket {text!r} is no HOST:PORT", hint) from None


def _write(path: str, wanted: First, *, has_force: bool) -> list[str]:
    """Nothing is there but the whole file, checked; returns what is worth knowing."""
    import tempfile

    from circus.config import first

    fd, draft = tempfile.mkstemp(prefix=".circusctl-init-", suffix=".ini", dir=os.path.dirname(path))
    try:
        with open(fd, "w", encoding="utf-8", newline="") as file:
            file.write(first.text_of(wanted))
        notes = [note.replace(draft, path) for note in _check(draft, wanted)]
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(draft, 0o666 & ~umask)
        if has_force:
            os.replace(draft, path)
        else:
            os.link(draft, path)  # which never overwrites
    except UnicodeEncodeError:
        hint = "a configuration is UTF-8; give it in a file, or in a variable"
        raise CircusError("failed", "an argument of the program is no UTF-8", hint) from None
    except OSError as error:
        raise CircusError("failed", f"{path} cannot be written: {error.strerror or error}", "see --to") from None
    finally:
        if os.path.exists(draft):
            os.unlink(draft)
    return notes


def _check(draft: str, wanted: First) -> list[str]:
    """What a start would warn of. Raises: CircusError failed, where it would be refused, or start something else."""
    from circus.config import expand
    from circus.config.check import check

    config, findings = check(draft, os.environ)
    errors = [each for each in findings if each.severity == "error"]
    if errors:
        raise CircusError("failed", f"nothing was written: {errors[0].what}", errors[0].hint)
    (watcher,) = config.watchers
    runs = expand.expand_command(watcher, wid=1, env={}, sockets={wanted.socket: wanted.socket})
    meant = list(wanted.argv)
    if wanted.address:
        meant = [word.replace(wanted.variable, _OF_PAPA.format(wanted.socket)) for word in meant]
    is_papas = any(_OF_PAPA.partition("{")[0] in word for word in wanted.argv)
    if (watcher.name, runs, watcher.working_dir) != (wanted.name, meant, wanted.folder) or is_papas:
        what = "nothing was written: a file in INI has no way to say this command line, name or directory"
        raise CircusError("failed", what, "put the command into a script, and give that")
    return [f"{each.severity}: {each.what}" + (f" ({each.hint})" if each.hint else "") for each in findings]


def _lines(answer: Answer, args: argparse.Namespace) -> Iterable[str]:
    endpoint = f" --endpoint {shlex.quote(args.endpoint)}" if args.endpoint else ""
    file, name = shlex.quote(answer["file"]), shlex.quote(answer["watcher"])
    yield render.one_line(f"wrote {answer['file']}: watcher {answer['watcher']} runs {shlex.join(answer['argv'])}")
    yield from map(render.one_line, answer["notes"])
    yield "next:"
    steps = {
        f"circusd --daemon {file}": "start it",
        f"circusctl{endpoint} status -v": "how it is",
        f"circusctl{endpoint} logs -f {name}": "what it writes",
    }
    width = max(map(len, steps))
    yield from (f"  {command:<{width}}  {what}" for command, what in steps.items())


COMMANDS = (Command("init", "write a first configuration for a program", _run, _lines, _arguments, program_behind=0),)
