"""The circusd at an endpoint over TCP, from what stands on a command line. Imported for such an endpoint alone."""

from __future__ import annotations

import os

from circus.control.remote import RemoteClient
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

#: Far above a token.
MAX_TOKEN_FILE = 4096


def client(url: str, args: argparse.Namespace, timeout_s: float) -> RemoteClient:
    """Raises: CircusError usage."""
    token = _token(args.token_file)
    return RemoteClient(url, token=token, cacert=args.cacert, fingerprint=args.fingerprint, timeout_s=timeout_s)


def _token(path: str | None) -> str:
    if path is None:
        token = os.environ.get("CIRCUSCTL_TOKEN", "").strip()
        if not token:
            raise CircusError(
                "usage", "over TCP circusctl needs a token", "give --token-file F, or set CIRCUSCTL_TOKEN"
            )
        return token
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(MAX_TOKEN_FILE).strip()
    except OSError as error:
        hint = "name a file that has a token in it"
        raise CircusError("usage", f"--token-file {path}: {error.strerror}", hint) from None
