"""Watchers that are jobs: what their options mean together. Pure."""

from __future__ import annotations

from typing import Any

from circus.config import options
from circus.config.model import JobOptions
from circus.config.sheet import Sheet

#: Options that are about watchers whose processes go on, or come in numbers.
_NOT_OF_JOBS = ("on_demand", "max_age", "send_hup", "ready", "health.check")
#: Options of jobs that say something of a schedule only.
_OF_SCHEDULES = ("timezone", "overlap", "missed")


def of(sheet: Sheet, taken: dict[str, Any]) -> dict[str, Any]:
    """What is to be known of ``taken``, the watcher's own options, beyond them."""
    own = sheet.take(options.FAMILIES["job"], "job.")
    is_scheduled = taken.get("schedule") is not None
    is_job = is_scheduled or taken.get("type") == "oneshot"
    if is_job or own:
        _check_keys(sheet, is_job=is_job, is_scheduled=is_scheduled)
    if not is_job:
        return {}
    if is_scheduled and taken.get("type") == "simple":
        sheet.error("type", "type = simple and schedule contradict each other", "remove one of the two")
    if taken.get("numprocesses", 1) != 1:
        what = f"a job has one process, and numprocesses is {taken['numprocesses']}"
        sheet.error("numprocesses", what, "remove numprocesses")
    for key in _NOT_OF_JOBS:
        if key in sheet.texts and taken.get(options.WATCHER[key].attribute if key in options.WATCHER else key, True):
            sheet.error(key, f"{key} makes no sense for a job, which ends", f"remove {key}")
    if is_scheduled and taken.get("respawn"):
        sheet.warn("respawn", "respawn has no effect for a job with a schedule", "remove it; the next run comes")
    meant: dict[str, Any] = {"type": "oneshot", "job": JobOptions(**own)}
    if "respawn" not in taken or is_scheduled:
        meant["respawn"] = False
    return meant


def _check_keys(sheet: Sheet, *, is_job: bool, is_scheduled: bool) -> None:
    known = options.FAMILIES["job"]
    for key in sheet.section.entries:
        name = key.removeprefix("job.")
        if name == key:
            continue
        if name not in known:
            near = options.nearest(name, known)
            hint = f"did you mean job.{near}?" if near else "it has no effect; remove it"
            sheet.warn(key, f"unknown option {key}", hint)
        elif not is_job or (name in _OF_SCHEDULES and not is_scheduled):
            what = "schedule" if name in _OF_SCHEDULES else "schedule or type = oneshot"
            sheet.warn(key, f"{key} has no effect without {what}", "write it, or remove this")
