"""The page of all operations, made of the rows of `catalog`: `python -m circus.control.apipage PATH` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from circus.control import catalog
from circus.control.caller import ROLES
from circus.control.catalog import Operation

_HEAD = """\
# Operations of the API

Made by `make reference` from what circusd itself is made of. `/v1/openapi.json` has the shape of each answer; the tour
is [the API](../api.md). A right is what a role, or a token, has: see [access](../access.md). Those marked with * are
about all of circusd, and need the right for all watchers. {name} may contain slashes.

"""


def page() -> str:
    """In Markdown."""
    parts = [_HEAD]
    for title, is_order in (("Questions", False), ("Orders", True)):
        parts.append(f"## {title}\n\n| | what | right | {'body' if is_order else 'parameters'} |\n|---|---|---|---|\n")
        parts += [_row(each) for each in catalog.OPERATIONS if each.is_order == is_order]
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def _row(operation: Operation) -> str:
    role = next((role for role, verbs in ROLES.items() if operation.verb in verbs), "")
    right = f"{operation.verb}{'*' if operation.whole else ''} ({role})"
    asked = operation.body or operation.query
    fields = ", ".join(f"`{each.encode_name}`" for each in msgspec.structs.fields(asked)) if asked is not None else ""
    if operation.resumes:
        fields = ", ".join(filter(None, (fields, "Last-Event-ID")))
    return f"| `{operation.method} {operation.path}` | {operation.summary} | {right} | {fields} |\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
