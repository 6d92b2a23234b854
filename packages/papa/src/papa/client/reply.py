"""What a request to the kernel gives back, the same for every client and for the fake kernel."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """``ok`` is what the operation answered, ``body`` its bytes, ``fds`` its descriptors by name.

    The descriptors belong to whoever holds the reply.
    """

    ok: dict[str, Any]
    body: bytes = b""
    fds: dict[str, int] = field(default_factory=dict)

    def close_fds(self) -> None:
        """Close every descriptor that is still in ``fds``, and forget them."""
        while self.fds:
            os.close(self.fds.popitem()[1])


def last_key(what: str, rows: list[dict[str, Any]]) -> int | str:
    """What to give as ``after`` for the rows behind these: values go by name, everything else by id."""
    key: int | str = rows[-1]["name" if what == "values" else "id"]
    return key
