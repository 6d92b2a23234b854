"""One incarnation of the kernel: from a fresh interpreter to the loop, and out again with an exit status.

The one idea: a start, a restart after SIGKILL and an upgrade are the same path. What the holder keeps open is
taken over (papa.kernel.holder lists the descriptors), the host recovers from the directory and the vault, and
only then the doors are opened: who can connect is served.

``main`` gets two arguments: a JSON object that describes the kernel, and the pid of the holder. The object has

- ``instance``, ``directory``, ``port`` and ``socket_path`` (or null): see papa.places.Instance;
- ``title``, for whom it was started, and ``setproctitle``, the file of that extension module (or null);
- ``nofile``, from the first incarnation on: the limits of descriptors that it was started with;
- ``version`` of what the holder hands over, see papa.places; fields that are not known are passed on;
- ``connections``, only across an upgrade: the descriptor of what papa.kernel.handover wrote;
- ``standby``, only across an upgrade: pid and pipe of a replacement holder; ``moved`` when the program that the
  holder was started with is another one.

Exit status 0 ends the holder too; any other makes it start the kernel again.
"""

from __future__ import annotations

import _frozen_importlib
import _frozen_importlib_external
import _imp
import fcntl
import os
import resource
import signal
import socket
import sys

from papa import __version__, jsontext, places
from papa.errors import PapaError
from papa.kernel import handover, holder, rebuild, recorder, reexec, system
from papa.kernel.doors import Doors
from papa.kernel.guard import Guard
from papa.kernel.host import Host
from papa.kernel.premises import Premises
from papa.kernel.vault import RESERVE_FDS, NoVault, Vault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from papa.kernel.server import Connection
    from papa.wire.messages import Request

#: Exit status of a kernel that found no way to start; 1 would say that its code cannot run.
CANNOT_GO_ON = 75

#: Signals that ask a program to go. A kernel that hosts something must not: they are logged, and that is all.
POLITE_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def main() -> None:
    """Entry of a kernel. Leaves with its exit status."""
    kernel: dict[str, Any] = jsontext.loads(sys.argv[1])
    _reset_signals()
    os.umask(0o077)
    os.chdir("/")
    _set_title(kernel)
    try:
        status = Daemon(kernel, int(sys.argv[2])).run()
    except (PapaError, OSError) as error:
        system.log(f"kernel cannot go on: {error}")
        status = CANNOT_GO_ON
    sys.exit(status)


class Daemon:
    """What surrounds the host: limits, holder, doors, signals, exit and upgrade."""

    __slots__ = (
        "_doors",
        "_guard",
        "_host",
        "_instance",
        "_is_leaving",
        "_is_lock_new",
        "_kernel",
        "_parent",
        "_preflight",
        "_premises",
    )

    def __init__(self, kernel: dict[str, Any], parent: int) -> None:
        """Recovers; raises PapaError or OSError when that cannot be."""
        self._kernel = kernel
        self._parent = parent
        self._is_leaving = False
        self._preflight: reexec.Preflight | None = None
        self._instance = places.Instance(
            kernel["instance"], kernel["directory"], port=kernel["port"], socket_path=kernel["socket_path"]
        )
        self._is_lock_new = _take_lock(kernel["directory"])
        self._follow_log()
        nofile = _raise_nofile(kernel)
        tier = system.detect_tier()
        self._host = Host(
            kernel["directory"],
            kernel["instance"],
            _take_vault(tier),
            tier=tier,
            nofile=nofile,
            holder_pid=parent,
        )
        if tier == "pidfd":
            self._host.foreign_status = self._recorded_status
        self._host.recover()
        self._doors = Doors()
        self._premises = Premises(
            self._host.loop,
            self._instance,
            on_missing_socket=self._open_control_again,
            on_missing_directory=self._make_directory_again,
            on_missing_log=self._follow_log,
        )
        self._guard = Guard(self._host.loop, kernel, self._on_holder) if tier != "portable" else None

    def run(self) -> int:
        host = self._host
        host.on_exit_request = self._leave
        if self._is_lock_new and host.is_idle and os.getppid() != self._parent:
            # Another holder took over while this one came to itself, and that one's kernel has left for good.
            host.exit()
            self._clear_directory()
            host.close()
            return 0
        self._doors.open(self._instance)
        host.facts["warnings"] = self._doors.warnings
        if self._guard is not None:
            # A tier without a vault has nothing to hand over.
            host.on_upgrade_check = self._check_upgrade
            host.on_upgrade_go = self._upgrade
            standby = self._kernel.pop("standby", None)
            self._guard.begin(self._parent, None if standby is None else (standby[0], standby[1]))
            if self._is_lock_new:
                self._guard.renew()
        for number in POLITE_SIGNALS:
            host.loop.on_signal(number, self._decline(number))
        host.serve(self._doors.listeners)
        connections = self._kernel.pop("connections", None)
        if connections is not None:
            handover.take(host, connections)
        self._premises.watch()
        self._note_served()
        self._note_program()
        system.log(
            f"kernel {__version__} serves instance={self._instance.name} pid={os.getpid()} holder={self._parent}"
            f" running={host.running}"
        )
        status = host.run()
        self._premises.close()
        if status == 0 and self._guard is not None:
            self._guard.dismiss()
        if self._is_leaving:
            self._clear_directory()
        else:
            self._doors.remove()
        host.close()
        system.log(f"kernel left status={status} pid={os.getpid()}")
        return status

    # --- leaving -------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        self._is_leaving = True
        self._host.leave(0)

    def _decline(self, number: int) -> Callable[[], None]:
        def decline() -> None:
            name = system.signal_name(number)
            if self._host.is_idle and number in (signal.SIGTERM, signal.SIGINT):
                system.log(f"{name}: nothing is hosted, the kernel leaves")
                self._host.leave(0)
            else:
                system.log(
                    f"{name} was ignored: {self._host.running} processes are hosted"
                    " (`papa exit --force` ends the kernel)"
                )

        return decline

    def _clear_directory(self) -> None:
        """Takes away what is not the host's. The lock is held until the holder is gone too."""
        self._doors.remove()
        reaped = f"{self._instance.directory}/{recorder.NAME}"
        for path in (self._instance.served_path, self._instance.program_path, self._instance.log_path, reaped):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                # It has been promised to leave.
                system.log(f"{path} stays: {error.strerror}")
        try:
            os.rmdir(self._instance.directory)
        except OSError as error:
            system.log(f"{self._instance.directory} stays: {error.strerror}")

    # --- premises ------------------------------------------------------------------------------------------

    def _follow_log(self) -> None:
        """Goes on in kernel.log itself, not in what it was when the holder was started: that may be gone, or moved."""
        path = self._instance.log_path
        try:
            if not os.path.exists(path) or not os.path.samestat(os.stat(path), os.fstat(2)):
                _open_log(path)
        except OSError as error:
            system.log(f"{path} cannot be opened: {error.strerror}")

    def _open_control_again(self) -> None:
        self._open_doors_again()
        system.log(f"{self._instance.control_path} was removed; it was opened again")

    def _open_doors_again(self) -> None:
        """Whoever is connected is turned out, and comes again."""
        self._host.server.close()
        self._doors = Doors()
        self._host.facts["warnings"] = self._doors.warnings
        try:
            self._doors.open(self._instance)
        except OSError as error:
            system.log(f"{self._instance.control_path} cannot be opened again yet: {error.strerror}")
            self._premises.look_again()
            return
        self._host.serve(self._doors.listeners)

    def _make_directory_again(self) -> None:
        if self._host.is_idle:
            system.log(f"{self._instance.directory} was removed and nothing is hosted: the kernel leaves")
            self._host.leave(0)
            return
        try:
            _take_lock(self._instance.directory)
            rebuild.rebuild(self._host)
            _write(self._instance.served_path, b"1\n")
            self._note_program()
            _open_log(self._instance.log_path)
        except (OSError, PapaError) as error:
            system.log(f"{self._instance.directory} was removed and cannot be made again yet: {error}")
            self._premises.look_again()
            return
        if self._guard is not None:
            self._guard.renew()
        system.log(f"{self._instance.directory} was removed; it was made again, with all that is hosted")
        self._premises.watch()
        self._open_doors_again()

    # --- holder and upgrade --------------------------------------------------------------------------------

    def _on_holder(self, pid: int | None) -> None:
        self._host.facts["holder"] = pid

    def _recorded_status(self, pid: int, ticks: int) -> int | None:
        return recorder.recorded_status(self._instance.directory, pid, ticks)

    def _note_served(self) -> None:
        """The holder starts us again in any case from now on."""
        try:
            _write(self._instance.served_path, b"1\n")
        except OSError as error:
            system.log(f"{self._instance.served_path} cannot be written: {error.strerror}")

    def _note_program(self) -> None:
        """From now on the holder starts this very program, and not the one that it was started with."""
        line = reexec.shell_line(places.program("papa.kernel.daemon"), self._kernel)
        new = self._instance.program_path + ".new"
        try:
            _write(new, line)
            os.rename(new, self._instance.program_path)
        except OSError as error:
            system.log(f"{new} cannot be written: {error.strerror}; the holder goes on with what it was started with")
        if self._kernel.get("moved") and self._kernel.get("version", 1) < 2 and self._guard is not None:
            # It would start the old program.
            self._guard.renew()

    def _check_upgrade(self, target: reexec.Target, done: Callable[[PapaError | None], None]) -> None:
        self._host.coverage.try_again()
        lost = sum(1 for _ in self._host.coverage.uncovered())

        def on_tried(error: PapaError | None) -> None:
            self._preflight = None
            done(error)

        if self._preflight is not None:
            raise PapaError("another upgrade is under way", code="busy", hint="ask again in a moment")
        if lost:
            error = PapaError(
                f"{lost} processes or sockets are not covered: an upgrade would lose them",
                code="busy",
                hint="papa status says why",
            )
            self._host.loop.after_turn(lambda: done(error))
        else:
            try:
                self._preflight = reexec.Preflight(self._host.loop, target, self._kernel, on_tried)
            except OSError as error:
                raise PapaError(f"{target} cannot be executed: {error.strerror}", code="busy") from error

    def _upgrade(self, target: reexec.Target, asker: Connection, request: Request) -> None:
        assert self._guard is not None
        if self._preflight is not None:
            # Of somebody who came just now; nobody would reap it.
            self._preflight.abandon()
        kernel = target.handed(self._kernel)
        keep = [holder.RX, holder.TX, holder.LOCK]
        standby = self._guard.standby()
        if standby is not None:
            kernel["standby"] = standby
            keep.append(standby[1])
        if target.takes_connections:
            kernel["connections"], kept = handover.pack(self._host, asker, request.id)
            keep += kept
        system.log(f"kernel {__version__} pid={os.getpid()} executes {target} in its place")
        self._doors.hide()
        reexec.replace([*target.program("papa.kernel.daemon"), jsontext.dumps(kernel), str(self._parent)], keep)
        self._doors.show()
        if target.takes_connections:
            os.close(kernel["connections"])
        asker.finish(request, handover.refusal())


# --- taking over -------------------------------------------------------------------------------------------


def _reset_signals() -> None:
    """Whatever holder, launcher or an old incarnation ignored or blocked is none of ours.

    SIGPIPE and SIGXFSZ stay ignored in the kernel, where they are errors of a write; a child gets their defaults.
    """
    for number in system.all_signals():
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _take_lock(directory: str) -> bool:
    """The lock that the holder passed on, if it still is one on this directory; True: a new one in its place."""
    os.set_inheritable(holder.LOCK, False)
    fd = places.open_private_dir(directory)
    try:
        places.refuse_strangers(fd, directory)
        if os.path.samestat(os.fstat(fd), os.fstat(holder.LOCK)):
            fcntl.flock(holder.LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        # Somebody removed the directory; a new one is there now, whose lock the holder has not.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.dup2(fd, holder.LOCK, inheritable=False)
        return True
    except BlockingIOError:
        raise PapaError(f"{directory}: another kernel lives there", code="busy") from None
    finally:
        os.close(fd)


def _take_vault(tier: str) -> Vault | NoVault:
    ends = [socket.socket(fileno=fd) for fd in (holder.RX, holder.TX)]
    for end in ends:
        os.set_inheritable(end.fileno(), False)
    if tier == "portable":
        return NoVault()
    return Vault(*ends)


def _raise_nofile(kernel: dict[str, Any]) -> tuple[int, int]:
    """Room for descriptors, less what the vault's rotation keeps free; returns the limits for children."""
    soft, hard = kernel.setdefault("nofile", list(resource.getrlimit(resource.RLIMIT_NOFILE)))
    if hard != resource.RLIM_INFINITY:
        wanted = hard - min(RESERVE_FDS, hard // 8)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft, hard


def _set_title(kernel: dict[str, Any]) -> None:
    """What `ps` and `top` show, as far as it can be set: the command's name always, its line by setproctitle."""
    try:
        _write("/proc/self/comm", b"papa")
    except OSError:
        pass
    path = kernel["setproctitle"]
    if path is None or path.rpartition("/_setproctitle")[2] not in _imp.extension_suffixes():
        # None, or another Python's.
        return
    # Its package imports logging, which would cost a fifth of the kernel's memory; the module alone does not.
    name = "setproctitle._setproctitle"
    loader = _frozen_importlib_external.ExtensionFileLoader(name, path)
    try:
        module = _imp.create_dynamic(_frozen_importlib.ModuleSpec(name, loader, origin=path))
        _imp.exec_dynamic(module)
        module.setproctitle(f"papa daemon from {kernel['title']}" if kernel["title"] else "papa daemon")
    except (ImportError, OSError) as error:
        system.log(f"the title cannot be set: {path}: {error}")


def _open_log(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)
