"""A place in what `logs` shows, as a word that people hand on: pure.

For each log how many of its bytes were shown, counted over all of its files since it is indexed. So a cursor holds
over rotation and compression, and says how much is missing when its place is gone.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from circus.errors import CircusError

_VERSION = 1


def encode(positions: Mapping[str, int]) -> str:
    """``positions``: by the id of a log."""
    text = json.dumps([_VERSION, positions], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str) -> dict[str, int]:
    """Raises: CircusError usage."""
    try:
        version, positions = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if version != _VERSION:
            raise ValueError("another version")
        return {str(log): int(position) for log, position in positions.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, binascii.Error):
        raise CircusError(
            "usage", f"{cursor[:40]!r} is no cursor", "take the `cursor` of a line of `circusctl logs --json`"
        ) from None
