"""The certificate with which circusd shows itself over TCP: that of files, or its own, made once.

Files that are renewed count for the next connection; where the new ones cannot be used, the old ones go on, and that is
said. Disks are asked in threads, and not waited for. An own certificate is made by another process (`selfsigned`),
because what makes it is large; it stays the same for ten years, so that a client can know it by its fingerprint.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from circus import clock
from circus.engine import files
from circus.errors import CircusError
from circus.streams.workers import run_aside

log = logging.getLogger("circus.control")

#: So often at most the files are looked at, and so long a look may take.
LOOK_S = 1.0
LOOK_TIMEOUT_S = 2.0

#: A process that makes a certificate, on a busy machine.
MAKE_S = 60.0

#: The own one, in the state directory: its key and itself.
OWN = "certificate.pem"

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_Stamp = tuple[tuple[int, int, int], ...]


class Certificate:
    """``certificate`` and ``key`` are paths, perhaps of one file. ``on_trouble`` is told what is wrong, and an empty
    text when it is over."""

    def __init__(self, certificate: str, key: str, on_trouble: Callable[[str], None]) -> None:
        self._paths = (certificate, key)
        self._on_trouble = on_trouble
        self._context: ssl.SSLContext | None = None
        self._stamp: _Stamp = ()
        self._looked_at = 0.0
        self._told = ""
        self._is_looking = False
        self.fingerprint = ""

    async def load(self) -> None:
        """Raises: CircusError failed."""
        try:
            await self._look()
        except (OSError, ValueError) as error:
            raise CircusError("failed", self._why(error), "correct api.certificate and api.key") from None

    async def context(self) -> ssl.SSLContext:
        """The one that counts now, after ``load``."""
        assert self._context is not None
        if not self._is_looking and clock.monotonic() - self._looked_at >= LOOK_S:
            try:
                await self._look()
            except (OSError, ValueError) as error:
                self._stamp = ()
                trouble = f"{self._why(error)}; the one before goes on"
                if trouble != self._told:
                    self._told = trouble
                    log.warning("%s", trouble)
                    self._on_trouble(trouble)
        return self._context

    async def _look(self) -> None:
        self._is_looking = True
        try:
            if await asyncio.to_thread(files.bounded, self._look_now, LOOK_TIMEOUT_S):
                log.info("another certificate is taken sha256=%s file=%s", self.fingerprint, self._paths[0])
                self._told = ""
                self._on_trouble("")
        finally:
            self._is_looking = False
            self._looked_at = clock.monotonic()

    def _look_now(self) -> bool:
        """Whether there is another one than before."""
        found = tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in map(os.stat, self._paths))
        if found == self._stamp:
            return False
        context, fingerprint = context_of(*self._paths), fingerprint_of(self._paths[0])
        is_first = self._context is None
        self._stamp, self._context, self.fingerprint = found, context, fingerprint
        return not is_first

    def _why(self, error: Exception) -> str:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"the certificate {self._paths[0]} with the key {self._paths[1]} cannot be used: {why}"


def context_of(certificate: str, key: str) -> ssl.SSLContext:
    """Raises: OSError, ValueError."""

    def no_passphrase() -> str:
        raise ValueError("the key needs a passphrase, which nobody can type here")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, no_passphrase)
    context.set_alpn_protocols(["http/1.1"])
    return context


def fingerprint_of(path: str) -> str:
    """The SHA-256 of the first certificate in a file, in hexadecimal digits. Raises: OSError, ValueError."""
    with open(path, encoding="ascii", errors="replace") as file:
        match = _PEM.search(file.read())
    if match is None:
        raise ValueError(f"{path} has no certificate in it")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(match[0])).hexdigest()


async def own(directory: Path, name: str, hosts: Sequence[str]) -> str:
    """The path of circusd's own certificate, which is made now if there is none.

    Raises: CircusError failed.
    """
    path = directory / OWN

    def make() -> None:
        if not path.exists():
            _make(path, name, hosts)

    await run_aside("circus-tls", make)
    return str(path)


def _make(path: Path, name: str, hosts: Sequence[str]) -> None:
    argv = [sys.executable, "-m", "circus.control.selfsigned", str(path), name, *hosts]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MAKE_S)
        why = done.stderr.strip().rpartition("\n")[2] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    if why:
        raise CircusError(
            "failed",
            f"no certificate can be made: {why}",
            "pip install 'papa-circus[tls]', or name files: api.certificate and api.key",
        )
    log.info("a certificate was made file=%s", path)
