"""The page of what circusctl prints with --json. `python -m circus.cli.shapespage FOLDER` writes it and the schema."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from circus.cli import shapes
from circus.cli.words import COMMANDS

_HEAD = """\
# circusctl --json

Made by `make reference`. [circusctl.schema.json](circusctl.schema.json) is the JSON Schema: under `$defs` each command
has a definition of its name, with `-` for a space, as `status` and `token-create`; `error` is the one of all of them.

- A command prints one object in one line (`--prettify`: in many), on standard output. {streams} print one in
  each line, until they end; so do `operations ID --follow` and `status -f`.
- What went wrong is an object, too: `{{"error": {{"code": ..., "message": ..., "hint": ...}}}}`; in a stream it is
  the last line. The exit status is the same as without `--json`.
- A field may be added. None is renamed, removed or changed in meaning. Read what you know, and let the rest pass.
- A field that the schema does not call required may be missing: it has its default then, or the circusd is older than
  circusctl. Of a circusd that is asked by ZMQ much is missing, as the ancestors' messages do not have it.
- `--json` alone decides, not whether there is a terminal; there is no colour in it.

A script that waits until all is up:

    until circusctl --json status | jq --exit-status 'all(.watchers[]; .state == "active")'; do sleep 1; done

## Commands

| command | one of |
|---|---|
"""


def page() -> str:
    """In Markdown."""
    streams = " and ".join(f"`{name}`" for name in shapes.STREAMS if name not in ("operations", "status"))
    rows = [f"| `{name}` | {', '.join(map(_link, shapes.ANSWERS[name]))} |\n" for name in COMMANDS]
    definitions: dict[str, Any] = shapes.describe()["$defs"]
    commands = {shapes.ERROR, *map(shapes.key, shapes.ANSWERS)}
    parts = [_told(name, each) for name, each in sorted(definitions.items()) if name not in commands]
    return f"{_HEAD.format(streams=streams)}{''.join(rows)}\n## Objects\n\n{''.join(parts)}".rstrip("\n") + "\n"


def _link(kind: type[msgspec.Struct]) -> str:
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


def _told(name: str, shape: dict[str, Any]) -> str:
    fields = shape.get("properties", {})
    required = shape.get("required", ())
    rows = "".join(
        f"| `{key}` | {_type(each)} | {'yes' if key in required else ''} |\n" for key, each in fields.items()
    )
    table = f"| field | type | always |\n|---|---|---|\n{rows}\n" if rows else ""
    said = shape.get("description", "")
    return f"### {name}\n\n{said}\n\n{table}" if said else f"### {name}\n\n{table}"


def _type(shape: dict[str, Any]) -> str:
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in shape:
        return " or ".join(_type(each) for each in shape["anyOf"])
    if shape.get("type") == "array":
        return f"list of {_type(shape['items'])}" if shape.get("items") else "list"
    if shape.get("type") == "object" and shape.get("additionalProperties"):
        return f"name: {_type(shape['additionalProperties'])}"
    if "enum" in shape:
        return " or ".join(f"`{each}`" for each in shape["enum"])
    return str(shape.get("type", "anything"))


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0])
    (folder / "circusctl.md").write_text(page(), encoding="utf-8")
    (folder / "circusctl.schema.json").write_text(shapes.text(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
