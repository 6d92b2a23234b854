"""What follows when processes fail again and again: the families of options that say it, turned into policies. Pure."""

from __future__ import annotations

from typing import Any

from circus.config import options
from circus.config.model import BackoffPolicy
from circus.config.sheet import Sheet


def of(sheet: Sheet) -> dict[str, Any]:
    """Name of a family -> its policy, None where no option of the family is written."""
    return {"backoff": _backoff(sheet)}


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


def _take(sheet: Sheet, family: str) -> dict[str, Any]:
    """What is written of a family; a warning tells of what it does not have."""
    table, prefix = options.FAMILIES[family], f"{family}."
    for key in sheet.section.entries:
        name = key.removeprefix(prefix)
        if name != key and name not in table:
            near = options.nearest(name, table)
            hint = f"did you mean {prefix}{near}?" if near else "it has no effect; remove it"
            sheet.warn(key, f"unknown option {key}", hint)
    return sheet.take(table, prefix)
