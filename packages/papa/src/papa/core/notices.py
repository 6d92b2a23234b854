"""When the owner of a process is told that there is more output.

The one idea is credit: after a notice none follows until the owner said how far it has *seen*; so a slow
owner is told once, not once for each byte, and a fast one is told at once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Notices:
    """The credit of one process's owner. A new owner begins with having seen nothing."""

    __slots__ = ("_has_credit", "_seen")

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._has_credit = True

    def restart(self) -> None:
        """Another connection is the owner now."""
        self._seen = {}
        self._has_credit = True

    def pack(self) -> list[object]:
        """For the next incarnation's unpack()."""
        return [self._seen, self._has_credit]

    def unpack(self, packed: list[Any]) -> None:
        self._seen, self._has_credit = packed

    def rearm(self, seen: Mapping[str, int | None]) -> None:
        """The owner has seen the streams up to these offsets; None or a missing one leaves its offset."""
        for stream, offset in seen.items():
            if offset is not None:
                self._seen[stream] = max(offset, self._seen.get(stream, 0))
        self._has_credit = True

    def is_due(self, heads: Mapping[str, int]) -> bool:
        """True when there is something new and the owner wants to hear of it."""
        return self._has_credit and any(head > self._seen.get(stream, 0) for stream, head in heads.items())

    def take(self, heads: Mapping[str, int]) -> list[int | None]:
        """The heads to send, [out, err]; the credit is spent."""
        self._has_credit = False
        return [heads.get("out"), heads.get("err")]
