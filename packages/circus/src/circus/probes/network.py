"""Asking over TCP and HTTP, on the loop, without a thread. A check is one connection; nobody is redirected.

The certificate of an https server is not verified: whom a check asks is mostly itself, under the name localhost.
"""

from __future__ import annotations

import asyncio
import ssl

from circus.config.checks import Check
from circus.probes import NotSo

#: The status stands in the first line, which servers keep short.
MAX_HEAD = 8192

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
    tls = _tls() if check.is_tls else None
    hosts = _HOSTS.get(check.host.lower(), (check.host,))
    for host in hosts[:-1]:
        try:
            return await asyncio.open_connection(host, check.port, limit=MAX_HEAD, ssl=tls)
        except ConnectionRefusedError:
            continue
    return await asyncio.open_connection(hosts[-1], check.port, limit=MAX_HEAD, ssl=tls)


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}".lower()
    return (error.strerror or str(error) or "no connection").lower()
