"""The doors of a circusd beside its control socket, as `ops` tell of them; what they are is their own business."""

from __future__ import annotations

from typing import Protocol


class Doors(Protocol):
    async def settled(self) -> None:
        """Waits until each has been tried, though not for ever."""

    def addresses(self) -> list[str]:
        """Where circusd listens, as `https://127.0.0.1:8443`."""

    def fingerprint(self) -> str:
        """The SHA-256 of circusd's own certificate; empty without one."""


class NoDoors:
    async def settled(self) -> None:
        return

    def addresses(self) -> list[str]:
        return []

    def fingerprint(self) -> str:
        return ""
