"""The options of a built-in plugin as values: the texts of its section by the table that the configuration has, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circus.config.options import Option
from circus.config.values import PARSERS
from circus.errors import CircusError


def read(table: Mapping[str, Option], config: Mapping[str, Any]) -> dict[str, Any]:
    """Raises: CircusError config-invalid."""
    values: dict[str, Any] = {}
    for option in table.values():
        values[option.name] = option.default
        if option.name in config:
            try:
                values[option.name] = PARSERS[option.type](str(config[option.name]))
            except ValueError as error:
                raise CircusError("config-invalid", f"{option.name} = {config[option.name]!r} {error}") from None
    return values
