"""A message by HTTP: one POST, in a thread that nobody waits for.

A name server or a server that hangs holds that thread and nothing else. What leads elsewhere is not followed, proxies
are not asked, and of the answer only the status is read.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import circus
from circus.notify.desk import Outcome
from circus.probes import tidy

#: Statuses after which another attempt may be better, besides all from 500 on.
_AGAIN = (408, 425, 429)


class Post:
    """One attempt: ``run`` is a thread's, ``abort`` anybody's."""

    def __init__(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> None:
        self._url = urlsplit(url)
        self._headers = headers
        self._body = body
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None  # of the connection, to end it from elsewhere
        self._is_aborted = False

    def run(self) -> Outcome:
        deadline = time.monotonic() + self._timeout_s
        try:
            status, reason, retry_after = self._exchange()
        except TimeoutError:
            return Outcome(self._late())
        except http.client.HTTPException as error:
            return Outcome(self._late() if self._is_aborted else f"no answer in HTTP: {type(error).__name__}")
        except (OSError, ValueError) as error:
            if self._is_aborted or time.monotonic() > deadline:
                return Outcome(self._late())
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return Outcome(tidy(why) or type(error).__name__)
        finally:
            with self._lock:
                if self._handle is not None:
                    self._handle.close()
                    self._handle = None
        if 200 <= status < 300:
            return Outcome()
        told = f"HTTP {status} {tidy(reason)}".rstrip()
        if 300 <= status < 400:
            return Outcome(f"{told}: what leads elsewhere is not followed", is_final=True)
        return Outcome(told, is_final=status < 500 and status not in _AGAIN, retry_after_s=_seconds(retry_after))

    def abort(self) -> None:
        with self._lock:
            self._is_aborted = True
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def _late(self) -> str:
        return f"no answer within {self._timeout_s:g} s"

    def _exchange(self) -> tuple[int, str, str]:
        host = self._url.hostname or ""
        is_secure = self._url.scheme == "https"
        usual = 443 if is_secure else 80
        port = self._url.port or usual
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        connection.default_port = usual  # which the header Host leaves out
        try:
            sock = socket.create_connection((host, port), self._timeout_s)
            connection.sock = sock
            with self._lock:
                if self._is_aborted:
                    raise TimeoutError
                self._handle = sock.dup()
            if is_secure:
                import ssl  # some megabytes, that only who needs it has

                connection.sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
            target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
            connection.request("POST", target, self._body, self._all_headers())
            with connection.getresponse() as answer:
                return answer.status, answer.reason, answer.headers.get("retry-after", "")
        finally:
            connection.close()

    def _all_headers(self) -> dict[str, str]:
        headers = dict(self._headers) | {"Content-Type": "application/json", "Connection": "close"}
        if not any(name.lower() == "user-agent" for name in headers):
            headers["User-Agent"] = f"circusd/{circus.__version__}"
        return headers


def _seconds(text: str) -> float:
    """A date is not understood: the pauses of the notifier itself count then."""
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0.0
