"""The ancestors' wire: a message by a ZMQ socket, and the reply that has its id.

For a circusd that has no control socket here: an ancestor's, or one of another machine. A connection for each message,
so that nothing is open between two, and any number of threads may ask. Whoever reaches such an endpoint may command
its circusd, and nobody proves who he is. Needs pyzmq, which is imported when a message is sent.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from circus.errors import CircusError
from papa import places
from papa.errors import PapaError

if TYPE_CHECKING:
    import zmq

DEFAULT_TIMEOUT_S = 5.0

#: Of a reply; a status of 50,000 processes fits.
MAX_REPLY = 16 << 20

#: What an endpoint of this wire begins with.
SCHEMES = ("tcp://", "ipc://")

INSTALL = "install it beside circus: pip install 'papa-circus[zmq]'"


def speaks(endpoint: str) -> bool:
    """Whether ``endpoint`` has the form of one of this wire."""
    return endpoint.startswith(SCHEMES)


def is_there() -> bool:
    """Whether there is a pyzmq. It is not imported for that."""
    return importlib.util.find_spec("zmq") is not None


def exchange(
    endpoint: str, message: Mapping[str, Any], *, timeout_s: float = DEFAULT_TIMEOUT_S
) -> dict[str, Any] | None:
    """The reply to ``message``, which gets an id if it has none; None for a cast, which has none.

    Raises: CircusError usage, unreachable or timeout.
    """
    zmq, deadline = library(), time.monotonic() + timeout_s
    text, number = _written(message)
    check_listened(endpoint, timeout_s)
    with zmq.Context() as context, context.socket(zmq.DEALER) as sock:
        _open(sock, endpoint)
        if not sock.poll(_left_ms(deadline), zmq.POLLOUT):
            raise _deaf(endpoint, timeout_s)
        sock.send(text)
        if _is_cast(message):
            sock.set(zmq.LINGER, _left_ms(deadline))
            return None
        while sock.poll(_left_ms(deadline), zmq.POLLIN):
            if (reply := _reply_to(number, sock.recv_multipart()[-1], endpoint)) is not None:
                return reply
    raise _timed_out(endpoint, timeout_s)


async def exchange_async(
    endpoint: str, message: Mapping[str, Any], *, timeout_s: float = DEFAULT_TIMEOUT_S
) -> dict[str, Any] | None:
    """As ``exchange``, on the running loop of asyncio."""
    library()
    import asyncio

    import zmq
    import zmq.asyncio

    deadline = time.monotonic() + timeout_s
    text, number = _written(message)
    await asyncio.to_thread(check_listened, endpoint, timeout_s)
    with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as sock:
        _open(sock, endpoint)
        if not await sock.poll(_left_ms(deadline), zmq.POLLOUT):  # type: ignore[call-arg]
            raise _deaf(endpoint, timeout_s)
        await sock.send(text)
        if _is_cast(message):
            sock.set(zmq.LINGER, _left_ms(deadline))
            return None
        while await sock.poll(_left_ms(deadline), zmq.POLLIN):  # type: ignore[call-arg]
            if (reply := _reply_to(number, (await sock.recv_multipart())[-1], endpoint)) is not None:
                return reply
    raise _timed_out(endpoint, timeout_s)


def library() -> Any:
    """Raises: CircusError usage, when there is no pyzmq."""
    try:
        import zmq
    except ImportError:
        what = "an endpoint of the ancestors is reached by ZMQ, and pyzmq is not there"
        raise CircusError("usage", what, INSTALL) from None
    return zmq


def connect(sock: zmq.Socket[Any], endpoint: str) -> None:
    """Raises: CircusError usage, when it is none."""
    import zmq

    sock.set(zmq.LINGER, 0)
    sock.set(zmq.MAXMSGSIZE, MAX_REPLY)
    sock.set(zmq.IPV6, int("[" in endpoint))
    try:
        sock.connect(endpoint)
    except zmq.ZMQError as error:
        raise _no_endpoint(endpoint, str(error)) from None


# One message ------------------------------------------------------------------------------------------------


def _is_cast(message: Mapping[str, Any]) -> bool:
    return message.get("msg_type") == "cast"


def _written(message: Mapping[str, Any]) -> tuple[bytes, object]:
    number = message.get("id") or uuid.uuid4().hex
    try:
        return json.dumps({**message, "id": number}).encode(), number
    except (TypeError, ValueError, RecursionError) as error:
        raise CircusError("usage", f"the message cannot be written as JSON: {error}") from None


def _open(sock: zmq.Socket[Any], endpoint: str) -> None:
    import zmq

    sock.set(zmq.IMMEDIATE, 1)  # there is room for a message only where somebody takes it
    connect(sock, endpoint)


def _reply_to(number: object, frame: bytes, endpoint: str) -> dict[str, Any] | None:
    """None for one to another message."""
    try:
        reply = json.loads(frame)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        what = f"what answers at {endpoint} is no circusd: it wrote {frame[:40]!r}"
        raise CircusError("unreachable", what, "is that the `endpoint` of a circusd?")
    return reply if reply.get("id") == number or "id" not in reply else None


def _left_ms(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000))


# Who listens ------------------------------------------------------------------------------------------------


def check_listened(endpoint: str, timeout_s: float) -> None:
    """ZMQ says nothing of a connection that is refused, and goes on trying. May block.

    Raises: CircusError usage, unreachable or timeout.
    """
    kind, _, address = endpoint.partition("://")
    try:
        if kind == "tcp":
            host, colon, port = address.rpartition(":")
            if not colon or not port.isdecimal() or not 0 < int(port) < 1 << 16 or not host:
                raise _no_endpoint(endpoint, "write tcp://HOST:PORT")
            socket.create_connection((host.strip("[]"), int(port)), timeout_s).close()
        elif kind == "ipc" and not address.startswith("@"):
            with socket.socket(socket.AF_UNIX) as probe, places.unix_address(address) as path:
                probe.settimeout(timeout_s)
                probe.connect(path)
    except TimeoutError:
        raise _timed_out(endpoint, timeout_s) from None
    except OSError as error:
        hint = "start one with `circusd CONFIG`, or name another endpoint"
        raise CircusError("unreachable", f"no circusd answers at {endpoint}: {error.strerror or error}", hint) from None
    except PapaError as error:
        raise _no_endpoint(endpoint, error.message) from None


def _no_endpoint(endpoint: str, why: str) -> CircusError:
    return CircusError("usage", f"{endpoint!r} is no endpoint of a circusd: {why}", "use tcp://HOST:PORT or ipc://PATH")


def _deaf(endpoint: str, timeout_s: float) -> CircusError:
    what = f"who listens at {endpoint} did not speak ZMQ within {timeout_s:g} s"
    return CircusError("unreachable", what, "is that the `endpoint` of a circusd?")


def _timed_out(endpoint: str, timeout_s: float) -> CircusError:
    what = f"Timed out. circusd at {endpoint} did not answer within {timeout_s:g} s"
    return CircusError("timeout", what, "it is stopped, hung or overloaded; whether it took an order is not known")
