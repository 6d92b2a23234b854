"""Points in time as people write them. Pure: now and the time zone are given."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

from circus.errors import CircusError

FORMS = "10m, 2h, 3d, now, today, yesterday, 10:00, 2026-11-22, `2026-11-22 10:00[:00]` or RFC 3339"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"((?:\d+(?:\.\d+)?[smhdw])+)(?: ?ago)?")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d)?")


def parse(text: str, now: datetime) -> int:
    """Nanoseconds since 1970. ``now`` has a zone, which counts where the text has none.

    Raises: CircusError usage.
    """
    word = text.strip().lower()
    midnight = datetime.combine(now.date(), time(), now.tzinfo)
    if word == "now":
        return _ns(now)
    if word == "today":
        return _ns(midnight)
    if word == "yesterday":
        return _ns(midnight - timedelta(days=1))
    try:
        if found := _AGO.fullmatch(word):
            seconds = sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(found[1]))
            return _ns(now) - int(seconds * 1_000_000_000)
        if _CLOCK.fullmatch(word):
            clock = time.fromisoformat(word.rjust(5 if word.count(":") == 1 else 8, "0"))
            return _ns(datetime.combine(now.date(), clock, now.tzinfo))
        at = datetime.fromisoformat(text.strip().upper())
        return _ns(at if at.tzinfo is not None else at.replace(tzinfo=now.tzinfo))
    except (ValueError, OverflowError):
        raise CircusError("usage", f"{text!r} is no time", f"use {FORMS}") from None


def _ns(at: datetime) -> int:
    # Not timestamp(): a float has no room for microseconds and the years.
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (at - epoch) // timedelta(microseconds=1) * 1000


def text(at_ns: int, zone: tzinfo | None = None) -> str:
    """RFC 3339, with microseconds; in UTC unless a zone is given."""
    seconds, rest = divmod(at_ns, 1_000_000_000)
    try:
        at = datetime.fromtimestamp(seconds, zone or UTC).replace(microsecond=rest // 1000)
    except (ValueError, OverflowError, OSError):
        return str(at_ns)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
