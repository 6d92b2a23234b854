"""Options of a watcher that belong together and share a prefix, as ``flapping.window``: the rest of ``options``.

In TOML each family is a table. Its name is a field of ``WatcherConfig``, whose value is None unless an option of the
family is written.
"""

from __future__ import annotations

from collections.abc import Mapping

from circus.config.option import Option, table

#: Keys behind `flapping.` of a watcher, and of the section [plugin:flapping].
FLAPPING = table(
    Option("active", "flag", True, "Whether flapping is watched for.", "live"),
    Option("attempts", "positive", 2, "How many ends within the window are flapping.", "live"),
    Option("window", "seconds", 1.0, "The window.", "live", field="window_s"),
    Option("retry_in", "seconds", 7.0, "How long a flapping watcher is paused.", "live", field="retry_in_s"),
    Option("max_retry", "retries", 5, "After so many pauses the watcher stops; -1: never.", "live"),
)  # fmt: skip

#: Keys behind `backoff.` of a watcher.
BACKOFF = table(
    Option("first", "pause", 1.0, "The pause after the first failure: a start that was not possible, or an end by "
           "itself.", "live", field="first_s"),
    Option("factor", "factor", 2.0, "Each further failure in a row makes the pause so many times longer.", "live"),
    Option("max", "pause", 60.0, "No pause is longer, but for `backoff.jitter`.", "live", field="max_s"),
    Option("jitter", "share", 0.1, "Up to so much of the pause on top of it, at random, so that not all come at "
           "once.", "live"),
    Option("stable", "seconds", 60.0, "A process that has lived so long forgives all failures before.", "live",
           field="stable_s"),
    Option("attempts", "attempts", 10, "After so many failures in a row it is given up, until `circusctl start`; -1: "
           "never.", "live"),
)  # fmt: skip

#: Keys behind `limits.` of a watcher. Each bound is for a process and all that is below it together.
LIMITS = table(
    Option("memory", "size", 0, "How much memory a process may have, all below it counted with it (what is resident; "
           "what several share is counted for each). 0: as much as it likes.", "live"),
    Option("cpu", "percent", None, "How much of one processor, in percent, all below it counted with it: 150 is one "
           "and a half. Empty: as much as it likes.", "live"),
    Option("interval", "interval", 10.0, "How often it is looked at.", "live", field="interval_s"),
    Option("grace", "seconds", 30.0, "How long it must use too much before anything follows; 0: seen once is enough.",
           "live", field="grace_s"),
    Option("clear", "percent", 90.0, "Below so many percent of the bound it uses no longer too much.", "live"),
    Option("start_period", "seconds", 30.0, "The first seconds of a life do not count.", "live",
           field="start_period_s"),
    Option("action", "limit_action", "restart", "`restart`: another process takes its place. `reload`: the watcher is "
           "reloaded. `report`: it is only told, by the event `limit` and in the status.", "live"),
    Option("cgroup_memory_max", "size", 0, "With `cgroup = true`: the system gives no more memory than that to the "
           "control group, and kills in it when there is no other way. 0: no bound.", "live"),
    Option("cgroup_memory_high", "size", 0, "With `cgroup = true`: above it the system slows them down and takes "
           "memory back. 0: no bound.", "live"),
    Option("cgroup_cpu_max", "percent", None, "With `cgroup = true`: they get no more of the processors, in percent "
           "of one. Empty: no bound.", "live"),
    Option("cgroup_pids_max", "count", 0, "With `cgroup = true`: so many processes and threads, no more. 0: no bound.",
           "live"),
)  # fmt: skip


#: Keys behind `job.` of a watcher that has a schedule, or is a oneshot.
JOB = table(
    Option("timezone", "timezone", None, "The time zone of the schedule, as `Europe/Berlin`. None: that of the host.",
           "live"),
    Option("overlap", "overlap", "skip", "What becomes of a run that is due while the one before goes on: `skip` it, "
           "`queue` it, or `replace` the one before, which is ended.", "live"),
    Option("missed", "missed", "skip", "What becomes of runs that were due while no circusd was there or the machine "
           "slept: `skip` them, run the last one `once`, or `all` of them, at most 100.", "live"),
    Option("time_limit", "seconds", 0.0, "A run that takes longer is ended, as by `circusctl stop`, and has failed. 0: "
           "none.", "live", field="time_limit_s"),
    Option("history", "history", 100, "So many runs are kept for `circusctl runs`.", "live"),
)  # fmt: skip

#: Keys behind `health.` of a watcher.
HEALTH = table(
    Option("check", "health_check", "", "What says whether a process is healthy: `exec COMMAND`, `http URL`, `tcp "
           "HOST:PORT`, or `watchdog SECONDS`, within which it has to say WATCHDOG=1 again.", "live"),
    Option("interval", "pause", 10.0, "Pause between two checks.", "live", field="interval_s"),
    Option("timeout", "pause", 5.0, "A check that takes longer has failed.", "live", field="timeout_s"),
    Option("threshold", "positive", 3, "So many failures in a row make it unhealthy; of a watchdog one does.", "live"),
    Option("start_period", "seconds", 0.0, "Failures do not count for so long after it was ready.", "live",
           field="start_period_s"),
    Option("action", "health_action", "restart", "`restart`: an unhealthy process is replaced; `report`: it is only "
           "told.", "live"),
)  # fmt: skip

#: Name of a family -> its keys.
FAMILIES: Mapping[str, Mapping[str, Option]] = {
    "flapping": FLAPPING,
    "backoff": BACKOFF,
    "limits": LIMITS,
    "job": JOB,
    "health": HEALTH,
}
