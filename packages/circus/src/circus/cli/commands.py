"""The commands of circusctl: for each its words, its question to circusd and its lines.

A command is three functions in one table: arguments, run, lines. `run` answers with what circusd answered
(that is what --json prints), once or again and again; `lines` says it
for people. Errors are raised as CircusError; the caller prints them.
"""

from __future__ import annotations

from circus.cli import asking, queries, render
from circus.cli.asking import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from circus.cli import audit, drill, events, jobs, listen, logs, notify, operations, orders, upgrade, why
else:

    class _Later:
        """A module that is imported when one of its functions is called: of most, nobody calls any."""

        def __init__(self, name: str) -> None:
            self._name = f"circus.cli.{name}"

        def __getattr__(self, function: str) -> Any:
            def call(*args: object) -> object:
                return getattr(__import__(self._name, fromlist=[function]), function)(*args)

            return call

    _LATE = ("audit", "drill", "events", "jobs", "listen", "logs", "notify", "operations", "orders", "upgrade", "why")
    audit, drill, events, jobs, listen, logs, notify, operations, orders, upgrade, why = map(_Later, _LATE)

_TABLE = (
    Command("status", "state of the watchers", queries.ask_status, queries.status_lines, queries.status_arguments),
    Command(
        "list", "names of the watchers, or pids of one", queries.ask_list, queries.list_lines, queries.list_arguments
    ),
    Command(
        "start",
        "start watchers",
        lambda daemon, args: orders.give_order("start")(daemon, args),
        asking.ok_lines,
        orders.order_arguments,
    ),
    Command(
        "stop",
        "stop watchers",
        lambda daemon, args: orders.give_order("stop")(daemon, args),
        asking.ok_lines,
        orders.order_arguments,
    ),
    Command(
        "restart",
        "stop watchers, then start them",
        lambda daemon, args: orders.give_order("restart")(daemon, args),
        asking.ok_lines,
        orders.order_arguments,
    ),
    Command(
        "reload",
        "replace the processes gracefully",
        lambda daemon, args: orders.give_order("reload")(daemon, args),
        asking.ok_lines,
        orders.reload_arguments,
    ),
    Command(
        "incr",
        "more processes",
        lambda daemon, args: orders.give_change(1)(daemon, args),
        orders.number_lines,
        orders.change_arguments,
    ),
    Command(
        "decr",
        "fewer processes",
        lambda daemon, args: orders.give_change(-1)(daemon, args),
        orders.number_lines,
        orders.change_arguments,
    ),
    Command(
        "numprocesses",
        "number of processes; or set it",
        orders.give_numprocesses,
        orders.number_lines,
        orders.numprocesses_arguments,
    ),
    Command(
        "numwatchers",
        "number of watchers",
        queries.ask_numwatchers,
        lambda answer, _: [str(answer["numwatchers"])],
        asking.no_arguments,
    ),
    Command("signal", "send a signal to processes", orders.give_signal, asking.ok_lines, orders.signal_arguments),
    Command(
        "stats",
        "memory, cpu and age of processes",
        queries.ask_stats,
        lambda answer, _: render.stats_lines(answer),
        queries.stats_arguments,
    ),
    Command(
        "dstats",
        "memory, cpu and age of circusd and papa",
        asking.ask("dstats"),
        lambda answer, _: render.daemon_lines(answer),
        asking.no_arguments,
    ),
    Command(
        "globaloptions",
        "options of this circusd",
        queries.ask_globaloptions,
        lambda answer, _: render.options_lines(answer["options"]),
        queries.globaloptions_arguments,
    ),
    Command(
        "options",
        "options of a watcher",
        queries.ask_options,
        queries.options_lines,
        queries.options_arguments,
    ),
    Command(
        "get",
        "single options of a watcher",
        queries.ask_get,
        queries.options_lines,
        queries.get_arguments,
    ),
    Command("why", "why a watcher is as it is", why.ask, why.lines, why.arguments, why.is_not_well),
    Command(
        "exits", "how the processes of a watcher ended", queries.ask_exits, queries.exit_lines, queries.exit_arguments
    ),
    Command(
        "listsockets",
        "sockets of this circusd",
        asking.ask("sockets"),
        lambda answer, _: render.sockets_lines(answer),
        asking.no_arguments,
    ),
    Command("run", "run a job now", jobs.give_run, jobs.run_lines, jobs.run_arguments, jobs.status_of_run),
    Command("runs", "how the runs of a job went", jobs.ask_runs, jobs.runs_lines, jobs.runs_arguments),
    Command(
        "operations",
        "orders under way, and how the last ones ended",
        operations.run,
        operations.lines,
        operations.arguments,
        operations.status,
    ),
    Command("logs", "what the processes wrote", logs.run, logs.lines, logs.arguments),
    Command("audit", "who ordered what", audit.run, audit.lines, audit.arguments),
    Command("notify list", "notifiers, and how they fare", notify.ask_list, notify.list_lines, asking.no_arguments),
    Command(
        "notify test",
        "send a test message",
        notify.give_test,
        notify.test_lines,
        notify.test_arguments,
        notify.has_failed,
    ),
    Command("events", "what happens, as it happens", events.run, events.lines, events.arguments),
    Command("listen", "print events as they happen", listen.run, listen.lines, listen.arguments),
    Command("add", "add a watcher", orders.give_add, asking.ok_lines, orders.add_arguments, program_behind=1),
    Command("rm", "stop a watcher and remove it", orders.give_rm, asking.ok_lines, orders.rm_arguments),
    Command("kill", "end processes; others follow", orders.give_kill, asking.ok_lines, orders.kill_arguments),
    Command("set", "change options of a watcher", orders.give_set, asking.ok_lines, orders.set_arguments),
    Command(
        "forget",
        "return watchers to what the file says",
        orders.give_forget,
        orders.forget_lines,
        orders.forget_arguments,
    ),
    Command(
        "reloadconfig",
        "read the configuration again, and follow it",
        orders.give_reloadconfig,
        orders.reloadconfig_lines,
        orders.reloadconfig_arguments,
    ),
    Command("upgrade", "another version takes circusd's place", upgrade.run, upgrade.lines, upgrade.arguments),
    Command(
        "quit",
        "end circusd; watchers with use_papa go on",
        lambda daemon, args: orders.give_waiting("quit")(daemon, args),
        asking.ok_lines,
        asking.wait_arguments,
    ),
    Command(
        "shutdown",
        "stop all watchers, then end circusd",
        lambda daemon, args: orders.give_waiting("shutdown")(daemon, args),
        asking.ok_lines,
        asking.wait_arguments,
    ),
    Command(
        "drill",
        "kill circusd under its services, and count what they notice",
        drill.run,
        drill.lines,
        drill.arguments,
        drill.has_failed,
    ),
    Command(
        "version",
        "versions of circusctl and circusd",
        asking.ask("version"),
        queries.version_lines,
        asking.no_arguments,
    ),
)

COMMANDS = {command.name: command for command in _TABLE}
