"""Connections: accepting them, their bytes in and out, and the bounds on both.

The one idea: a connection may cost the kernel a bounded amount whatever its peer does. Requests are taken only
while the answers to earlier ones are being read; what is sent unasked (events) is bounded by the processes that
a connection owns, and a peer that leaves more than MAX_QUEUED of it unread is cut off: it can come back and
attach again, nothing is lost.

What bytes mean is decided by papa.wire.session, what requests do by papa.kernel.commands.
"""

from __future__ import annotations

import errno
import os
import socket
import time

from papa import fdpass
from papa.errors import PapaError
from papa.kernel import peers
from papa.kernel.doorstep import Doorstep
from papa.kernel.loop import HANGUP, READ, WRITE
from papa.kernel.patience import Patience
from papa.wire.session import Answer, Close, ServerSession

TYPE_CHECKING = False
if not TYPE_CHECKING:
    # As in papa.lean_modules: the package imports five modules for what its inner module has.
    from _collections import deque
else:
    from collections import deque
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    from papa.kernel.loop import Loop
    from papa.kernel.watch import Watch
    from papa.wire.messages import Request

    class Performer(Protocol):
        """Who carries requests out: see papa.kernel.commands."""

        def perform(self, connection: Connection, request: Request) -> Outcome | None: ...

        def on_gone(self, connection: Connection) -> None: ...


#: Managers, viewers and people at once; one more is turned away. Each costs a descriptor and a few KB.
MAX_CONNECTIONS = 256

#: Bytes of answers that may wait before the next request is looked at.
ENOUGH_QUEUED = 1 << 20
#: ... and how many answers: the smallest is of two bytes, and waits in a hundred times as much.
ENOUGH_ANSWERS = 1024

#: Bytes that may wait for a peer before it is cut off: two of the largest answers, or the exits and ends of
#: MAX_PROCESSES processes several times over.
MAX_QUEUED = 16 << 20

#: One read; a request of the largest size takes some turns, in which others are served.
RECEIVE_BYTES = 1 << 16

#: Requests of one connection that are carried out before others have their turn...
REQUESTS_PER_TURN = 64
#: ... or as many as began within this time: a start takes 1 ms, a page of dated output up to 30 ms.
TURN_S = 0.01

#: Connections accepted in one turn.
ACCEPTS_PER_TURN = 16

#: How long a listener rests when the system cannot give another descriptor, and the reserve did not help.
ACCEPT_REST_S = 1.0

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Outcome:
    """What a request yielded: its reply, with descriptors (name, descriptor) that are closed once sent."""

    __slots__ = ("body", "fds", "ok")

    def __init__(self, ok: Mapping[str, Any], *, fds: Sequence[tuple[str, int]] = (), body: bytes = b"") -> None:
        self.ok = ok
        self.fds = fds
        self.body = body


class Connection:
    """One peer, from its acceptance to its end."""

    __slots__ = (
        "_after_sent", "_is_held_back", "_is_performing", "_is_waiting", "_loop", "_performer", "_queue", "_queued",
        "_scheduled", "_server", "_sock", "client", "is_open", "is_unix", "session", "watch",
    )  # fmt: skip

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server = server
        self._loop = server.loop
        self._performer = server.performer
        self._sock = sock
        self._queue: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._queued = 0
        #: What is sent meanwhile goes out together: each message by itself would wake the peer as often.
        self._is_held_back = False
        self._after_sent: list[Callable[[], None]] = []
        #: A request is being carried out and is not answered yet.
        self._is_waiting = False
        #: ... and that is being done at this moment.
        self._is_performing = False
        self._scheduled = False
        self.session = ServerSession()
        self.is_unix = sock.family == socket.AF_UNIX
        self.is_open = True
        #: What the peer calls itself, for the status.
        self.client = ""
        #: What a person who watches has been shown.
        self.watch: Watch | None = None

    # --- coming and going ----------------------------------------------------------------------------------

    def start(self) -> None:
        self._loop.watch(self._sock.fileno(), READ, self._on_ready)
        self.send(self.session.greeting())

    def fileno(self) -> int:
        return self._sock.fileno()

    def unsent(self) -> bytes | None:
        """What the peer has not read yet; None when descriptors are among it."""
        return None if any(fds for _, fds in self._queue) else b"".join(data for data, _ in self._queue)

    def resume(self, unsent: bytes) -> None:
        """Instead of start(), for one that an earlier incarnation began: see papa.kernel.handover."""
        self._loop.watch(self._sock.fileno(), READ, self._on_ready)
        self.send(unsent)
        self._work_later()

    def close(self) -> None:
        """Ends it now; what was not sent yet is gone."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.forget(self._sock.fileno())
        self._sock.close()
        while self._queue:
            fdpass.close_all(self._queue.popleft()[1])
        self._queued = 0
        self._server.forget(self)
        self._performer.on_gone(self)
        self._run_after_sent()

    def after_sent(self, callback: Callable[[], None]) -> None:
        """Calls once everything that was to be sent is sent, or the peer is gone."""
        self._after_sent.append(callback)
        if not self.is_open or not self._queue:
            self._run_after_sent()

    def _run_after_sent(self) -> None:
        callbacks, self._after_sent = self._after_sent, []
        for callback in callbacks:
            # From the loop, so that a fault in it is contained apart from this connection's own work.
            self._loop.after_turn(callback)

    # --- in ------------------------------------------------------------------------------------------------

    def _on_ready(self, ready: int) -> None:
        if ready & WRITE:
            self._flush()
        if not self.is_open:
            return
        if not self._is_willing:
            # Who hung up reads no answer, and would be reported again and again.
            if ready & HANGUP:
                self.close()
        elif ready & ~WRITE and not self._scheduled:
            self._receive()

    @property
    def _is_willing(self) -> bool:
        return not self._is_waiting and self._queued < ENOUGH_QUEUED and len(self._queue) < ENOUGH_ANSWERS

    def _receive(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.session.feed(data)
        self._work()

    def _work(self) -> None:
        """Carries out what has come, as far as its turn goes."""
        end = time.monotonic() + TURN_S
        was_held_back, self._is_held_back = self._is_held_back, True
        for done in range(REQUESTS_PER_TURN):
            if self._queued >= ENOUGH_QUEUED:
                self._flush()
            if not self.is_open or not self._is_willing:
                break
            if done and time.monotonic() >= end:
                self._work_later()
                break
            item = self.session.next()
            if item is None:
                break
            if isinstance(item, Answer):
                self.send(item.data)
            elif isinstance(item, Close):
                self._bid_farewell(item)
                break
            else:
                self._perform(item)
        else:
            self._work_later()
        self._is_held_back = was_held_back
        if self.is_open and not was_held_back:
            self._flush()

    def _work_later(self) -> None:
        """What has come already makes no descriptor readable, so the loop would not ask again."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.after_turn(self._work_again)

    def _work_again(self) -> None:
        self._scheduled = False
        if self.is_open:
            self._work()

    def _bid_farewell(self, item: Close) -> None:
        if item.reason:
            self._server.doorstep.tell("a connection was closed", item.reason)
        self._is_waiting = True
        self.send(item.data)
        self.after_sent(self.close)

    def _perform(self, request: Request) -> None:
        fault = self._loop.contain(self._try_to_perform, request)
        if fault is not None:
            # The peer must not wait for a reply that never comes.
            self._is_performing = False
            self.finish(request, PapaError(f"{request.op}: fault in papa: {fault!r}", code="internal"))

    def _try_to_perform(self, request: Request) -> None:
        self._is_waiting = self._is_performing = True
        outcome: Outcome | PapaError | None
        try:
            outcome = self._performer.perform(self, request)
        except PapaError as error:
            outcome = error
        except OSError as error:
            outcome = _as_papa_error(request, error)
        if outcome is not None:
            self.finish(request, outcome)
        self._is_performing = False

    def finish(self, request: Request, outcome: Outcome | PapaError) -> None:
        """Answers a request: at once, or later, when perform() gave None."""
        self._is_waiting = False
        fds: tuple[int, ...] = ()
        if isinstance(outcome, PapaError):
            data = self.session.refuse(request, outcome)
        else:
            fds = tuple(fd for _, fd in outcome.fds)
            names = [name for name, _ in outcome.fds]
            data = self.session.reply(request, outcome.ok, fds=names, body=outcome.body)
        if self.is_open and data:
            self.send(data, fds)
        else:
            fdpass.close_all(fds)
        if not self._is_performing and self.is_open:
            self._work_later()

    # --- out -----------------------------------------------------------------------------------------------

    def tell(self, event: str, fields: Mapping[str, Any]) -> None:
        """Sends an event, soon; in text nothing is told unasked."""
        if not self._is_held_back:
            self._is_held_back = True
            self._loop.after_turn(self._let_go)
        self.send(self.session.event(event, fields))

    def _let_go(self) -> None:
        self._is_held_back = False
        if self.is_open:
            self._flush()

    def send(self, data: bytes, fds: tuple[int, ...] = ()) -> None:
        """Sends, or queues; the descriptors are closed here. Cuts off a peer that leaves too much unread."""
        if not self.is_open or not data:
            fdpass.close_all(fds)
            return
        self._queue.append((memoryview(data), fds))
        self._queued += len(data)
        # Descriptors are open until they are sent.
        if not self._is_held_back or fds or self._queued > MAX_QUEUED:
            self._flush()
        if self._queued > MAX_QUEUED:
            self._server.doorstep.tell("a connection was cut off", f"it left {self._queued} bytes unread")
            self.close()

    def _flush(self) -> None:
        was_willing = self._is_willing
        while self._queue:
            data, fds = self._first()
            try:
                sent = fdpass.send_with_fds(self._sock, data, fds) if fds else self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno == errno.ETOOMANYREFS:
                    self._server.doorstep.tell("a connection was lost", "too many descriptors are in flight")
                self.close()
                return
            fdpass.close_all(fds)
            self._queued -= sent
            if sent < len(data):
                self._queue[0] = data[sent:], ()
            else:
                self._queue.popleft()
        if not self._queue:
            self._run_after_sent()
        if not was_willing and self._is_willing:
            self._work_later()
        self._choose_events()
        self._server.bear(self, self._queued + self.session.held)

    def _first(self) -> tuple[memoryview, tuple[int, ...]]:
        """What goes out next: all that waits, up to what comes with descriptors."""
        queue = self._queue
        if len(queue) > 1 and not queue[0][1] and not queue[1][1]:
            parts = []
            while queue and not queue[0][1]:
                parts.append(queue.popleft()[0])
            queue.appendleft((memoryview(b"".join(parts)), ()))
        return queue[0]

    def _choose_events(self) -> None:
        # Who sends faster than it is served waits in the system's buffers, not in this memory.
        is_reading = self._is_willing and not self._scheduled
        events = (READ if is_reading else 0) | (WRITE if self._queue else 0)
        self._loop.change(self._sock.fileno(), events)


class Server:
    """The listeners of a kernel and everybody who came in through them."""

    __slots__ = (
        "_connections", "_listeners", "_patience", "_reserve", "_uids", "admitted", "doorstep", "loop", "performer",
    )  # fmt: skip

    def __init__(self, loop: Loop, performer: Performer) -> None:
        self.loop = loop
        self.performer = performer
        self.doorstep = Doorstep(loop)
        self._listeners: list[socket.socket] = []
        self._connections: set[Connection] = set()
        self._patience = Patience()
        #: How many came in so far.
        self.admitted = 0
        self._uids = {0, os.geteuid()}
        # Closed to accept one connection, and close it, when no other descriptor is left: else the listener
        # would stay readable and the loop would spin.
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def count(self) -> int:
        return len(self._connections)

    def clients(self) -> list[str]:
        """What those who said so call themselves."""
        return sorted(connection.client for connection in self._connections if connection.client)

    def connections(self) -> list[Connection]:
        return list(self._connections)

    def readmit(self, connection: Connection) -> None:
        """One that an earlier incarnation let in."""
        self._connections.add(connection)
        self.admitted += 1

    def listen(self, listeners: Sequence[socket.socket]) -> None:
        """Accepts from these, which are bound and listening, from now on."""
        for listener in listeners:
            listener.setblocking(False)
            self._listeners.append(listener)
            self._watch(listener)

    def _watch(self, listener: socket.socket) -> None:
        self.loop.watch(listener.fileno(), READ, lambda _ready: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._turn_one_away(listener)
                    return
                # ECONNABORTED and its like: that one changed its mind.
                continue
            self._admit(sock)

    def _admit(self, sock: socket.socket) -> None:
        uid = peers.peer_uid(sock)
        if uid not in self._uids:
            self.doorstep.tell("a stranger was refused", "its peer is unknown" if uid is None else f"its uid is {uid}")
            sock.close()
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self.doorstep.tell("a connection was refused", f"{MAX_CONNECTIONS} are open")
            sock.close()
            return
        sock.setblocking(False)
        peers.prepare(sock)
        connection = Connection(self, sock)
        self._connections.add(connection)
        self.admitted += 1
        connection.start()

    def _turn_one_away(self, listener: socket.socket) -> None:
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1
        try:
            listener.accept()[0].close()
        except OSError:
            self._rest(listener)
        try:
            self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._rest(listener)

    def _rest(self, listener: socket.socket) -> None:
        self.loop.forget(listener.fileno())
        self.loop.call_at(time.monotonic() + ACCEPT_REST_S, lambda: self._watch_again(listener))

    def _watch_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self.loop.forget(listener.fileno())
            self._watch(listener)

    def bear(self, connection: Connection, held: int) -> None:
        """``connection`` makes the kernel hold so much now: see papa.kernel.patience."""
        while (tiresome := self._patience.note(connection, held)) is not None:
            self.doorstep.tell("a connection was cut off", "it stood still with much while all together held too much")
            tiresome.close()
            if tiresome is connection:
                break

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._patience.note(connection, 0)

    def close(self) -> None:
        for connection in list(self._connections):
            connection.close()
        for listener in self._listeners:
            self.loop.forget(listener.fileno())
            listener.close()
        self._listeners.clear()
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1


def _as_papa_error(request: Request, error: OSError) -> PapaError:
    code = "limit" if error.errno in (*_NO_ROOM, errno.ENOSPC, errno.EDQUOT) else "internal"
    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    return PapaError(
        f"{request.op}: {where}{error.strerror or error}", code=code, hint="kernel.log and papa status may say more"
    )
