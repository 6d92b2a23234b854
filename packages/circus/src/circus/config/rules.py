"""What follows when processes fail, or are ill: the families of options that say it, turned into policies. Pure."""

from __future__ import annotations

from typing import Any

from circus.config import options
from circus.config.model import BackoffPolicy, HealthPolicy, LimitsPolicy
from circus.config.sheet import Sheet

#: What the bounds of a control group begin with.
GROUP = "cgroup_"


def of(sheet: Sheet, *, is_grouped: bool) -> dict[str, Any]:
    """Name of a family -> its policy, None where no option of the family is written.

    ``is_grouped``: the processes have control groups.
    """
    written = {key.partition(".")[0] for key in sheet.texts}
    return {
        "backoff": _backoff(sheet) if "backoff" in written else None,
        "limits": _limits(sheet, is_grouped=is_grouped) if "limits" in written else None,
        "health": _health(sheet) if "health" in written else None,
    }


def _backoff(sheet: Sheet) -> BackoffPolicy | None:
    taken = _take(sheet, "backoff")
    if not taken:
        return None
    policy = BackoffPolicy(**taken)
    if policy.first_s > policy.max_s:
        key = "backoff.first" if "first_s" in taken else "backoff.max"
        what = f"backoff.first ({policy.first_s:g} s) is more than backoff.max ({policy.max_s:g} s)"
        sheet.error(key, what, "write a shorter first pause, or a longer backoff.max")
    for key in options.FLAPPING:
        text = sheet.texts.get(f"flapping.{key}")
        if text is not None and key != "active":
            hint = "remove the options of one of the two"
            sheet.error(f"flapping.{key}", f"flapping.{key} and backoff are two answers to the same", hint)
            break
    if "max_retry" in sheet.texts:
        what = "max_retry has no effect beside backoff, which counts attempts itself"
        sheet.warn("max_retry", what, "remove it; see backoff.attempts")
    return policy


def _limits(sheet: Sheet, *, is_grouped: bool) -> LimitsPolicy | None:
    taken = _take(sheet, "limits")
    if not taken:
        return None
    policy = LimitsPolicy(**taken)
    if not 0 < policy.clear <= 100:
        what = f"limits.clear = {policy.clear:g} is not a part of the bound"
        sheet.error("limits.clear", what, "write more than 0, and at most 100, percent")
    in_group = [option.name for option in options.FAMILIES["limits"].values() if option.name.startswith(GROUP)]
    grouped = next((name for name in in_group if getattr(policy, name)), None)
    if grouped is not None and not is_grouped:
        what = f"limits.{grouped} is a bound of a control group, and there is none"
        sheet.error(f"limits.{grouped}", what, "write cgroup = true, or remove it")
    if not policy.is_looked_at and grouped is None:
        key = f"limits.{next(name for name, option in options.FAMILIES['limits'].items() if option.attribute in taken)}"
        sheet.warn(key, f"{key} has no effect: nothing is limited", "write limits.memory or limits.cpu")
        return None
    return policy


def _health(sheet: Sheet) -> HealthPolicy | None:
    taken = _take(sheet, "health")
    if not taken:
        return None
    if not taken.get("check"):
        if "health.check" not in sheet.texts:
            key = next(key for key in sheet.texts if key.startswith("health."))
            sheet.error(key, f"{key} without health.check", "write health.check = http URL, or another check")
        return None
    policy = HealthPolicy(**taken)
    if policy.check.startswith("watchdog "):
        for key in ("interval", "timeout", "threshold"):
            if f"health.{key}" in sheet.texts:
                sheet.warn(f"health.{key}", f"health.{key} has no effect on a watchdog", "remove it")
    return policy


def _take(sheet: Sheet, family: str) -> dict[str, Any]:
    """What is written of a family; a warning tells of what it does not have."""
    table, prefix = options.FAMILIES[family], f"{family}."
    length = len(prefix)
    written = [key for key in sheet.texts if key[:length] == prefix]
    if not written:  # most watchers have none
        return {}
    for key in written:
        name = key[length:]
        if name not in table and key in sheet.section.entries:
            near = options.nearest(name, table)
            hint = f"did you mean {prefix}{near}?" if near else "it has no effect; remove it"
            sheet.warn(key, f"unknown option {key}", hint)
    return sheet.take(table, prefix)
