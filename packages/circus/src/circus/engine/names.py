"""What a circusd calls its things in the kernel, so that several of them on one host never meet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the circusd called ``circusd``; the default one has the ancestors' names."""

    circusd: str

    @property
    def prefix(self) -> str:
        return "circus." if self.circusd == "default" else f"circus@{self.circusd}."

    def process(self, watcher: str, wid: int) -> str:
        return f"{self.prefix}{watcher.lower().replace(' ', '_').replace(':', '_')}.{wid}"

    def socket(self, name: str) -> str:
        return self.prefix + name.lower()

    @property
    def pattern(self) -> str:
        return self.prefix + "*"
