"""Who watches circusd itself, and what it may use: the options `warden`, `watchdog` and `limits.*` of [circus]."""

from __future__ import annotations

from circus.config.option import Option, table

WARDEN = table(
    Option("warden", "flag", True, "With `--daemon`: a small parent of circusd starts it again when it crashes or "
           "hangs.", "restart"),
    Option("watchdog", "seconds", 30.0, "A circusd that says nothing for so long is made to write its stacks into the "
           "log, and replaced by its warden. 0: silence means nothing.", "restart", field="watchdog_s"),
    Option("limits.memory", "size", 0, "How much memory circusd itself may have (what is resident); above it writes "
           "its stacks into the log and begins anew. 0: as much as it likes.", "restart", field="limits_memory"),
    Option("limits.cpu", "percent", None, "The same for how much of one processor it uses, in percent. Empty: as much "
           "as it likes.", "restart", field="limits_cpu"),
    Option("limits.grace", "seconds", 60.0, "How long it must use too much. As long a time at the start of a life does "
           "not count; after it has begun anew for that, ten times as long; from the third time on sixty times.",
           "restart", field="limits_grace_s"),
)  # fmt: skip
