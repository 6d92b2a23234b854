"""The vault: descriptors that must outlive a killed kernel lie in flight in a socket pair.

The one idea: a descriptor sent by SCM_RIGHTS and not yet received stays open for as long as *anybody* holds
the socket. The holder, the kernel's parent, does nothing but hold it. A new kernel peeks at the queue, which
leaves it intact, and so gets every pipe, pidfd and listener of the killed one.

The queue (one pair of SOCK_SEQPACKET sockets for ever, `rx` and `tx`) is a list of messages, oldest first. A
message names its keys with their counts (``o12:2 p12:1``) and carries their descriptors in that order. The
vault may be read again after a kill at any instant, because:

- a message is sent whole or not at all, and taken whole or not at all;
- rotation first sends copies of what lives at the head to the tail, then takes the head away; a kill in
  between leaves two copies, and of several copies of a key the last counts;
- nothing is known in memory alone but which keys are dead. A kill forgets that, so load() may yield keys that
  were dropped: whoever owns the keys must drop again those it does not know, and so must forget what a key
  stands for *before* it drops the key.

Each push is a message of its own, and a new kernel takes about as long for a message as for what it carries. So when
`is_loose` says that there are many, somebody who has time shall `pack` them.

A dropped key's descriptors stay open until rotation reaches them, so writers of a dropped pipe would wait for
ever instead of getting EPIPE, and a dropped listener would keep its port: `at_once` is for these. A key of a
pipe at its end, or of a process that is gone, can wait until the dead outnumber the living.

Rotation needs room for one more message while the queue is full, so pushes are kept from the last of the send
buffer and of RLIMIT_NOFILE (which bounds the descriptors in flight of a user without privileges).

A message of another grammar is a newer papa's (its first word shall have no colon). It stays where it is with what
it carries; as it cannot be sent again, the queue is not turned any more, and the dead stay in it.

Only the kernel may peek: the peek offset belongs to the socket, and a second reader would move it.
"""

from __future__ import annotations

import resource
import socket

from papa import fdpass
from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# asm-generic/socket.h; Python does not name them.
_SO_SNDBUFFORCE = 32
_SO_PEEK_OFF = 42

# Plain numbers: an operation on two of socket's flags costs as much as a system call.
_PEEK, _TRUNC = int(socket.MSG_PEEK), int(socket.MSG_TRUNC)

#: A key is a letter and a number; the bound makes the largest message computable.
MAX_KEY_BYTES = 32

# Of a count. More would be too many for int(), too.
_MAX_DIGITS = len(str(fdpass.MAX_FDS))

#: The largest message: every descriptor with a key of its own, a count and blanks.
MAX_MESSAGE_BYTES = fdpass.MAX_FDS * (MAX_KEY_BYTES + 6)

#: Send buffer that is asked for. A message is charged about 800 bytes, so this is room for some 80,000: more
#: than any kernel has descriptors. Without CAP_NET_ADMIN the system cuts it to net.core.wmem_max.
SEND_BUFFER_BYTES = 32 << 20

#: Kept free for rotation: one full message, twice, as the system doubles what it is told.
RESERVE_BYTES = 32 << 10

#: Descriptors kept free for rotation: two full messages (what is sent again, and the one that did not fit).
#: The kernel keeps its soft RLIMIT_NOFILE that much below the hard one; rotation goes up to the hard one.
RESERVE_FDS = 2 * (fdpass.MAX_FDS + 3)

#: Messages above twice of what the living need at least: the next kernel reads them in 1 ms.
MANY_MESSAGES = 128

#: Messages that one pass of rotation may read: with their descriptors bounded too, a pass takes about 1 ms.
MESSAGES_A_PASS = 64


def open_pair() -> tuple[socket.socket, socket.socket]:
    """A new vault's two ends, rx and tx, for its first holder."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class NoVault:
    """The vault of a platform that has none: nothing is covered, and a kill loses what the kernel hosts."""

    live = dead = refused = foreign = 0
    is_loose = False

    def push(self, key: str, fds: Sequence[int]) -> bool:  # noqa: ARG002
        return False

    def drop(self, *keys: str, at_once: bool = False) -> bool:  # noqa: ARG002
        return True

    def load(self) -> dict[str, list[int]]:
        return {}

    def has(self, key: str) -> bool:  # noqa: ARG002
        return False

    def pack(self) -> Iterator[int]:
        return iter(())


class Vault:
    """See the module. `live` keys, `dead` copies still in the queue, `refused` pushes since the start.

    `foreign` messages cannot be understood.
    """

    __slots__ = (
        "_copies",
        "_descriptors",
        "_keys",
        "_messages",
        "_option",
        "_room",
        "_rx",
        "_total",
        "_tx",
        "foreign",
        "refused",
    )

    def __init__(self, rx: socket.socket, tx: socket.socket) -> None:
        """Takes both ends over, as open_pair made them; load() must come before the first push."""
        rx.setblocking(False)
        tx.setblocking(False)
        self._rx = rx
        self._tx = tx
        self._option, self._room = _ask_for_room(tx)
        self._limit_room(self._room - RESERVE_BYTES)
        self._keys: dict[str, int] = {}  # living keys and the number of their descriptors
        self._descriptors = 0  # of all living keys
        self._copies: dict[str, int] = {}  # copies of each key in the queue, dead ones too
        self._total = 0  # of all copies
        self._messages = 0
        self.refused = 0
        self.foreign = 0

    @property
    def live(self) -> int:
        return len(self._keys)

    @property
    def dead(self) -> int:
        return self._total - len(self._keys)

    def has(self, key: str) -> bool:
        """Whether ``key`` is covered."""
        return key in self._keys

    # --- putting in ----------------------------------------------------------------------------------------

    def push(self, key: str, fds: Sequence[int]) -> bool:
        """Covers ``fds`` under ``key``; a key that was there is replaced. False: no room, nothing is covered.

        The caller goes on in both cases: it is a limit of the system and no fault of the caller's.
        """
        message = f"{key}:{len(fds)}".encode("ascii", "replace")
        if not 0 < len(fds) <= fdpass.MAX_FDS or not _is_key(key):
            self.refused += 1
            return False
        if not self._send(message, fds) and not (self._make_room() and self._send(message, fds)):
            self.refused += 1
            return False
        self._descriptors += len(fds) - self._keys.get(key, 0)
        self._keys[key] = len(fds)
        self._count(key, 1)
        self._messages += 1
        self._turn_out_the_dead()
        return True

    def _send(self, message: bytes, fds: Sequence[int]) -> bool:
        try:
            fdpass.send_with_fds(self._tx, message, fds)
        except OSError:
            # EAGAIN: the buffer is full. ETOOMANYREFS: too many in flight. ENOMEM, ENOBUFS: no memory.
            # EBADF is the caller's mistake, and still no reason to end the parent of all services.
            return False
        return True

    # --- taking out ----------------------------------------------------------------------------------------

    def drop(self, *keys: str, at_once: bool = False) -> bool:
        """Forgets ``keys``, known or not. Must come *before* their descriptors are closed on purpose.

        With ``at_once`` (always for listeners, keys in s) the vault's descriptors are closed before this
        returns, at a cost that grows with the vault (12 ms at 2000 processes), but not with the keys; else some
        time later. False: they are not all closed yet; a later drop goes on with it.
        """
        for key in keys:
            self._descriptors -= self._keys.pop(key, 0)
        urgent = {key for key in keys if at_once or key.startswith("s")}
        # Once round the queue passes each copy that is in it now.
        left = self._messages
        # Not isdisjoint(), which looks at all that a dictionary has.
        while left > 0 and any(key in self._copies for key in urgent) and (taken := self._rotate()):
            left -= taken
        self._turn_out_the_dead()
        return not any(key in self._copies for key in keys)

    def _turn_out_the_dead(self) -> None:
        """One pass at most, so that the work is spread; each pass then meets a dead one for each living."""
        if self.dead > self.live:
            self._rotate()

    # --- reading back --------------------------------------------------------------------------------------

    def load(self) -> dict[str, list[int]]:
        """Every key with new descriptors (close-on-exec) that the caller owns; the queue stays as it is.

        Raises: PapaError internal, or limit when this process may not open as many: complete or nothing.
        """
        found: dict[str, list[int]] = {}
        self._keys.clear()
        self._copies.clear()
        self._descriptors = self._total = self._messages = self.foreign = 0
        self._peek_from_start()
        try:
            while (entries := self._peek()) is not None:
                self._messages += 1
                for key, fds in entries:
                    fdpass.close_all(found.get(key, ()))
                    found[key] = fds
                    self._count(key, 1)
        except BaseException:
            for fds in found.values():
                fdpass.close_all(fds)
            raise
        for key, fds in found.items():
            self._keys[key] = len(fds)
        self._descriptors = sum(self._keys.values())
        return found

    def _count(self, key: str, change: int) -> None:
        count = self._copies.get(key, 0) + change
        self._total += change
        if count:
            self._copies[key] = count
        else:
            del self._copies[key]

    def _peek_from_start(self) -> None:
        self._rx.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, 0)

    def _peek(self) -> list[tuple[str, list[int]]] | None:
        """The next message's keys with new descriptors, none of a foreign one; None behind the last one."""
        try:
            data, fds, flags = fdpass.recv_with_fds(self._rx, MAX_MESSAGE_BYTES, fdpass.MAX_FDS, _PEEK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise PapaError(f"the vault cannot be read: {error.strerror}", code="internal") from error
        entries = None if flags & _TRUNC else _parse(data, fds)
        if entries is None:
            fdpass.close_all(fds)
            self.foreign += 1
            return []
        return entries

    # --- rotation ------------------------------------------------------------------------------------------

    @property
    def _fewest(self) -> int:
        """Messages that the living need at least; greedy packing fills them to one half."""
        return -(-self._descriptors // fdpass.MAX_FDS)

    @property
    def is_loose(self) -> bool:
        """Whether a next kernel would be faster if this one packed."""
        return not self.foreign and self._messages > 2 * self._fewest + MANY_MESSAGES

    def pack(self) -> Iterator[int]:
        """Turns the whole queue once, so that few messages carry the living and the dead are gone.

        A pass at a time; yields how many messages each took away. It ends before its time when there is no room.
        """
        left = self._messages
        while left > 0 and (taken := self._rotate(left)):
            left -= taken
            yield taken

    def _make_room(self) -> bool:
        """False if there was nothing to win: a vault that is full for good is not turned for each push."""
        if self.foreign or (not self.dead and self._messages <= 2 * self._fewest + 1):
            return False
        before = self._messages
        return sum(self.pack()) >= before

    def _rotate(self, most: int = MESSAGES_A_PASS) -> int:
        """One pass: what lives in the oldest messages goes to the tail as one message, then they go.

        Returns how many messages were taken away; 0 if there was no room for it, or nothing to take.
        """
        if self.foreign:
            return 0
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._limit_room(self._room)
        try:
            kept, seen, taken = self._gather(min(most, MESSAGES_A_PASS))
            try:
                if kept and not self._send(_render(kept), [fd for fds in kept.values() for fd in fds]):
                    return 0
            finally:
                for fds in kept.values():
                    fdpass.close_all(fds)
        except PapaError:
            # No descriptors left to peek with: a later drop tries again.
            return 0
        finally:
            self._limit_room(self._room - RESERVE_BYTES)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for key in kept:
            self._count(key, 1)
        for _ in range(taken):
            # Without room for descriptors the system closes the message's.
            self._rx.recv(1)
        for key, count in seen.items():
            self._count(key, -count)
        self._messages += bool(kept) - taken
        return taken

    def _gather(self, most: int) -> tuple[dict[str, list[int]], dict[str, int], int]:
        """Peeks at the oldest messages, as many as their living fit into one.

        Returns the living keys with new descriptors, how many copies of each key were seen, and the number of
        messages.
        """
        kept: dict[str, list[int]] = {}
        seen: dict[str, int] = {}
        taken = size = 0
        self._peek_from_start()
        try:
            while taken < most and (entries := self._peek()) is not None:
                # Only the last copy of a key counts.
                alive = {k: fds for k, fds in entries if k in self._keys and self._copies[k] == seen.get(k, 0) + 1}
                for key, fds in entries:
                    if key not in alive:
                        fdpass.close_all(fds)
                more = sum(map(len, alive.values()))
                if taken and size + more > fdpass.MAX_FDS:
                    for fds in alive.values():
                        fdpass.close_all(fds)
                    break
                kept.update(alive)
                size += more
                taken += 1
                for key, _ in entries:
                    seen[key] = seen.get(key, 0) + 1
        except BaseException:
            for fds in kept.values():
                fdpass.close_all(fds)
            raise
        return kept, seen, taken

    def _limit_room(self, size: int) -> None:
        self._tx.setsockopt(socket.SOL_SOCKET, self._option, size)


def _ask_for_room(tx: socket.socket) -> tuple[int, int]:
    """The socket option that sets the send buffer, and the most that it may be set to."""
    try:
        tx.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
    except PermissionError:
        tx.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        # socket(7): the system answers twice of what it grants.
        return socket.SO_SNDBUF, tx.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2
    return _SO_SNDBUFFORCE, SEND_BUFFER_BYTES


def _is_key(key: str) -> bool:
    return key.isascii() and key.isalnum() and len(key) <= MAX_KEY_BYTES


def _render(entries: dict[str, list[int]]) -> bytes:
    return " ".join(f"{key}:{len(fds)}" for key, fds in entries.items()).encode("ascii")


def _parse(data: bytes, fds: list[int]) -> list[tuple[str, list[int]]] | None:
    """The keys of a message with their descriptors; None if it is none of ours."""
    entries: list[tuple[str, list[int]]] = []
    taken = 0
    for word in data.decode("ascii", "replace").split(" "):
        key, _, count = word.partition(":")
        if not _is_key(key) or not count.isdecimal() or not count.isascii() or len(count) > _MAX_DIGITS:
            return None
        entries.append((key, fds[taken : taken + int(count)]))
        taken += int(count)
    return entries if taken == len(fds) else None
