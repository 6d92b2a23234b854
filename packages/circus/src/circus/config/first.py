"""A first configuration for one program: small, with a comment to each line that somebody will want to change. Pure.

The program gets exactly the words that are given, whatever stands in them: what an INI file, a line of words or a
variable would take for something else is kept apart by quotes that are closed and opened again.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from circus.config.values import MAX_NAME

#: A comment would begin, or a variable.
_MEANT_OTHERWISE = re.compile(r"(\s)(;)|(\$)(\(circus\.)|(\()(\(circus\.)", re.IGNORECASE)

#: Programs that are known by what they run.
_INTERPRETERS = re.compile(r"(?:python|pypy|ruby|perl|node|php|bash|sh|dash|zsh)[\d.]*")


@dataclass(frozen=True, slots=True)
class First:
    """``argv`` with its program as an absolute path; ``folder`` is where it runs, ``logs`` where its output goes."""

    name: str
    argv: Sequence[str]
    folder: str
    logs: str
    numprocesses: int = 1
    address: tuple[str, int] | None = None

    @property
    def socket(self) -> str:
        """The name of its socket, as a variable can have it; nothing if there is none."""
        return re.sub(r"[^a-z0-9_.-]", "-", self.name.lower()) if self.address else ""

    @property
    def variable(self) -> str:
        """What stands for the number of the socket in a command line; nothing if there is none."""
        return f"$(circus.sockets.{self.socket})" if self.address else ""


def name_of(argv: Sequence[str]) -> str:
    """A name for the watcher: that of the program, or of what an interpreter runs."""
    named = os.path.basename(argv[0])
    if _INTERPRETERS.fullmatch(named):
        others = [word for word in argv[1:] if not word.startswith("-")]
        if others and "-c" not in argv[1:2]:
            named = os.path.basename(others[0])
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", named.partition(".")[0] if "/" not in named else named).strip("-")
    return name[:MAX_NAME] or "program"


def line_of(argv: Sequence[str], *, kept: str = "") -> str:
    """The value of ``cmd``, of which each word is one of ``argv``; in its lines behind the first it is indented.

    ``kept`` is a variable that stays one.
    """
    return " ".join(_quoted(word, kept) for word in argv)


def _quoted(word: str, kept: str) -> str:
    if kept and kept in word:
        parts = filter(None, re.split(f"({re.escape(kept)})", word))
        return "".join(kept if part == kept else _quoted(part, "") for part in parts)
    text = shlex.quote(word)
    if not text.startswith("'"):
        return text
    # Outside of quotes there is nothing of this: shlex.quote leaves them for a quote alone.
    text = _MEANT_OTHERWISE.sub(lambda match: "''".join(filter(None, match.groups())), text)
    return text.replace("\n", "''\n    ''")


def text_of(first: First) -> str:
    """The whole file."""
    log = os.path.join(first.logs, first.name)
    parts = [
        _CIRCUS.format(logs=first.logs),
        _WATCHER.format(
            name=first.name,
            cmd=line_of(first.argv, kept=first.variable),
            folder=first.folder,
            numprocesses=first.numprocesses,
            log=log,
        ),
    ]
    if first.address:
        host, port = first.address
        parts.append(_SOCKET.format(name=first.socket, host=host, port=port, variable=first.variable))
    return "\n".join(parts)


_CIRCUS = """\
; Made by `circusctl init`. Every option: docs/reference/configuration.md.
; After an edit: `circusctl reloadconfig --plan` says what would happen, `circusctl reloadconfig` does it.

[circus]
; circusd's own log; without this line it goes to the terminal.
logoutput = {logs}/circusd.log
"""

_WATCHER = """\
[watcher:{name}]
; The program and its arguments. $(circus.wid) would be the number of the process: 1, 2, ...
cmd = {cmd}
working_dir = {folder}
numprocesses = {numprocesses}
; The program gets circusd's environment. A section [env:{name}] adds variables of its own.
copy_env = true
; It lives on when circusd ends, and the next circusd takes it over. `circusctl shutdown` ends both.
use_papa = true
; A stop sends stop_signal, and SIGKILL after so many seconds.
stop_signal = TERM
graceful_timeout = 10
; Both outputs, with times; `circusctl logs {name}` reads them.
stdout_stream.class = FileStream
stdout_stream.filename = {log}.log
stdout_stream.time_format = %Y-%m-%d %H:%M:%S
stdout_stream.max_bytes = 10m
stdout_stream.backup_count = 5
stderr_stream.class = FileStream
stderr_stream.filename = {log}.log
stderr_stream.time_format = %Y-%m-%d %H:%M:%S
stderr_stream.max_bytes = 10m
stderr_stream.backup_count = 5
"""

_SOCKET = """\
; Opened once and held by papa, so that no connection is refused while the program is restarted. The program finds it
; by its number, for which {variable} stands in cmd.
[socket:{name}]
host = {host}
port = {port}
use_papa = true
"""
