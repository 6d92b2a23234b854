"""Asks a circusd over TCP, as `control.client` does over its unix socket: under TLS, with a token.

Whom it speaks to is proven before anything is sent: by the authorities of the system, by a file of them, or by the
SHA-256 of the certificate that circusd has made for itself. Imported only for an endpoint over TCP, as TLS is large.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import ssl
from urllib.parse import urlsplit

from circus.control.client import DEFAULT_TIMEOUT_S, Client, left
from circus.errors import CircusError

FORMS = "https://HOST:PORT"

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[!-~]+")


class RemoteClient(Client):
    """``cacert``: a file; ``fingerprint``: of the certificate itself, whatever its names. Without both: the system's
    authorities.

    Raises: CircusError usage.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str,
        cacert: str | None = None,
        fingerprint: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        super().__init__(url, timeout_s=timeout_s)
        self._host, self._port, is_safe = _split(url)
        if not _TOKEN.fullmatch(token):
            raise CircusError("usage", "that is no token", "it has one word, as `circusctl token create` printed it")
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.headers = f"Host: {host}:{self._port}\r\nAuthorization: Bearer {token}\r\n"
        self._fingerprint = _fingerprint(fingerprint) if fingerprint is not None else ""
        self._context = _context(cacert, is_pinned=bool(self._fingerprint)) if is_safe else None

    def _connect(self, deadline: float, *, is_order: bool) -> socket.socket:
        try:
            sock = socket.create_connection((self._host, self._port), left(deadline))
        except TimeoutError:
            raise self._timed_out(is_order=is_order) from None
        except OSError as error:
            raise CircusError(
                "unreachable",
                f"no circusd answers at {self.path}: {error.strerror or error}",
                "see [circus] api.listen",
            ) from None
        if self._context is None:
            return sock
        try:
            sock.settimeout(left(deadline))
            safe = self._context.wrap_socket(sock, server_hostname=self._host)
        except TimeoutError:
            sock.close()
            raise self._timed_out(is_order=is_order) from None
        except OSError as error:
            sock.close()
            why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.strerror or error
            raise CircusError(
                "unreachable",
                f"it is not certain that {self.path} is the circusd that is meant: {why}",
                "give --fingerprint, which `circusctl token create` has printed, or --cacert FILE",
            ) from None
        if (
            self._fingerprint
            and (shown := hashlib.sha256(safe.getpeercert(True) or b"").hexdigest()) != self._fingerprint
        ):
            safe.close()
            raise CircusError(
                "unreachable",
                f"what answers at {self.path} has another certificate, of the fingerprint {shown}",
                "nothing was sent; if circusd made a new one, its log has the fingerprint",
            )
        return safe


def _split(url: str) -> tuple[str, int, bool]:
    """Host, port, and whether by TLS."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        host, port = "", None
    if not host or port is None or parts.path not in ("", "/") or parts.query or parts.username is not None:
        raise CircusError("usage", f"{url[:200]!r} is no endpoint of a circusd", f"write {FORMS}")
    if parts.scheme == "http" and not _is_loopback(host):
        raise CircusError("usage", f"the token could be read on its way to {url[:200]}", f"write {FORMS}")
    return host, port, parts.scheme != "http"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _fingerprint(text: str) -> str:
    plain = text.lower().removeprefix("sha256:").replace(":", "")
    if not _FINGERPRINT.fullmatch(plain):
        raise CircusError("usage", f"{text[:100]!r} is no SHA-256 of a certificate", "it has 64 hexadecimal digits")
    return plain


def _context(cacert: str | None, *, is_pinned: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=cacert)
    except (OSError, ValueError) as error:
        raise CircusError("usage", f"--cacert {cacert}: {error}", "name a file of certificates, in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if is_pinned:
        # The certificate itself is compared, which says more than any name in it.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
