"""Asking over TCP and HTTP, on the loop, without a thread. A check is one connection; nobody is redirected.

The certificate of an https server is not verified: whom a check asks is mostly itself, under the name localhost.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from circus.config.checks import Check
from circus.probes import NotSo

#: The status stands in the first line, which servers keep short.
MAX_HEAD = 8192

#: Names are looked up by threads of their own, for as long as a name server lets them wait; nobody else waits for that.
LOOKUPS_AT_ONCE = 4

_lookups = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="circus-lookup")

_HOSTS = {"localhost": ("127.0.0.1", "::1")}


async def ask(check: Check, timeout_s: float) -> None:
    """Raises: NotSo."""
    try:
        async with asyncio.timeout(timeout_s):
            await (_ask_http(check) if check.kind == "http" else _ask_tcp(check))
    except TimeoutError:
        raise NotSo(f"no answer within {timeout_s:g} s ({check.place})") from None
    except OSError as error:
        raise NotSo(f"{_reason(error)} ({check.place})") from None


async def _ask_tcp(check: Check) -> None:
    _, writer = await _connect(check)
    writer.transport.abort()


async def _ask_http(check: Check) -> None:
    reader, writer = await _connect(check)
    try:
        host = f"[{check.host}]" if ":" in check.host else check.host
        request = f"GET {check.target} HTTP/1.1\r\nHost: {host}:{check.port}\r\nUser-Agent: circusd\r\nAccept: */*\r\n"
        writer.write(f"{request}Connection: close\r\n\r\n".encode())
        try:
            line = await reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise NotSo(f"the answer is no HTTP ({check.place})") from None
    finally:
        writer.transport.abort()
    words = line.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit() or len(words[1]) != 3:
        raise NotSo(f"the answer is no HTTP ({check.place})")
    if words[1][:1] not in b"23":
        raise NotSo(f"status {words[1].decode()} for {check.target} ({check.place})")


async def _connect(check: Check) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if check.kind == "tcp" and check.target:
        return await asyncio.open_unix_connection(check.target, limit=MAX_HEAD)
    addresses = _HOSTS.get(check.host.lower()) or await _addresses(check.host, check.port)
    for address in addresses[:-1]:
        try:
            return await _open(check, address)
        except ssl.SSLError:
            raise
        except OSError:
            continue
    return await _open(check, addresses[-1])


async def _open(check: Check, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if not check.is_tls:
        return await asyncio.open_connection(address, check.port, limit=MAX_HEAD)
    name = address if check.host.lower() in _HOSTS else check.host
    return await asyncio.open_connection(address, check.port, limit=MAX_HEAD, ssl=_tls(), server_hostname=name)


async def _addresses(host: str, port: int) -> tuple[str, ...]:
    """At least one. Raises: OSError."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(_lookups, look_up)
        return tuple(dict.fromkeys(str(address[0]) for *_, address in found))
    return (host,)


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without reading the system's certificates, which takes its time
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}".lower()
    return (error.strerror or str(error) or "no connection").lower()
