"""The table of the inventory is whole; that it is true, `make inventory` shows."""

from __future__ import annotations

import re

from circus.config import notifiers, options
from tests.house import ROOT
from tests.inventory.faults import FAULTS
from tests.inventory.table import NOT_THERE_YET, ROWS

#: Table of options -> section and prefix of its rows.
TABLES = (
    (options.CIRCUS, "circus ", "circus"),
    (options.WATCHER, "watcher ", "watcher"),
    (options.STREAM, "watcher stdout_stream.", "watcher"),
    (options.STREAM, "watcher stderr_stream.", "watcher"),
    *((table, f"watcher {family}.", "watcher") for family, table in options.FAMILIES.items()),
    (options.SOCKET, "socket ", "socket"),
    (notifiers.NOTIFIER, "notifier ", "notifier"),
)

#: What existing configurations have, beside the options of the tables.
MUST = {
    "env *", "env: *", "watcher own", "watcher rlimit_*", "plugin use", "plugin priority", "variable wid",
    "variable env.*", "variable sockets.*", "variable shell", "DEFAULT *",
    "notifier header.*",
    *(f"watcher hooks.{name}" for name in options.HOOKS),
}  # fmt: skip


def test_every_option_is_noticed_by_a_test_or_warned_of() -> None:
    missing = []
    for table, prefix, section in TABLES:
        for name, option in table.items():
            key = (prefix + name).partition(" ")[2].replace("stderr_stream", "stdout_stream")
            is_told = key in NOT_THERE_YET.get(section, {})
            if not (is_told if option.idle else f"{prefix}{name}" in ROWS):
                missing.append(f"{prefix}{name}")
    assert missing == []
    assert MUST - ROWS.keys() == set()


def test_every_test_that_is_named_is_there() -> None:
    for row, test in (ROWS | FAULTS).items():
        file, _, name = test.partition("::")
        assert re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), row


def test_every_row_is_an_option_that_circus_knows() -> None:
    known = {f"{prefix}{name}" for table, prefix, _ in TABLES for name in table}
    of_plugins = {f"plugin {name}" for name in (*options.FLAPPING, "use", "priority")}
    others = {"variable priority", "watcher env.*"}
    assert ROWS.keys() - known - MUST - of_plugins - others == set()
