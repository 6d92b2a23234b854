"""When a job is due: a cron expression in a time zone, as a row of instants.

The expressions are read by the library cronsim, which does as Debian's cron does; it is imported with the first
schedule. Instants are seconds since 1970, and each call answers with a later one than it was asked for, also where the
clocks are changed. Does not belong here: what follows on an instant (supervise/jobs).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

#: The next instant after this one, or None: it never comes again.
NextAfter = Callable[[float], float | None]

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
#: A longer one is none.
MAX_LENGTH = 1000
#: An expression is tried from here: a leap year lies within what the library looks through.
TRIED_FROM = 1_700_000_000.0


def parse_cron(text: str) -> str:
    """The expression, if it is one, with its words one blank apart. Raises: ValueError."""
    words = text.split()
    if words and words[0].lower() == "@reboot":
        raise ValueError("is no time; write type = oneshot without a schedule, which runs once after each boot")
    expression = MACROS.get(words[0].lower(), "") if len(words) == 1 else " ".join(words)
    if not expression or len(text) > MAX_LENGTH:
        raise ValueError(
            "is no schedule; write minute, hour, day of month, month, day of week, as 30 3 * * *, or @daily"
        )
    from cronsim import CronSimError

    try:
        first = next_after(expression, UTC)(TRIED_FROM)
    except CronSimError as error:
        told = str(error)
        raise ValueError(
            f"is no schedule: {told[:1].lower()}{told[1:]}; "
            "write minute, hour, day of month, month, day of week, as 30 3 * * *; a field of seconds may stand in front"
        ) from None
    if first is None:
        raise ValueError("never comes; write a day that there is")
    return expression


def parse_timezone(text: str) -> str:
    """The name of a time zone that this host knows. Raises: ValueError."""
    try:
        zone_of(text.strip())
    except (KeyError, ValueError, OSError):
        raise ValueError("is no time zone that this host knows; write a name as Europe/Berlin, or UTC") from None
    return text.strip()


def zone_of(name: str | None) -> tzinfo:
    """The zone of that name; None is the host's own. Raises: KeyError, ValueError, OSError."""
    import zoneinfo  # with the first schedule

    if name is not None:
        return UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
    wanted = os.environ.get("TZ", "").removeprefix(":")
    if wanted and not wanted.startswith("/"):
        try:
            return zoneinfo.ZoneInfo(wanted)
        except (KeyError, ValueError):  # ZoneInfoNotFoundError is a KeyError
            return UTC  # as the C library does with what it does not know
    try:
        with open(wanted or "/etc/localtime", "rb") as file:
            return zoneinfo.ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC


def next_after(expression: str, zone: tzinfo) -> NextAfter:
    """``expression`` comes from parse_cron. Raises: CronSimError for another one."""
    from cronsim import CronSim

    CronSim(expression, datetime.fromtimestamp(TRIED_FROM, zone))

    def find(after: float) -> float | None:
        try:
            for moment in CronSim(expression, datetime.fromtimestamp(after, zone)):
                # Where an hour is shown twice the library goes by what clocks show, and may turn back.
                if moment.timestamp() > after:
                    return moment.timestamp()
        except OverflowError:  # the end of the calendar
            pass
        return None

    return find
