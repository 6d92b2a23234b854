"""What one hosted process owes its reader, byte for byte. No sockets here: offsets and bytes in, faults out.

A stream's ``base`` is the first byte that is neither acknowledged nor known to be dropped. Whenever the kernel's
low-water mark passes it, the difference is a gap. What the kernel says it dropped must be the sum of the gaps, and what
it dropped after we had read it and before we acknowledged it: that can be no more than what we acknowledged then.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.chaos.writer import LINE_BYTES, lines


@dataclass(slots=True)
class Stream:
    """One stream with the lines of one writer (``keys`` has one), or of two that share it."""

    keys: tuple[int, ...]
    base: int = 0
    gap: int = 0
    acked: int = 0
    #: Dropped under our hands, so far; and acknowledged since that was looked at.
    saved: int = 0
    unchecked: int = 0
    is_open: bool = True
    #: Of a commit whose outcome is not known yet: the offset, and the counts at it.
    pending: tuple[int, dict[int, int]] | None = None
    #: Only where two share it: how many lines of each lie below ``base``.
    counts: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def check(self, data: bytes) -> dict[int, int]:
        """Compares what was read at ``base`` with what was written there; returns the counts behind it."""
        if not self.keys:
            self.faults.append(f"nobody should write here, but there stands {data!r}")
            return {}
        if len(self.keys) > 1:
            return self._check_mixed(data)
        first = self.base // LINE_BYTES
        count = -(-(self.base + len(data)) // LINE_BYTES) - first
        skip = self.base - first * LINE_BYTES
        expected = lines(self.keys[0], first, count)[skip : skip + len(data)]
        if data != expected:
            at = next((i for i, (one, other) in enumerate(zip(data, expected, strict=True)) if one != other))
            self.faults.append(
                f"offset {self.base + at}: {data[max(0, at - 32) : at + 48]!r} instead of"
                f" {expected[max(0, at - 32) : at + 48]!r}"
            )
        return {}

    def _check_mixed(self, data: bytes) -> dict[int, int]:
        counts = dict(self.counts)
        if self.base % LINE_BYTES:
            self.faults.append(f"offset {self.base} is inside a line")
        for at in range(0, len(data) - LINE_BYTES + 1, LINE_BYTES):
            line = data[at : at + LINE_BYTES]
            key = int(line[:8], 16) if line[:8].isalnum() else -1
            number = counts.get(key, 0)
            if key not in self.keys or line != lines(key, number, 1):
                self.faults.append(f"offset {self.base + at}: {line!r} instead of number {number} of {self.keys}")
                break
            counts[key] = number + 1
        return counts

    def reading_bytes(self, available: int, limit: int) -> int:
        """How much to read now: whole lines where two writers share the stream."""
        size = min(available, limit)
        return size - size % LINE_BYTES if len(self.keys) > 1 else size

    def low_is(self, low: int) -> None:
        if low > self.base:
            self.gap += low - self.base
            self.base = low
            if len(self.keys) > 1:
                self.faults.append(f"dropped below {low} although the bound was not near")

    def committed(self) -> None:
        assert self.pending is not None
        self.unchecked += self.pending[0] - self.base
        (self.base, self.counts), self.pending = self.pending, None
        self.acked = self.base

    def refused(self) -> None:
        """The commit did not happen."""
        self.pending = None

    def kernel_says(self, row: dict[str, int]) -> None:
        """After a connection was lost: did the last commit happen?"""
        if self.pending is not None and row["acked"] == self.pending[0]:
            self.committed()
        self.refused()
        if row["acked"] != self.acked:
            self.faults.append(f"the kernel has acked={row['acked']}, we had committed {self.acked}")
        if row["head"] < self.base:
            self.faults.append(f"the kernel has head={row['head']}, we have read to {self.base} already")
        self.is_open = bool(row["open"])
        self.check_dropped(row["dropped"], row["low"])
        self.low_is(row["low"])

    def check_dropped(self, dropped: int, low: int) -> None:
        more = dropped - self.gap - self.saved - max(0, low - self.base)
        if not 0 <= more <= self.unchecked:
            self.faults.append(
                f"dropped={dropped} low={low} at {self.base}: {self.gap} bytes are missing, {self.saved} were saved,"
                f" {self.unchecked} acknowledged since"
            )
        self.saved += more
        self.unchecked = 0

    def end_faults(self, truth: dict[int, int], batch: int) -> list[str]:
        """At its end: everything that was written has arrived. A killed writer may not have counted its last batch."""
        if not self.keys:
            return []
        written = sum(truth[key] for key in self.keys) * LINE_BYTES
        slack = batch * LINE_BYTES * len(self.keys)
        if not written <= self.base <= written + slack:
            return [f"{self.base} bytes arrived, {written} were counted by {len(self.keys)} writers"]
        return []


@dataclass(slots=True)
class Account:
    """One process: its streams, how it must end, how it did."""

    name: str
    id: int
    pid: int
    start_ticks: int | None
    streams: dict[str, Stream]
    batch: int
    truth: str
    status: int
    is_endless: bool
    ignores_term: bool
    is_killed: bool = False
    exit: tuple[int | None] | None = None
    is_exit_acked: bool = False
    is_closed: bool = False
    faults: list[str] = field(default_factory=list)

    def ended(self, status: int | None) -> None:
        if self.exit is not None and self.exit != (status,):
            self.faults.append(f"ended with {self.exit[0]}, then with {status}")
        self.exit = (status,)
        # Nobody knows how one ended that was so short that a killed kernel had not noted its pid.
        unknown = [None] if not self.pid else []
        allowed = unknown + ([-9] if self.is_killed else []) + ([] if self.is_endless else [self.status])
        if status not in allowed:
            self.faults.append(f"ended with {status}, not with {allowed}")

    def kernel_says(self, row: dict[str, object]) -> None:
        for what in ("pid", "start_ticks"):
            if row[what] != getattr(self, what):
                self.faults.append(f"{what} was {getattr(self, what)}, is {row[what]}")

    @property
    def is_drained(self) -> bool:
        return not any(stream.is_open for stream in self.streams.values())

    def all_faults(self) -> list[str]:
        own = [f"{self.name}: {fault}" for fault in self.faults]
        return own + [f"{self.name} {name}: {fault}" for name, s in self.streams.items() for fault in s.faults]
