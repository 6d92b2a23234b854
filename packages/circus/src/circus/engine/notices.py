"""What services say by sd_notify(3): one datagram socket of a circusd, held by papa.

Papa holds it so that what is said while no circusd is there waits in it, and so that those who have connected to it
stay connected. It has a path, because not every client knows abstract addresses, in a directory that every user may
pass, because services run as other users; so everybody may send, and what a sender says counts only for the process
that it is or descends from: the system tells who it is (SCM_CREDENTIALS).

READY=1 is taken out of the socket when it is noted in the kernel, not before: whoever kills circusd in between finds
it there again. How much is read at a time is bounded, so that one who floods delays the others and not circusd.

An orderly circusd closes it when it leaves, unless somebody is still to say READY=1: the system lets few datagrams
wait, and after those a service that speaks would be stopped in the middle of its work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from circus import procfs
from circus.engine.hosted import Hosted
from circus.engine.link import UNANSWERED
from circus.errors import CircusError
from circus.probes import Said, understand
from papa import places
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

VARIABLE = "NOTIFY_SOCKET"

#: Longer than any status that a person would read; the rest of a datagram is lost.
MAX_SIZE = 8192

#: At once, and then nothing for a moment: a flood costs a fraction of a processor.
AT_ONCE = 64
PAUSE_S = 0.02

#: A sender whom nobody knows may be a process whose spawn is just being answered; for so long it is waited for that.
HOLD_S = 1.0

#: From a process up to the one that we have started; a chain is never so long.
MAX_DEPTH = 64

#: Senders that were told of in the log: enough to find out, and no more.
MAX_TOLD = 100

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Notices:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._name = engine.names.prefix + "~notify"
        self._socket: socket.socket | None = None
        self._opening = asyncio.Lock()
        self._is_reading = False
        self._is_noting = False
        self._held_until: float | None = None
        self._told: set[int] = set()
        self.strangers = 0  # datagrams of those who are none of ours
        self.was_there = False  # before this circusd

    @property
    def path(self) -> str:
        root = places.runtime_root() + "-notify"
        return f"{root}/{self._engine.names.prefix}sock"

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    async def open(self) -> None:
        """Once, however often it is asked.

        Raises:
            CircusError: it cannot be made.
            PapaError: lost or timeout; the call may be made again.
        """
        async with self._opening:
            if self._socket is None:
                self._socket = await self._open()
                self.look()

    async def open_again(self) -> None:
        """After the kernel was lost, which may have lost it.

        Raises: as open.
        """
        if self._socket is not None:
            self.close()
            await self.open()

    async def remove(self) -> None:
        """Raises: PapaError."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            try:
                await self._engine.kernel.remove("sockets", names=[self._name])
            except PapaError as error:
                if error.code != "not-found":
                    raise

    def close(self) -> None:
        """Papa goes on holding it."""
        self._pause()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _open(self) -> socket.socket:
        try:
            _make_directory(os.path.dirname(self.path))
            row = await self._listen()
            reply = await self._engine.kernel.attach(row["id"], fds=True)
            opened = _socket_of(list(reply.fds.values()))
        except OSError as error:
            raise CircusError("operation-failed", f"{VARIABLE}: {self.path}: {error.strerror}") from None
        except PapaError as error:
            if error.code in UNANSWERED:
                raise
            raise CircusError("operation-failed", f"{VARIABLE}: {error.message}", error.hint) from error
        self.was_there = self.was_there or bool(row.get("existing"))
        return opened

    async def _listen(self) -> dict[str, Any]:
        meta = {"circusd": self._engine.names.circusd, "config": self._engine.config.path, "use": "notify"}
        spec: dict[str, Any] = {"name": self._name, "family": "unix", "type": "dgram", "path": self.path, "umask": 0}
        row: dict[str, Any] = await self._engine.kernel.listen(**spec, blocking=False, meta=meta)
        return row

    # Reading ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Go on reading: whoever was held up may be known by now. What is being noted has to be the first in it."""
        if self._socket is not None and self._engine.is_started and not (self._is_reading or self._is_noting):
            self._is_reading = True
            asyncio.get_running_loop().add_reader(self._socket, self._on_readable, self._socket)

    def _pause(self, for_s: float | None = None) -> None:
        if self._is_reading and self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
        self._is_reading = False
        if for_s is not None:
            asyncio.get_running_loop().call_later(for_s, self.look)

    def _on_readable(self, door: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                data, sender = _receive(door, socket.MSG_PEEK)
            except OSError:
                return
            hosted = self._owner_of(sender)
            if hosted is None and self._may_be_known_soon():
                self._pause(PAUSE_S)
                return
            self._held_until = None
            said = understand(data)
            if hosted is not None and said.is_ready and self._engine.probing.must_note(hosted):
                self._pause()
                self._is_noting = True
                self._engine.begin(self._note(door, hosted, said))
                return
            _drop(door)
            if hosted is None:
                self._tell_stranger(sender)
            else:
                self._engine.probing.on_said(hosted, said)
        self._pause(PAUSE_S)

    async def _note(self, door: socket.socket, hosted: Hosted, said: Said) -> None:
        try:
            self._engine.probing.on_said(hosted, said)
            await self._engine.probing.note_ready(hosted)
            if door is self._socket:
                _drop(door)
        finally:
            self._is_noting = False
            self.look()

    def _may_be_known_soon(self) -> bool:
        now = asyncio.get_running_loop().time()
        if not self._engine.lives.is_any_coming:
            return False
        if self._held_until is None:
            self._held_until = now + HOLD_S
        return now < self._held_until

    def _owner_of(self, pid: int) -> Hosted | None:
        """The process of ours that ``pid`` is, or descends from; a pid that is older than its parent is another's."""
        ours = self._engine.lives.hosted
        start = None
        for _ in range(MAX_DEPTH):
            found = procfs.row(pid)
            if found is None or (start is not None and found.start_ticks > start):
                return None
            hosted = ours.by_pid(pid)
            if hosted is not None and hosted.start_ticks == found.start_ticks:
                return hosted
            pid, start = found.parent, found.start_ticks
            if pid <= 1:
                return None
        return None

    def _tell_stranger(self, pid: int) -> None:
        self.strangers += 1
        if pid not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(pid)
            log.info("process %d spoke to %s, but is none of ours, or has ended since: not heeded", pid, VARIABLE)


def _socket_of(fds: list[int]) -> socket.socket:
    """Raises: OSError, CircusError."""
    if not fds:
        raise CircusError("operation-failed", f"{VARIABLE}: papa is reached by TCP and hands out no sockets")
    try:
        opened = socket.socket(fileno=fds[0])
    except OSError:
        os.close(fds[0])
        raise
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return opened


def _receive(door: socket.socket, flags: int) -> tuple[bytes, int]:
    data, ancillary, _, _ = door.recvmsg(MAX_SIZE, socket.CMSG_SPACE(_CREDENTIALS.size), flags | socket.MSG_DONTWAIT)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(content) >= _CREDENTIALS.size:
            return data, int(_CREDENTIALS.unpack_from(content)[0])
    return data, 0


def _drop(door: socket.socket) -> None:
    """Descriptors that came with it are closed by that: whoever waits for it (sd_notify_barrier) goes on."""
    with contextlib.suppress(OSError):
        door.recv(1, socket.MSG_DONTWAIT)


def _make_directory(path: str) -> None:
    """Everybody may pass, nobody else may write. Raises: OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o711)
    found = os.lstat(path)
    if found.st_uid != os.geteuid() or not os.path.isdir(path) or os.path.islink(path):
        raise PermissionError(1, "is not a directory of ours")
    os.chmod(path, 0o711)  # noqa: S103 - services of other users pass
