"""Upgrade in place: a throw-away child proves the new code, then the kernel executes it.

The one idea: the process stays, and with it the pid and all children; everything else is recovered from the
vault and the directory, just as after a SIGKILL. So the only question is whether the code on disk can do that,
and a child is asked first: it imports all that a kernel imports and reads the state, changing nothing. It never
touches the vault, as a second reader would move the peek offset.

The new code may be another papa, and its Python another one: it is that of whoever asks for the upgrade.

As long as execv(2) has not succeeded the old code carries on.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from papa import jsontext, model, places
from papa.core import index, journal
from papa.errors import PapaError
from papa.kernel import handover, records, system
from papa.kernel.loop import READ
from papa.kernel.state import JOURNAL, OUTPUT, PROCESSES, SOCKETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from papa.kernel.loop import Loop

#: A child that has not answered by then never will: a cold start takes a tenth of a second.
PATIENCE_S = 20.0

#: What a child says that can take over, and with it the connections.
_ABLE = f"takes connections {handover.VERSION}"

#: What pyproject.toml promises.
OLDEST_PYTHON = (3, 11)

#: Of what a failing child says, the end is kept: there a traceback names its error.
MAX_COMPLAINT_BYTES = 8192


def main() -> None:
    """Entry of the child. Exit status 0: this code can take over; else standard error says why not."""
    try:
        if sys.version_info < OLDEST_PYTHON:
            raise PapaError(
                f"papa needs Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}, this is {sys.version.split()[0]}"
            )
        # In the child alone, and only to see that it can be: it brings in all that a kernel has.
        import papa.kernel.daemon  # noqa: F401

        system.detect_tier()
        kernel = jsontext.loads(sys.argv[1])
        version = kernel.get("version", 1)
        if version > places.HANDED_VERSION:
            raise PapaError(f"the holder is of version {version}, newer than {places.HANDED_VERSION}")
        rehearse(kernel["directory"])
        os.write(2, _ABLE.encode())
    except SyntaxError as error:
        sys.exit(f"{error.filename}:{error.lineno}: {error.msg}")
    except PapaError as error:
        sys.exit(error.message)


def rehearse(directory: str) -> None:
    """Reads the state as a recovery would, but changes nothing: the running kernel goes on writing it.

    Raises: whatever a recovery would stumble over.
    """
    with open(f"{directory}/{JOURNAL}", "rb") as file:
        _rehearse_journal(file.read())
    for kind, parse in ((PROCESSES, records.to_process), (SOCKETS, records.to_socket)):
        for name in os.listdir(f"{directory}/{kind}"):
            number, _, ending = name.partition(".")
            if ending != "json":
                continue
            try:
                with open(f"{directory}/{kind}/{name}", "rb") as file:
                    parse(int(number), jsontext.loads(file.read()))
            except FileNotFoundError:
                # It went meanwhile, as records do.
                continue
            except (KeyError, TypeError, ValueError, AttributeError, PapaError) as error:
                reason = error.message if isinstance(error, PapaError) else f"it cannot be understood: {error!r}"
                raise PapaError(f"{kind}/{name}: {reason}", code="internal") from error
    for name in os.listdir(f"{directory}/{OUTPUT}"):
        try:
            with open(f"{directory}/{OUTPUT}/{name}/index", "rb") as file:
                if index.is_foreign(file.read(index.HEADER_SIZE)):
                    raise PapaError(f"{OUTPUT}/{name}/index: it is of another format", code="internal")
        except FileNotFoundError:
            continue


def _rehearse_journal(data: bytes) -> None:
    contents, valid = journal.decode(data)
    try:
        journal.check(contents)
    except PapaError as error:
        raise PapaError(f"{JOURNAL}: {error.message}", code="internal") from error
    journal.Ledger(contents)
    # A record that is just being written looks torn.
    if not journal.is_torn(data[valid:]):
        raise PapaError(f"{JOURNAL}: it is damaged from byte {valid} on", code="internal")


class Target:
    """What shall take over: the papa in ``folder`` under ``python``, with the extension that sets titles, or None."""

    __slots__ = ("folder", "python", "setproctitle", "takes_connections")

    def __init__(self, python: str, folder: str, setproctitle: str | None) -> None:
        self.python = python
        self.folder = folder
        self.setproctitle = setproctitle
        #: It said so when it was tried out.
        self.takes_connections = False

    def __str__(self) -> str:
        return f"the papa in {self.folder} under {self.python}" if self.python else "the code on disk"

    @classmethod
    def parse(cls, args: Mapping[str, Any]) -> Target:
        """From a request. Raises: PapaError bad-request."""
        paths = [args.get(key) for key in ("python", "folder", "setproctitle")]
        for key, path in zip(("python", "folder", "setproctitle"), paths, strict=True):
            if path is not None and not (isinstance(path, str) and path.startswith("/") and "\0" not in path):
                raise model.bad(key, "must be an absolute path")
        if (paths[0] is None) != (paths[1] is None):
            raise model.bad("python", "and folder belong together")
        return cls(paths[0] or "", paths[1] or "", paths[2])

    def program(self, module: str) -> list[str]:
        return places.program(module, self.python, self.folder)

    def handed(self, kernel: Mapping[str, Any]) -> dict[str, Any]:
        """What the next incarnation is told of itself."""
        handed = dict(kernel)
        if self.python:
            handed["setproctitle"] = self.setproctitle
            handed["moved"] = self.program("") != places.program("") or kernel.get("moved", False)
        return handed


def shell_line(program: list[str], kernel: Mapping[str, Any]) -> bytes:
    """What a shell executes to start this program; its first argument is the holder's pid."""
    words = [*program, jsontext.dumps(kernel)]
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    return os.fsencode(f'exec {quoted} "$1"\n')


class Preflight:
    """One run of the child. ``done`` is called once from the loop: None is good, else the error is the answer."""

    __slots__ = ("_complaint", "_done", "_loop", "_pid", "_pipe", "_target", "_timer")

    def __init__(
        self, loop: Loop, target: Target, kernel: Mapping[str, Any], done: Callable[[PapaError | None], None]
    ) -> None:
        """Starts it. Raises: OSError when no process can be started."""
        argv = [*target.program("papa.kernel.reexec"), jsontext.dumps(target.handed(kernel))]
        self._target = target
        reader, writer = os.pipe()
        try:
            self._pid = os.posix_spawn(
                argv[0],
                argv,
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, writer, 2)],
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
                setsigmask=[],
            )
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        self._pipe = reader
        self._loop = loop
        self._done = done
        self._complaint = b""
        loop.watch(reader, READ, self._on_output)
        self._timer = loop.call_at(time.monotonic() + PATIENCE_S, self._on_timeout)

    def _on_output(self, _ready: int) -> None:
        chunk = os.read(self._pipe, 65536)
        self._complaint = (self._complaint + chunk)[-MAX_COMPLAINT_BYTES:]
        if chunk:
            return
        self._timer.cancel()
        self._finish(None)

    def _on_timeout(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self._finish(f"it did not answer within {PATIENCE_S:.0f} s")

    def abandon(self) -> None:
        """Its answer would come too late."""
        os.kill(self._pid, signal.SIGKILL)
        self._timer.cancel()
        self._finish("another upgrade came first")

    def _finish(self, reason: str | None) -> None:
        self._loop.forget(self._pipe)
        os.close(self._pipe)
        # It closed its standard error by ending, or was killed: this does not wait.
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        complaint = self._complaint.decode("utf-8", "replace").strip()
        if reason is None and status == 0:
            # An earlier release says nothing.
            self._target.takes_connections = complaint.rpartition("\n")[2] == _ABLE
            self._done(None)
            return
        if reason is None:
            reason = complaint.rpartition("\n")[2] or _describe(status)
        system.log(f"upgrade refused: {reason}\n{complaint}".rstrip())
        self._done(
            PapaError(
                f"{self._target} cannot take over: {reason}",
                code="busy",
                hint="the running kernel carries on; kernel.log has all of it",
            )
        )


def _describe(status: int) -> str:
    if status < 0:
        return f"it was killed by signal {-status}"
    return f"it ended with status {status}"


def replace(argv: list[str], keep: Iterable[int]) -> None:
    """Executes ``argv`` in the place of this process, with the descriptors ``keep``; returns only if it fails."""
    kept = list(keep)
    for fd in kept:
        os.set_inheritable(fd, True)
    try:
        os.execv(argv[0], argv)  # noqa: S606
    except OSError as error:
        system.log(f"upgrade failed, the old code carries on: execv {argv[0]}: {error.strerror}")
    finally:
        for fd in kept:
            os.set_inheritable(fd, False)
