"""Asks a circusd over its unix socket: one blocking HTTP/1.1 exchange per connection.

The idea: a plain `circusctl status` must cost nothing beside the start of Python, so this knows just the part
of HTTP that circusd's own server speaks (a Content-Length, no chunks, no keep-alive) and imports no
http.client.

An order may take as long as the daemon works on it. That the daemon lives is proven first, by the interim
answer to ``Expect: 100-continue`` (RFC 9110, 10.1.1): a hung circusd is noticed within ``timeout_s``, however
long an operation may take.
"""

from __future__ import annotations

import _socket  # `socket` makes enumerations of hundreds of constants: a tenth of what a status takes
import errno
import json
import time

from circus import nearest
from circus.control import auth, endpoints
from circus.errors import TABLE, CircusError
from papa.errors import PapaError
from papa.places import unix_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    Answered = TypeVar("Answered")

DEFAULT_TIMEOUT_S = 5.0

#: Far above the few headers of circusd.
MAX_HEAD = 16 * 1024

#: A status of 50,000 processes fits.
MAX_BODY = 16 * 1024 * 1024

#: Between two attempts to connect while the daemon's queue of connections is full.
CONNECT_RETRY_S = 0.02

#: How often one who was not heard asks again: circusd is replaced, and its successor takes the next connection.
MAX_AGAIN = 5


_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str) -> str:
    """Percent-encoding (RFC 3986, 2.1) of everything but unreserved characters."""
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def target(*path: str, query: dict[str, str] | None = None) -> str:
    """What stands in the request line for these parts of a path, and these parameters."""
    asked = "&".join(f"{key}={quote(value)}" for key, value in (query or {}).items())
    return "/v1/" + "/".join(map(quote, path)) + (f"?{asked}" if asked else "")


class Client:
    """A circusd behind ``path``. Every call raises CircusError and nothing else."""

    def __init__(self, path: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self.headers = "Host: circusd\r\n"

    def get(self, target: str) -> dict[str, Any]:
        """The answer to a query, within ``timeout_s``."""
        return self._again(lambda deadline: self._send("GET", target, None, deadline, is_bounded=True).finish())

    def post(self, target: str, body: dict[str, object], *, is_bounded: bool = False) -> dict[str, Any]:
        """The answer to an order; ``timeout_s`` bounds its first sign of life, or all if ``is_bounded``."""
        return self.begin(target, body, is_bounded=is_bounded).finish()

    def begin(self, target: str, body: dict[str, object], *, is_bounded: bool = False) -> Pending:
        """An order that circusd has taken, or refused; its answer has yet to be waited for."""
        data = json.dumps(body).encode()
        return self._again(lambda deadline: self._send("POST", target, data, deadline, is_bounded=is_bounded))

    def open_events(
        self, topics: Sequence[str], *, last_id: str = "", since: float | None = None
    ) -> tuple[socket.socket, bytes]:
        """The connection from which events come (see `control.listening`), and what has come already."""
        asked = [f"topic={quote(topic)}" for topic in topics]
        if since is not None:
            asked.append(f"since={since!r}")
        return self.open_stream(f"/v1/events?{'&'.join(asked)}", last_id=last_id)

    def open_stream(self, target: str, *, last_id: str = "") -> tuple[socket.socket, bytes]:
        """The connection from which an answer without an end comes, and what has come already.

        In HTTP/1.0, in which the answer goes to the end of the connection.
        """
        head = f"GET {target} HTTP/1.0\r\n{self.headers}"
        if last_id:
            head += f"Last-Event-ID: {last_id}\r\n"
        return self._again(lambda deadline: self._open_stream(head, deadline))

    def _open_stream(self, head: str, deadline: float) -> tuple[socket.socket, bytes]:
        sock = self._connect(deadline, is_order=False)
        try:
            reader = _Reader(sock, deadline)
            reader.send(head.encode("ascii") + b"\r\n")
            status, length = reader.read_head()
            if status != 200:
                _understand(status, reader.read_body(length), was_heard=reader.was_heard)
        except (TimeoutError, _Garbled, OSError) as error:
            sock.close()
            raise self.failed(error, is_order=False) from None
        except BaseException:
            sock.close()
            raise
        return sock, reader.rest

    def _again(self, attempt: Callable[[float], Answered]) -> Answered:
        """What circusd says that it has not heard is asked again."""
        deadline = time.monotonic() + self.timeout_s
        for _ in range(MAX_AGAIN):
            try:
                return attempt(deadline)
            except NotHeard:
                continue
        return attempt(deadline)

    def _send(self, method: str, target: str, body: bytes | None, deadline: float, *, is_bounded: bool) -> Pending:
        sock = self._connect(deadline, is_order=body is not None)
        pending = Pending(self, sock, _Reader(sock, deadline), is_order=body is not None)
        head = f"{method} {target} HTTP/1.1\r\n{self.headers}Connection: close\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            head += "Expect: 100-continue\r\n"
        pending.send(head.encode("ascii") + b"\r\n", body, is_bounded=is_bounded)
        return pending

    def failed(self, error: Exception, *, is_order: bool, has_ordered: bool = False) -> CircusError:
        if isinstance(error, TimeoutError):
            return self._timed_out(is_order=is_order, has_ordered=has_ordered)
        if isinstance(error, OSError):
            return CircusError(
                "unreachable",
                f"circusd at {self.path} gave no answer: {error.strerror or error}",
                "it ended meanwhile, or takes neither your user nor so many clients at once; see its log",
            )
        return CircusError(
            "unreachable",
            f"what answers at {self.path} is no circusd: {error}",
            "name another one by --endpoint or CIRCUSCTL_ENDPOINT",
        )

    def _connect(self, deadline: float, *, is_order: bool) -> socket.socket:
        sock: socket.socket = _Socket(_socket.AF_UNIX, _socket.SOCK_STREAM)  # type: ignore[assignment]
        try:
            while True:
                sock.settimeout(left(deadline))
                try:
                    with unix_address(self.path) as address:
                        sock.connect(address)
                    break
                except BlockingIOError:
                    time.sleep(CONNECT_RETRY_S)
            uid = auth.peer_uid(sock)
            if not auth.is_trusted_listener(uid, self.path):
                raise CircusError(
                    "unreachable",
                    f"the listener at {self.path} belongs to uid {uid}, who is neither you nor root",
                    "nothing was sent to it; name another by --endpoint, or have it in directories that only root and"
                    " that user may write",
                )
            if auth.has_ended(sock):
                raise ConnectionRefusedError(errno.ECONNREFUSED, "it is dead, but a disk in which it writes hangs")
        except TimeoutError:
            sock.close()
            raise self._timed_out(is_order=is_order) from None
        except OSError as error:
            sock.close()
            raise self._unreachable(error) from None
        except PapaError as error:
            sock.close()
            raise CircusError("usage", error.message, error.hint) from None
        except BaseException:
            sock.close()
            raise
        return sock

    def _timed_out(self, *, is_order: bool, has_ordered: bool = False) -> CircusError:
        """circusd asks for the body of an order when it begins on it, and without a body does nothing."""
        hint = "it is stopped, hung or overloaded; --timeout S waits longer"
        if has_ordered:
            hint = "it has taken the order and goes on with it; `circusctl status -v` tells how far it is"
        elif is_order:
            hint = f"{hint}; the order was not taken, and will not be"
        return CircusError(
            "timeout", f"Timed out. circusd at {self.path} did not answer within {self.timeout_s:g} s", hint
        )

    def _unreachable(self, error: OSError) -> CircusError:
        if error.errno in (errno.EACCES, errno.EPERM):
            return CircusError(
                "unreachable",
                f"no access to circusd at {self.path}: {error.strerror}",
                "run circusctl as the user that circusd runs as, or as root",
            )
        others = [name for name in endpoints.known_names() if endpoints.socket_path(name) != self.path]
        hint = "start one with `circusd CONFIG`, or name another by --endpoint or CIRCUSCTL_ENDPOINT"
        if error.errno == errno.ECONNREFUSED:
            hint = f"it was left behind by one that was killed: {hint}"
        if near := nearest.nearest(endpoints.name_of_socket(self.path) or "", others):
            hint = f"did you mean --endpoint {near}? Or {hint}"
        if others:
            hint += f" (here: {', '.join(others[:10])})"
        return CircusError("unreachable", f"no circusd answers at {self.path}: {error.strerror or error}", hint)


def receive(sock: socket.socket, size: int) -> bytes | None:
    """What has come at a socket that does not block; None: nothing yet; empty: it has ended. Raises: OSError."""
    try:
        data = sock.recv(size)
        while data and hasattr(sock, "pending") and (more := sock.pending()):
            data += sock.recv(more)
        return data
    except BlockingIOError:
        return None
    except OSError as error:
        if type(error).__name__ == "SSLWantReadError":  # ssl is imported by whoever uses it
            return None
        raise


class Pending:
    """A request that is on its way; ``has_answer`` where its descriptor need not be waited for. Raises CircusError."""

    def __init__(self, client: Client, sock: socket.socket, reader: _Reader, *, is_order: bool) -> None:
        self._client, self._sock, self._reader = client, sock, reader
        self._is_order, self._has_ordered = is_order, False
        self._head: tuple[int, int] | None = None

    def send(self, head: bytes, body: bytes | None, *, is_bounded: bool) -> None:
        try:
            self._reader.send(head)
            if body is None:
                return
            self._head = self._reader.read_head()
            if not self._reader.was_heard:
                self.finish()
            if self._head[0] == 100:
                self._head, self._has_ordered = None, True
                self._reader.send(body)
                if not is_bounded:
                    self._reader.deadline = None
        except (TimeoutError, _Garbled, OSError) as error:
            raise self._failed(error) from None
        except BaseException:
            self.close()
            raise

    @property
    def has_answer(self) -> bool:
        # TLS may have deciphered more than was asked for.
        unread = self._sock.pending() if hasattr(self._sock, "pending") else 0
        return self._head is not None or bool(self._reader.rest) or unread > 0

    @property
    def deadline(self) -> float | None:
        return self._reader.deadline

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def finish(self) -> dict[str, Any]:
        """Waits for the answer."""
        try:
            with self._sock:
                status, length = self._head or self._reader.read_head()
                return _understand(status, self._reader.read_body(length), was_heard=self._reader.was_heard)
        except (TimeoutError, _Garbled, OSError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> CircusError:
        self.close()
        return self._client.failed(error, is_order=self._is_order, has_ordered=self._has_ordered)


class _Socket(_socket.socket):
    """With what the layer above adds, as far as anybody here needs it."""

    __slots__ = ()

    def __enter__(self) -> _Socket:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class NotHeard(CircusError):
    """It was not taken, and will be if it is asked again at once."""


class _Garbled(Exception):
    """The peer does not speak HTTP as circusd does."""


class _Reader:
    """One side of an exchange; ``deadline`` None waits for ever."""

    def __init__(self, sock: socket.socket, deadline: float | None) -> None:
        self.deadline = deadline
        self.was_heard = True  # as far as the latest head says
        self._sock = sock
        self._pending = b""

    def send(self, data: bytes) -> None:
        self._sock.settimeout(left(self.deadline))
        try:
            self._sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return  # its answer may lie there already, and if not, that is found by reading

    def read_head(self) -> tuple[int, int]:
        """Status and Content-Length of the next answer."""
        while (end := self._pending.find(b"\r\n\r\n")) < 0:
            if len(self._pending) > MAX_HEAD:
                raise _Garbled(f"a head longer than {MAX_HEAD} bytes")
            self._pending += self._receive(MAX_HEAD)
        lines = self._pending[:end].decode("latin-1").split("\r\n")
        self._pending = self._pending[end + 4 :]
        try:
            version, status, *_phrase = lines[0].split(" ", 2)
            fields = (line.partition(":") for line in lines[1:])
            headers = {name.strip().lower(): value.strip() for name, _, value in fields}
            length = int(headers.get("content-length", "0"))
            self.was_heard = headers.get("retry-after") != "0"
            if not version.startswith("HTTP/1.") or not 0 <= length <= MAX_BODY:
                raise ValueError
            return int(status), length
        except ValueError:
            raise _Garbled(f"its answer begins {lines[0][:60]!r}") from None

    def read_body(self, length: int) -> bytes:
        parts, have = [self._pending], len(self._pending)
        while have < length:
            parts.append(self._receive(min(length - have, 256 * 1024)))
            have += len(parts[-1])
        return b"".join(parts)[:length]

    @property
    def rest(self) -> bytes:
        """What has come behind the head."""
        return self._pending

    def _receive(self, size: int) -> bytes:
        self._sock.settimeout(left(self.deadline))
        data = self._sock.recv(size)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "end of stream")
        return data


def left(deadline: float | None) -> float | None:
    """Seconds until ``deadline``. Raises: TimeoutError when it is past."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _understand(status: int, body: bytes, *, was_heard: bool) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        raise _Garbled(f"HTTP status {status} without JSON") from None
    if not isinstance(answer, dict):
        raise _Garbled(f"HTTP status {status} without a JSON object")
    if status == 200:
        return answer
    error = answer.get("error")
    if not isinstance(error, dict):
        raise _Garbled(f"HTTP status {status}")
    code, message, hint = (str(error.get(key, "")) for key in ("code", "message", "hint"))
    kind = CircusError if was_heard else NotHeard
    raise kind(code if code in TABLE else "failed", message or f"HTTP status {status}", hint)
