"""What is known of one option of a configuration file; the tables are in ``options`` and ``families``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    type: str
    default: object
    doc: str
    change: str
    field: str = ""  # of the model, where it is not the option's name
    idle: str = ""

    @property
    def attribute(self) -> str:
        return self.field or self.name


def table(*options: Option) -> dict[str, Option]:
    return {option.name: option for option in options}
