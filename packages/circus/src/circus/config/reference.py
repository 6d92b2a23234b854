"""The reference page of the configuration, made from the tables of options: ``python -m
circus.config.reference``.

Prints the page, or writes it to the path that is given. A test compares the page in the repository with it,
so that neither can change alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from circus.config import notifiers, options, plugins
from circus.config.options import Option

_TYPES = {
    "text": "text",
    "words": "list",
    "list": "list",
    "addresses": "addresses",
    "flag": "true or false",
    "integer": "whole number",
    "count": "0 or more",
    "positive": "1 or more",
    "processes": "0 or more",
    "retries": "-1 or more",
    "port": "port",
    "period": "time",
    "seconds": "time",
    "interval": "time",
    "pause": "time",
    "ready": "check",
    "health_check": "check",
    "health_action": "word",
    "factor": "1 or more",
    "attempts": "-1, or 1 or more",
    "limit_action": "word",
    "percent": "percent",
    "share": "0 to 1",
    "memory": "percent or size",
    "pattern": "regular expression",
    "size": "size",
    "octal": "octal mask",
    "signal": "signal",
    "account": "name or number",
    "family": "family",
    "socktype": "type",
    "level": "level",
    "color": "colour",
    "rotation": "time",
    "buffer": "64k to 1g",
    "overflow": "word",
    "kill_mode": "process, group or tree",
    "stall": "time or forever",
    "bound": "number or percent",
    "update": "restart or roll",
    "line_format": "text or json",
    "facility": "facility",
    "severity": "level",
    "receiver": "address",
    "name": "name",
    "control": "address",
    "papa": "address",
    "watcher_type": "simple or oneshot",
    "cron": "cron expression",
    "timezone": "name",
    "overlap": "word",
    "missed": "word",
    "history": "1 to 1000",
}

_CHANGES = {"live": "at once", "restart": "new processes", "none": "-"}

_HEAD = """\
# Configuration

*This page is made from the tables in `circus.config.options` by `python -m circus.config.reference`.*

A configuration is one file and those that it includes: INI files, or [TOML](#toml) where the name ends in `.toml`.
`circusd` reads all of it before it touches
anything, and when something is wrong it tells every problem with its file and line. Two commands look at a file
without touching anything:

- `circusctl config check FILE [--hooks]` lists what is wrong, what to be warned of, and what is worth knowing. The
  exit status is 1 when circusd would not start with it. Programs are looked for in the environment of the command.
  `--hooks` also looks up the hooks, which runs the modules that they are in, as a start of circusd does.
- `circusctl config show NAME [FILE]` shows every option of a watcher, of a socket or of `circus`: the value that
  counts, and where it is written. What comes from the environment of the command is not shown. Without FILE it is the
  file of the running circusd; what was ordered by hand is not in it, and `circusctl status -v` names that.

## Syntax

- Sections are `[name]`, options `name = value` or `name: value`. Letter case counts in names of options.
- A line that begins with `#`, `;` or the word `rem` is a comment. Behind a value a comment begins with `
  ;` (white space and a semicolon); only the first semicolon of a value is looked at, and `#` never begins
  one there.
- A line that begins with white space continues the value above.
- `""` is the empty value. `%` has no meaning.
- Sections that occur several times are one. Of an option that is given twice the first counts, also across
  included files, and a warning tells of the other.
- `[DEFAULT]` has values for all sections but the `[env]` ones.
- true, yes, on, 1 and false, no, off, 0 are the flags, in any case.
- A *time* is a number of seconds, as `0.5`, or a number with a unit: `250ms`, `90s`, `5m` (or `5min`), `2h`, `1d`. A
  *size* is a number of bytes, or one with `k`, `m`, `g` or `t`, which are 1024 times the one before; `kb` and `KiB`
  are the same. Units may be in any case.
- An unknown option is a warning that names the known option that it resembles. Options of a watcher that
  resemble nothing are kept for its hooks.

## TOML

The same sections, options and values in TOML 1.0, for files whose names end in `.toml`; either may include the other.

```toml
%(example)s```

- `circusctl config schema` prints a JSON Schema of it, which editors use for completion and checks; it also lies beside
  this page as `circus.schema.json`.
- `[watcher.NAME]`, `[socket.NAME]`, `[plugin.NAME]` and `[notifier.NAME]` are tables; names with other characters than
  letters, digits, `-` and `_` need quotes. What is a prefix in INI files is a table in them, or a dotted key:
  `stdout_stream`, `stderr_stream`, `hooks`, `flapping`, `backoff`, `limits`, `job`, `health`, `env`, `header`; and
  `rlimits` for `rlimit_`.
- `[env]` is for all watchers; a table in it, as `[env."web,worker*"]`, for those that match its patterns.
- Flags are `true` and `false`, numbers are numbers, and lists, where an INI file has white space between words, are
  arrays of texts. A text is read as the value in an INI file is, so that `"10m"`, `"yes"` and `"$(circus.env.N)"` do
  as well. `umask` must be a text, because `022` is no number in TOML and `0o22` another one.
- A key that is given twice in one file is an error, as TOML wants it. Across files the first one counts.

## Variables

- `$(circus.env.NAME)` or `((circus.env.NAME))`, in every value: from the `[env]` sections, else from the
  environment of circusd. Letter case only counts where names differ in nothing else. Unknown names stay
  as they are.
- `$NAME`, capitals only, in values of `[env]` sections: from the environment of circusd, empty if unset.
- In `cmd`, `args` and `shell_args`, at each spawn: `$(circus.wid)`, the number of the slot;
  `$(circus.sockets.NAME)`, the descriptor of a managed socket; `$(circus.env.NAME)`, of the process; and
  the options of the watcher, as in `$(circus.working_dir)`, `$(circus.numprocesses)`,
  `$(circus.rlimits.nofile)`.

## Environment

What a process gets, each over the one before it:

1. with `copy_env` the environment of circusd, else nothing;
2. `[env]`, for all watchers;
3. the files that `env_file` of `[circus]` names;
4. `[env:web,worker*]`, for the watchers whose names match one of the patterns, in the order of the file;
5. `env.NAME = value` of the watcher;
6. the files that `env_file` of the watcher names.

What is nearer to the watcher wins, and of two that are equally near the `env_file`: sections hold what all
installations have in common, such a file what one host or deployment sets, its secrets for instance.

`env_file` is a list of paths; a later one wins, and relative ones start at the directory of the main file. One that
is not there is an error, unless it is written as `-PATH`. Each line is `NAME=VALUE`; `export` in front, white space
around `=`, blank lines and lines that begin with `#` are allowed. A value ends at its line or at ` #`; in single
quotes everything stands for itself, in double quotes `\\n`, `\\t`, `\\"`, `\\\\` and `\\$` are known; quotes may go
over several lines. Nothing else in such a file is expanded, but `$(circus.env.NAME)` elsewhere can refer to its
names. Of a name that is given twice the last counts. `circusctl reloadconfig` reads the files again: a value that
changed means new processes.

## What an edit needs

`circusctl reloadconfig` compares the file with what runs. The column *edit* says what an option needs:
*at once*, or *new processes*. Whether processes of an earlier circusd still fit is told by the digest of
those options that need new processes, as they are written. Defaults are not part of it, and neither is the
environment of circusd, with `copy_env` or without, nor what stands for a `$NAME` in an `[env]` section: a
start from another shell, or of a new version, restarts nothing, and what runs keeps the environment in which
it was started. A `$(circus.env.NAME)` is part of the value that it stands in: a start with another value of a
variable that the file names so gives new processes to the watchers that it concerns.

## What was ordered by hand

The number of processes (`incr`, `decr`, `numprocesses`) and the order to stop a watcher are kept over a
restart of circusd and of the host, from the moment in which they are given; `start`, `restart` and a `reload`
of the watcher undo the stop. A `numprocesses` that is edited in the file wins over a number that was ordered
before the edit. A watcher that was stopped stays stopped until it is started, or removed by `reloadconfig`.
`circusctl forget NAME` returns to what the file says.
"""

_STREAMS = """
Without any key the output goes to the standard output of circusd.

- `FileStream` rotates its file by `max_bytes` and `backup_count`. A file that somebody else moves away is opened anew.
- `WatchedFileStream` leaves rotating to somebody else altogether: `max_bytes` and `backup_count` have no effect.
- `StdoutStream` is the standard output of circusd, `FancyStdoutStream` the same in colour, with `TIME [PID] | ` before
  every line (`time_format`; `%Y-%m-%d %H:%M:%S` if there is none).
- `TimedRotatingFileStream` is rotated by time (`rotate_when`, `rotate_interval`, `utc`), not by `max_bytes`: by the
  time of writing, so that lines of 23:59 that circusd was not there to take stand in the old day's file. Hours begin
  at :00, days at midnight; a backup is named after the beginning of its interval: `web.log.20261122`,
  `web.log.2026112213` (H), `web.log.202611221305` (M), `web.log.20261122130559` (S). A backup is never overwritten:
  another one of the same name gets `.2` behind it. The oldest backups beyond `backup_count` are deleted; 0 keeps all.
- `format = json` makes of every line an object that ends with a newline: `{"time":"2026-11-22T10:03:07.123456Z",
  "watcher":"web","wid":1,"pid":812,"stream":"stdout","line":"..."}`, the time being that of writing, in UTC. Bytes that
  are not UTF-8 become replacement characters in `line`, and `raw` has all bytes of the line in base64. A line that
  ends without a newline, or is longer than 64 KiB, comes in several objects, all but the last with `"partial":true`.
  Where output is missing stands an object with `"mark":"gap"` and `dropped_bytes`; where it could not be proven what
  was written before a crash, `"mark":"doubt"` and `repeated_bytes`. Streams of one file must have the same format.
- `compress` makes `web.log.1` a `web.log.1.gz` when it has been rotated, at leisure and beside the writing, with the
  same owner, mode and time of change. Backups in both forms are kept and counted alike, so it may be switched at any
  time. Of several streams of one file one that says so is enough.
- `SyslogStream` sends each line as a message to the syslog of the host, or with `address` to another one: over UDP, or
  over TCP, where each message stands behind its length (RFC 6587). A message has the time at which its line was
  written, to others with microseconds (RFC 5424). `JournalStream` sends each line to systemd's journal, with
  `CIRCUS_WATCHER`, `CIRCUS_WID`, `CIRCUS_PID`, `CIRCUS_STREAM` and `CIRCUS_TIME`, the time of writing, beside the usual
  fields. While a receiver is away papa keeps the output, and it is tried again; what was dropped meanwhile is told by a
  message where it is missing. After a kill of circusd the last lines may come twice. Over UDP nobody learns of a loss.
- A dotted path names a class of your own, looked for as hooks are. It is made once for each watcher and output, with
  all keys as text, then `open()` is called if there is one, and then the object for what was written:
  `stream({"data": bytes, "pid": 12, "name": "stdout", "timestamp": 1700000000.5})`. It runs in a thread of its own.
  What it refuses by an exception is brought again later and stays with papa meanwhile; after a kill of circusd the
  last calls may come twice. `circus.stream` has the ancestors' classes to build on.

Whatever its class, the output of a process is kept by papa until its sink has it, whether circusd is there or not.
`buffer`, `overflow` and `stall` say of each stream how much that may be, and who gives way then. As they are, a process
that writes faster than its log waits for it for a second at most, and a stopped or missing circusd stops no service: it
costs the oldest output, which is counted and marked in the log. With `overflow = block` and `stall = forever` nothing
is lost and the process stands still instead; `config check` notes it. Both streams share one buffer of 2m as long as
neither has an option of these three; else each has its own. A process that floods its log is lent up to eight times
its buffer while the log keeps up, all such together at most 64m: else it would wait for each batch. All output of all
processes together is kept below 256m and a quarter of the file system under papa's state directory, which comes
before every `buffer`. A class of your own
gets all keys itself, also those of these names.

Streams that write the same file share its bounds: of those that are written the largest `max_bytes` (0, never to
rotate, is larger than all) and the largest `backup_count` count, and a warning tells of the others.
"""

_PLUGINS = """\

## `[plugin:NAME]`

A plugin is a Python class that is told of every event and may give orders: `use = package.module.Class`,
looked for on `PYTHONPATH` and in the directory in which circusd was started. It runs in a process of its own,
as the watcher `plugin:NAME`, which `circusctl` knows like any other; `docs/plugins.md` says how to write one.
It gets every key of the section, as text. Those that are options of a watcher (`priority`, `working_dir`,
`stop_signal`, `graceful_timeout`, `autostart`, `stdout_stream.KEY`, ...) count for its process, too, but for
`cmd` and what belongs to it. Defaults differ: `priority = 1`, `singleton = true`, `copy_env = true`,
`copy_path = true`, and `use_papa = false` whatever `[circus]` says. `active = false` is `autostart = false`.
What it prints goes to circusd's log, unless a stream is named. An edit of an option of its own needs a new
process. `uid` may only be circusd's own user, to which alone circusd speaks.

`use = circus.plugins.flapping.Flapping` is no process but part of circusd: it takes the keys above without
their prefix, as defaults for all watchers. A watcher's `flapping.` keys go over them; without the plugin they
are enough by themselves.
"""


#: A whole file in TOML.
EXAMPLE = """\
[circus]
name = "shop"
use_papa = true
include = ["conf.d/*.toml"]

[env]
PATH = "/usr/local/bin:$PATH"

[env."web,worker*"]
SHOP_URL = "https://shop.example"

[watcher.web]
cmd = "uwsgi --ini shop.ini --socket fd://$(circus.sockets.web)"
working_dir = "/srv/shop"
numprocesses = 2
graceful_timeout = 10
stop_signal = "QUIT"
use_sockets = true
env_file = ["web.env", "-secrets.env"]

[watcher.web.stdout_stream]
class = "FileStream"
filename = "/var/log/shop/web.log"
max_bytes = "10m"
backup_count = 5

[watcher.web.hooks]
after_spawn = "shop_hooks.ready"
extended_stats = "shop_hooks.stats,true"

[watcher.web.env]
PORT = 8080

[watcher.web.rlimits]
nofile = 4096

[watcher.web.flapping]
attempts = 3
window = 10

[watcher.worker]
cmd = "python worker.py $(circus.wid)"
working_dir = "/srv/shop"
numprocesses = 4
stop_children = true
rlimits.core = 0

[socket.web]
path = "/run/shop/web.sock"
umask = "007"

[plugin.flapping]
use = "circus.plugins.flapping.Flapping"
"""


def page() -> str:
    """The whole page."""
    parts = [
        _HEAD.replace("%(example)s", EXAMPLE),
        _table("`[circus]`", options.CIRCUS, restart="restart of circusd"),
        _table("`[watcher:NAME]`", options.WATCHER),
        "\nAnd by prefix:\n",
        "- `rlimit_NAME`: a limit of the process, soft and hard; empty: infinite. Names are those of the system, in",
        "  any case: `rlimit_nofile`, `rlimit_core`. Those that are sizes take sizes (`rlimit_as = 2g`), `cpu` a time,",
        "  `rttime` microseconds, or `500ms`. An edit needs new processes.",
        "- `hooks.NAME = package.module.function[,true]`; with true errors of the hook are ignored. Applied at once:",
        *(f"  - `{name}`: {doc}" for name, doc in options.HOOKS.items()),
        _table("`stdout_stream.KEY` and `stderr_stream.KEY`", options.STREAM),
        _STREAMS.rstrip("\n"),
        *(_table(f"`{family}.KEY`", table) for family, table in options.FAMILIES.items()),
        _PLUGINS.rstrip("\n"),
        *(_plugin_table(use) for use in plugins.BUILT_IN if "._" not in use),
        _table("`[socket:NAME]`", options.SOCKET, restart="new socket"),
        "\nNames of sockets are lower case. A socket that a watcher with `use_papa` uses outlives a quit, too.",
        _table("`[notifier:NAME]`", notifiers.NOTIFIER),
        "\n`header.NAME = VALUE` is a header of each message to `url`, as `header.Authorization`; its value is shown",
        "nowhere. `docs/notify.md` says what is sent, and when.",
        _idle(),
    ]
    return "\n".join(parts) + "\n"


def _table(title: str, table: Mapping[str, Option], *, restart: str = "new processes") -> str:
    return "\n".join([f"\n## {title}\n", *table_lines(table, restart=restart)])


def table_lines(table: Mapping[str, Option], *, restart: str = "new processes") -> list[str]:
    changes = {**_CHANGES, "restart": restart}
    lines = ["| option | value | default | edit | meaning |", "|---|---|---|---|---|"]
    for option in table.values():
        if not option.idle:
            cells = (
                f"`{option.name}`",
                _TYPES[option.type],
                _default(option),
                changes[option.change],
                option.doc,
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _plugin_table(use: str) -> str:
    lines = [f"\n### `{use}`\n", "| option | value | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{option.name}` | {_TYPES[option.type]} | {_default(option)} | {option.doc} |"
        for option in plugins.BUILT_IN[use].values()
    ]
    return "\n".join(lines)


def _default(option: Option) -> str:
    value = option.default
    if value is None or value in ("", ()):
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if option.type == "memory":
        return f"{option.default[0]:g}"  # type: ignore[index]
    if option.type == "pattern":
        return f"`{value}`"
    if isinstance(value, tuple):
        return f"`{' '.join(value)}`"
    if option.type == "octal":
        return f"{value:03o}"
    if option.type == "signal":
        return "TERM"
    return f"{value:g}" if isinstance(value, float) else f"{value}"


def _idle() -> str:
    lines = [
        "\n## Understood, without effect\n",
        "These are read and checked. A value that is not the default is a warning.\n",
        "| section | option | why |",
        "|---|---|---|",
    ]
    for title, table in (
        ("circus", options.CIRCUS),
        ("watcher", options.WATCHER),
        ("stream", options.STREAM),
        ("socket", options.SOCKET),
    ):
        lines += [f"| {title} | `{each.name}` | {each.idle} |" for each in table.values() if each.idle]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    if arguments:
        with open(arguments[0], "w", encoding="utf-8") as file:
            file.write(page())
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main(sys.argv[1:])
