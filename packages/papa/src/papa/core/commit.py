"""A commit: what a client acknowledges and sets in one step, and how far it has seen output.

Parsed and merged here, judged by ``table``, made durable as one record of the journal. Several
acknowledgements of one stream count as the largest.
"""

from __future__ import annotations

from papa import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Items of each list in one request; more than a kernel can host streams.
MAX_ITEMS = 4 * model.MAX_PROCESSES


class Commit:
    """What ``parse`` understood: every id, stream, offset, name and value is of the right form."""

    __slots__ = ("acks", "exits", "seen", "values")

    def __init__(self) -> None:
        #: (id, stream): the offset below which the owner has everything.
        self.acks: dict[tuple[int, str], int] = {}
        self.exits: list[int] = []
        self.values: dict[str, str | None] = {}
        self.seen: dict[int, dict[str, int | None]] = {}

    @classmethod
    def parse(cls, args: Mapping[str, Any]) -> Commit:
        """From the arguments of ``commit`` or ``more``.

        Raises PapaError ``bad-request`` naming the wrong item.
        """
        self = cls()
        for item in _items(args, "acks"):
            if not isinstance(item, list) or len(item) != 3:
                raise model.bad("acks", "must have items [id, stream, offset]")
            key = model.check_id(item[0], "acks: id"), model.check_stream(item[1])
            offset = model.check_integer(item[2], "acks: offset", 0, model.MAX_OFFSET)
            self.acks[key] = max(offset, self.acks.get(key, 0))
        self.exits = list(dict.fromkeys(model.check_id(id, "exits") for id in _items(args, "exits")))
        values = args.get("values")
        if values is None:
            values = {}
        if not isinstance(values, dict):
            raise model.bad("values", "must be an object")
        for name, value in values.items():
            self.values[model.check_name(name, "values: name")] = model.check_value(value)
        self.seen = parse_seen(args)
        return self

    def record(self) -> dict[str, Any] | None:
        """What the journal must remember of it; None when that is nothing."""
        record: dict[str, Any] = {}
        if self.acks:
            record["acks"] = [[id, stream, offset] for (id, stream), offset in self.acks.items()]
        if self.exits:
            record["exits"] = self.exits
        if self.values:
            record["values"] = self.values
        return record or None


def parse_seen(args: Mapping[str, Any]) -> dict[int, dict[str, int | None]]:
    """The ``seen`` of ``commit`` and ``more``: how far the owner has been told of each process's streams."""
    seen: dict[int, dict[str, int | None]] = {}
    for item in _items(args, "seen"):
        if not isinstance(item, list) or len(item) != 3:
            raise model.bad("seen", "must have items [id, out, err]")
        offsets = [
            None if offset is None else model.check_integer(offset, "seen: offset", 0, model.MAX_OFFSET)
            for offset in item[1:]
        ]
        seen[model.check_id(item[0], "seen: id")] = dict(zip(model.STREAMS, offsets, strict=True))
    return seen


def _items(args: Mapping[str, Any], key: str) -> list[Any]:
    items = args.get(key)
    if items is None:
        return []
    if not isinstance(items, list):
        raise model.bad(key, "must be a list")
    if len(items) > MAX_ITEMS:
        raise model.bad(key, f"has {len(items)} items, more than {MAX_ITEMS}")
    return items
