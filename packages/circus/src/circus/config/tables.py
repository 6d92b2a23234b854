"""Tables of options on the pages of the documentation: ``python -m circus.config.tables PAGE...`` fills them.

Between two lines, ``<!-- options: max_surge backoff.* -->`` and ``<!-- end of options -->``, stands the table of those
options of a watcher; a family is meant by its name and ``.*``, and so are those of [circus]; ``notifier.*``
are those of a notifier. A test fails where a page has drifted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace

from circus.config import notifiers, options, reference
from circus.config.option import Option

_MARKED = re.compile(r"(<!-- options: ([^\n]+) -->\n).*?(<!-- end of options -->\n)", re.DOTALL)


def filled(page: str) -> str:
    """Raises: KeyError, for an option that nobody knows."""
    return _MARKED.sub(lambda found: found[1] + _table(found[2].split()) + found[3], page)


def _table(names: list[str]) -> str:
    meant = {option.name: option for name in names for option in _meant(name)}
    restart = "restart of circusd" if meant.keys() <= options.CIRCUS.keys() else "new processes"
    return "".join(f"{line}\n" for line in reference.table_lines(meant, restart=restart))


def _meant(name: str) -> Iterator[Option]:
    family, dot, key = name.partition(".")
    if not dot:
        yield options.WATCHER[name] if name in options.WATCHER else options.CIRCUS[name]
        return
    if family == "notifier":
        yield from (each for each in notifiers.NOTIFIER.values() if key in ("*", each.name))
        return
    if family not in options.FAMILIES:
        meant = [name] if key != "*" else [each for each in options.CIRCUS if each.startswith(f"{family}.")]
        yield from (options.CIRCUS[each] for each in meant)
        return
    table = options.FAMILIES[family]
    for each in table if key == "*" else (key,):
        yield replace(table[each], name=f"{family}.{each}", field=table[each].attribute)


def main(paths: list[str]) -> None:
    for path in paths:
        with open(path, encoding="utf-8") as file:
            before = file.read()
        if (after := filled(before)) != before:
            with open(path, "w", encoding="utf-8") as file:
                file.write(after)


if __name__ == "__main__":
    main(sys.argv[1:])
