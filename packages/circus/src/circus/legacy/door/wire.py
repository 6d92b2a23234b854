"""Who is connected to an address of the door: peers, each with its bounds, and the listener that lets them in.

Sockets of asyncio, which are told by the system when something comes: nothing is asked again and again, and no news
can be missed, however much comes at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Sequence
from typing import Protocol, cast

from circus.config.endpoints import Address
from circus.control import auth, keepalive
from circus.errors import CircusError
from circus.legacy.door import zmtp
from papa import places
from papa.errors import PapaError

log = logging.getLogger("circus.door")

#: Of one address; each costs a descriptor, of which services need theirs.
MAX_PEERS = 128

#: Who has not said by then what he is has no place; afterwards a peer may be silent for ever, as it is with ZMQ.
HANDSHAKE_S = 10.0

#: What a peer has not taken. Above it nothing more is read from who gives orders, and who listens misses news.
MAX_UNSENT = 1024 * 1024

#: Of one peer at once, then others have their turn: of the smallest messages these are 8,000, which take some 50 ms.
READ_AT_ONCE = 16 * 1024

#: At the end: for what is on its way to peers.
FLUSH_S = 1.0

BACKLOG = 128

#: Then those who are there have their turn; some of them may be gone.
ACCEPT_AT_ONCE = 16

#: When there are no descriptors for who comes.
ACCEPT_AGAIN_S = 1.0

#: Refused peers that the log tells of, for each address; ZMQ's clients try again many times a second.
MAX_TOLD = 10


class House(Protocol):
    """What is behind an address. Called by the loop; must not block."""

    kind: str
    peers: frozenset[str]  # kinds that may come

    def on_said(self, peer: Peer, said: zmtp.Message | zmtp.TooLarge | zmtp.Subscription, /) -> None: ...
    def on_taken(self, peer: Peer, /) -> None: ...  # it was full, and is not any more
    def on_gone(self, peer: Peer, /) -> None: ...


class Peer(asyncio.BufferedProtocol):
    """One connection. ``number`` tells it from all others of its listener, ``who`` is for people."""

    def __init__(self, listener: Listener, number: int, who: str) -> None:
        self.number = number
        self.who = who
        self._listener = listener
        self._house = listener.house
        self._transport: asyncio.Transport | None = None
        self._parser = zmtp.Parser()
        self._handshake: asyncio.TimerHandle | None = None
        self._reasons: set[str] = set()  # not to read now

    # Called by asyncio --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MAX_UNSENT)
        loop = asyncio.get_running_loop()
        self._handshake = loop.call_later(HANDSHAKE_S, self.refuse, "it says nothing")
        self._transport.write(zmtp.GREETING)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for said in self._parser.feed(self._listener.buffer[:nbytes]):
                self._on_said(said)
        except zmtp.NotSpoken as reason:
            self.refuse(str(reason))

    def pause_writing(self) -> None:
        self.stop_reading("unsent")

    def resume_writing(self) -> None:
        self.go_on_reading("unsent")
        self._house.on_taken(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
        self._listener.let_go(self)
        self._house.on_gone(self)

    # Called by houses ---------------------------------------------------------------------------------------

    @property
    def is_there(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_full(self) -> bool:
        """It has not taken MAX_UNSENT; the house is told when there is room again."""
        return "unsent" in self._reasons

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def stop_reading(self, reason: str) -> None:
        """What comes waits in the system, and then at the peer."""
        self._reasons.add(reason)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def go_on_reading(self, reason: str) -> None:
        self._reasons.discard(reason)
        if not self._reasons and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def refuse(self, reason: str) -> None:
        if self.is_there:
            self._listener.tell_refused(reason)
        self.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _on_said(self, said: zmtp.Said) -> None:
        if not self.is_there:
            return
        if isinstance(said, zmtp.Ready):
            if said.kind not in self._house.peers:
                known = " or ".join(sorted(self._house.peers))
                raise zmtp.NotSpoken(f"its socket is a {said.kind[:20]!r}; this address is for {known}")
            if self._handshake is not None:
                self._handshake.cancel()
            self.send(zmtp.ready(self._house.kind))
        elif isinstance(said, zmtp.Ping):
            self.send(zmtp.pong(said.context))
        else:
            self._house.on_said(self, said)


class Listener:
    """``house`` behind ``address``: ``open``, then ``close``. ``owner``: of an ipc socket, whom it belongs to."""

    def __init__(self, address: Address, house: House, *, owner: int | None = None) -> None:
        self.address = address
        self.house = house
        self.place = address.text  # where it listens indeed
        self.buffer = memoryview(bytearray(READ_AT_ONCE))  # of whoever is read from just now
        self._owner = owner
        self._peers: set[Peer] = set()
        self._told = 0
        self._numbers = 0
        self._sock: socket.socket | None = None
        self._again: asyncio.TimerHandle | None = None
        self._coming: set[asyncio.Task[object]] = set()
        self._identity: tuple[int, int] | None = None
        self._emptied: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Raises: CircusError failed."""
        try:
            self._sock = self._bind_path() if self.address.is_ipc else self._bind_port()
        except (OSError, PapaError) as error:
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            raise CircusError("failed", f"{self.address.text} cannot be opened: {why}") from None
        self._listen()

    def _bind_port(self) -> socket.socket:
        address = self.address
        sock = socket.create_server(
            (address.host, address.port),
            family=socket.AF_INET6 if address.is_ipv6 else socket.AF_INET,
            backlog=BACKLOG,
        )
        sock.setblocking(False)
        if not address.port:
            port = sock.getsockname()[1]
            self.place = f"tcp://{f'[{address.host}]' if address.is_ipv6 else address.host}:{port}"
        return sock

    def _bind_path(self) -> socket.socket:
        path = self.address.path
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.setblocking(False)
            if path.startswith("@"):
                sock.bind("\0" + path[1:])
            else:
                _remove_left_over(path)
                # The socket's mode is that of the file: there is no moment at which others could connect.
                os.fchmod(sock.fileno(), 0o600)
                with places.unix_address(path) as address:
                    sock.bind(address)
                self._identity = _identity(path)
                if self._owner is not None:
                    _give(path, self._owner, self._identity)
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            self._remove_path()
            raise
        return sock

    # Who comes and goes -------------------------------------------------------------------------------------

    def _listen(self) -> None:
        assert self._sock is not None
        self._again = None
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._sock is not None
        for _ in range(ACCEPT_AT_ONCE):
            try:
                sock, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # there are no descriptors: whoever waits is asked in later
                log.warning("nobody is let in address=%s: %s", self.place, error.strerror)
                loop.remove_reader(self._sock)
                self._again = loop.call_later(ACCEPT_AGAIN_S, self._listen)
                return
            if (why := self._why_not(sock)) is not None:
                self.tell_refused(why)
                sock.close()
                continue
            sock.setblocking(False)
            if not self.address.is_ipc:
                with contextlib.suppress(OSError):  # it has gone already
                    keepalive.ask_after(sock)
            self._numbers += 1
            peer = Peer(self, self._numbers, f"uid {auth.peer_uid(sock)}" if self.address.is_ipc else "anybody")
            self._peers.add(peer)
            task: asyncio.Task[object] = loop.create_task(_connect(loop, peer, sock))
            self._coming.add(task)
            task.add_done_callback(self._coming.discard)

    def _why_not(self, sock: socket.socket) -> str | None:
        if len(self._peers) >= MAX_PEERS:
            return f"{MAX_PEERS} are connected already"
        if self.address.is_ipc:
            uid = auth.peer_uid(sock)
            if uid is None or (uid != self._owner and not auth.may_enter(uid)):
                return f"it is of uid {uid}"
        return None

    def let_go(self, peer: Peer) -> None:
        self._peers.discard(peer)
        if not self._peers and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def tell_refused(self, reason: str) -> None:
        self._told += 1
        if self._told <= MAX_TOLD:
            last = "; no more is said of those" if self._told == MAX_TOLD else ""
            log.warning("a peer was refused address=%s: %s%s", self.place, reason, last)

    @property
    def peers(self) -> Sequence[Peer]:
        return tuple(self._peers)

    # The end ------------------------------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Twice is once."""
        if self._again is not None:
            self._again.cancel()
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        self._remove_path()

    async def close(self) -> None:
        """What was written leaves, within FLUSH_S."""
        self.stop_listening()
        if self._coming:
            await asyncio.wait(self._coming)
        if not self._peers:
            return
        self._emptied = asyncio.get_running_loop().create_future()
        for peer in self.peers:
            peer.close()
        await asyncio.wait([self._emptied], timeout=FLUSH_S)
        for peer in self.peers:
            peer.abort()
        await self._emptied

    def _remove_path(self) -> None:
        if self._identity is not None and _identity(self.address.path) == self._identity:
            with contextlib.suppress(OSError):
                os.unlink(self.address.path)
        self._identity = None


async def _connect(loop: asyncio.AbstractEventLoop, peer: Peer, sock: socket.socket) -> None:
    await loop.connect_accepted_socket(lambda: peer, sock)


def _remove_left_over(path: str) -> None:
    """Raises: OSError when something else than a socket lies there, or somebody listens."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError("what lies there is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, places.unix_address(path) as address:
        probe.setblocking(False)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass  # its queue is full, or it is not ours
    raise OSError("somebody listens there already")


def _give(path: str, owner: int, identity: tuple[int, int] | None) -> None:
    """Only what was made here: who may write in its directory may have put another file there meanwhile.

    Raises: OSError.
    """
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != identity or not stat.S_ISSOCK(status.st_mode):
            raise OSError("somebody has put something else there")
        os.chown(f"/proc/self/fd/{fd}", owner, -1)
    finally:
        os.close(fd)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
