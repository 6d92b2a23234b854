"""One target under atheris: `python -m tests.fuzz.guided TARGET [libFuzzer's options]`; never returns."""

from __future__ import annotations

import sys
from typing import Any

import atheris

from tests.fuzz import house


def main() -> None:
    name, options = sys.argv[1], sys.argv[2:]
    with atheris.instrument_imports(include=["papa", "circus"]):
        target: Any = house.load(name)
    with house.bounded(target):
        atheris.Setup([sys.argv[0], *options], target.check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
