"""Every option of a configuration file, once: its name, type, default, meaning, and what an edit of it needs.

Reader, validator, digest, comparison and the reference page all derive from these tables. ``type`` is a key
of ``values.PARSERS``. ``change`` says what a running watcher needs to obey an edit: ``live`` (nothing),
``restart`` (new processes; for ``[circus]`` a restart of circusd), ``none`` (the option has no effect to
renew). An option with ``idle`` is understood and checked, but has no effect yet; the text says so, and so
does a warning.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from circus import nearest as slips
from circus.config.doors import API
from circus.config.families import FAMILIES as FAMILIES
from circus.config.families import FLAPPING as FLAPPING
from circus.config.option import Option as Option
from circus.config.option import table as _table
from circus.config.warding import WARDEN

_STATS = "statistics are answered by circusctl stats; there is no separate statistics process"
_WEB = "there is no separate web process"
_NEVER = "it never had an effect in a file"

CIRCUS = _table(
    Option("name", "name", None, "Name of this circusd among others of the host. Default: derived from an "
           "endpoint that is not the ancestors' own, else `default`.", "restart"),
    Option("control", "control", None, "Where circusctl finds circusd: `unix:///path`. Default: "
           "`circus-NAME.sock` under the runtime root.", "restart"),
    Option("papa_endpoint", "papa", None, "The kernel to use: a port, `tcp://127.0.0.1:PORT`, or the "
           "absolute path of a Unix socket (`ipc:///path`, `unix:///path`). Default: the kernel of "
           "this user.", "restart"),
    Option("use_papa", "flag", False, "Default of `use_papa` for all watchers and sockets.", "live"),
    Option("store_size", "size", 4 << 20, "How much is kept of each watcher's output that goes into no file, for "
           "`circusctl logs`; 0: nothing. k, m, g are units of 1024.", "restart"),
    Option("store_age", "seconds", 7 * 86400.0, "What is kept there goes when it is so old.", "restart",
           field="store_age_s"),
    Option("stats_interval", "seconds", 0.0, "How often circusd looks at what processes use, for the history of "
           "`/v1/stats/history`; less than 1 counts as 1. 0: only when somebody asks, and nothing wakes up.", "live",
           field="stats_interval_s"),
    Option("audit.file", "text", None, "The audit trail: every order, and who was refused, a line each. Default: "
           "`audit.jsonl` in the state directory; `off`: there is none.", "restart", field="audit_file"),
    Option("audit.max_bytes", "size", 4 << 20, "It is rotated before it gets larger; 0: never.", "restart",
           field="audit_max_bytes"),
    Option("audit.backup_count", "count", 4, "How many rotated files of it to keep.", "restart",
           field="audit_backup_count"),
    Option("include", "words", (), "Further files, patterns separated by white space; `*` may stand in any "
           "part of a path. Relative ones start at the directory of the main file.", "live"),
    Option("include_dir", "words", (), "Directories; every `*.ini` in each is read, in order of name; in a TOML file "
           "also every `*.toml`.", "live"),
    Option("env_file", "words", (), "Files with variables for all watchers; see *Environment*.", "live"),
    Option("warmup_delay", "seconds", 0.0, "Pause between the starts of two watchers.", "restart",
           field="warmup_delay_s"),
    Option("check_delay", "period", 5.0, "Period of the ancestors' supervision tick. Deaths are noticed at "
           "once, so that it only matters to programs that ask for it.", "restart", field="check_delay_s"),
    Option("pidfile", "text", None, "File that holds circusd's pid while it runs.", "restart"),
    Option("umask", "octal", None, "umask of circusd and of the processes, octal.", "restart"),
    Option("loglevel", "level", "info", "critical, error, warning, info or debug.", "restart"),
    Option("logoutput", "text", "-", "`-` or `stdout`: the standard error of circusd; `syslog://HOST[:PORT]"
           "?FACILITY`, `syslog:///PATH?FACILITY`; else a file.", "restart"),
    Option("loggerconfig", "text", None, "File with a configuration of Python's logging (.ini, .json, "
           ".yaml); `default`: the built-in one.", "restart"),
    Option("endpoint", "text", None, "Where programs of the ancestors give orders: `tcp://127.0.0.1:5555`, or "
           "`ipc:///path`; see the page *The old door*. Without `name` it names this circusd, too.", "restart"),
    Option("pubsub_endpoint", "text", None, "Where they listen to events.", "restart"),
    Option("stats_endpoint", "text", None, "Where they listen to statistics.", "restart"),
    Option("endpoint_owner", "account", None, "User to whom ipc endpoints belong. Default: circusd's own.", "restart"),
    Option("zmq.open_to_network", "flag", False, "Open also those endpoints that other machines reach, though whoever "
           "reaches them gives orders without proof of who he is.", "restart", field="zmq_open_to_network"),
    Option("multicast_endpoint", "text", "", "The ancestors' discovery over UDP.", "none",
           idle="circusd opens no port for discovery"),
    Option("statsd", "flag", False, "Run the ancestors' statistics process.", "none", idle=_STATS),
    Option("statsd_close_outputs", "flag", False, "Silence the statistics process.", "none", idle=_STATS),
    Option("httpd", "flag", False, "Run the ancestors' web process.", "none", idle=_WEB),
    Option("httpd_host", "text", "localhost", "Address of the web process.", "none", idle=_WEB),
    Option("httpd_port", "port", 8080, "Port of the web process.", "none", idle=_WEB),
    Option("httpd_close_outputs", "flag", False, "Silence the web process.", "none", idle=_WEB),
    Option("debug", "flag", False, "Show what the helper processes of the ancestors print.", "none",
           idle="what plugins print is in circusd's log anyway"),
    Option("debug_gc", "flag", False, "Trace the garbage collector.", "none",
           idle="circusd does not trace the garbage collector"),
    Option("fqdn_prefix", "text", None, "Prefix of the host's name in statistics.", "none",
           idle="names of hosts do not appear in the statistics"),
    Option("stream_backend", "text", None, "Once: which event loop moves output.", "none", idle=_NEVER),
    Option("ssh_server", "text", None, "Once: a tunnel for endpoints.", "none", idle=_NEVER),
    Option("proc_name", "text", None, "Once: the title of the process.", "none", idle=_NEVER),
    Option("prereload_fn", "text", None, "Once: a function to call before a reload.", "none", idle=_NEVER),
    *API.values(),
    *WARDEN.values(),
)  # fmt: skip

WATCHER = _table(
    Option("cmd", "text", "", "The program and its arguments, split like a shell does. A bare name is looked "
           "up on the PATH that the process gets (without one: /bin and /usr/bin).", "restart"),
    Option("args", "text", "", "More arguments, split and put behind those of `cmd`.", "restart"),
    Option("executable", "text", None, "File to run in place of the first word of `cmd`, which stays the "
           "name that the process sees.", "restart"),
    Option("shell", "flag", False, "Give `cmd` and `args`, as they are written, to `/bin/sh -c`.", "restart"),
    Option("shell_args", "text", "", "More arguments for that shell ($0, $1, ...).", "restart"),
    Option("working_dir", "text", None, "Directory in which the processes start. Default: the one in which "
           "circusd was started.", "restart"),
    Option("uid", "account", None, "User to run as, name or number.", "restart"),
    Option("gid", "account", None, "Group to run as, name or number. Default with `uid`: the user's own.",
           "restart"),
    Option("copy_env", "flag", False, "Give the processes circusd's environment, overlaid with the [env] "
           "sections. Without it they get those sections only.", "restart"),
    Option("env_file", "words", (), "Files with variables for the processes; see *Environment*.", "live"),
    Option("copy_path", "flag", False, "Set PYTHONPATH to circusd's own import path.", "restart"),
    Option("virtualenv", "text", None, "Directory of a virtual environment: its `bin` becomes the first "
           "entry of PATH, and VIRTUAL_ENV is set. PYTHONHOME and PYTHONPATH of circusd are not handed on; "
           "those of `[env]` and of `copy_path` are. `copy_env` is not needed.", "restart"),
    Option("virtualenv_py_ver", "text", None, "Python version of the virtual environment.", "none",
           idle="not needed: the environment's own python finds its packages"),
    Option("numprocesses", "processes", 1, "How many processes to run.", "live"),
    Option("warmup_delay", "seconds", 0.0, "Pause between two spawns; fractions are allowed.", "live",
           field="warmup_delay_s"),
    Option("graceful_timeout", "seconds", 30.0, "How long a process may take to end before it is killed.",
           "live", field="graceful_timeout_s"),
    Option("max_retry", "retries", 5, "Attempts to spawn a process before the watcher gives up; -1: "
           "for ever.", "live"),
    Option("stop_signal", "signal", 15, "Signal that ends a process: a name with or without SIG, a number, "
           "or `SIGRTMIN+1`.", "live"),
    Option("stop_children", "flag", False, "Send the stop signal to the direct children, too.", "live"),
    Option("kill_mode", "kill_mode", "process", "Who is told to end, and for whom a stop waits. `process`: the main "
           "process. `group`: its process group. `tree`: it first, then whatever it has started.", "live"),
    Option("cgroup", "flag", False, "Each process gets a control group of its own, where papa runs in one that may be "
           "written: the surest proof of a stop.", "restart"),
    Option("send_hup", "flag", False, "Reload by SIGHUP in place of new processes.", "live"),
    Option("singleton", "flag", False, "Never run more than one process.", "live"),
    Option("priority", "integer", 0, "Higher starts first; equal ones start by name.", "live"),
    Option("autostart", "flag", True, "Start with circusd.", "live"),
    Option("after", "words", (), "Watchers that are started before and stopped after this one, as far as they are. "
           "`socket:NAME` may be named, too, here and in the next two: sockets are opened before anything starts.",
           "live"),
    Option("requires", "words", (), "As `after`; besides they are started with it, it waits until they are ready, and "
           "it is stopped or restarted with any of them.", "live"),
    Option("wants", "words", (), "As `after`; besides they are started with it; it starts also where they fail.",
           "live"),
    Option("essential", "flag", False, "In a container: when this watcher has ended for good, by itself or because "
           "it was given up, so does the container, with the exit status of its process.", "live"),
    Option("respawn", "flag", True, "Start a process again when it ends by itself.", "live"),
    Option("use_sockets", "flag", False, "The processes use managed sockets: those that the command names, "
           "or all of them when it names none.", "restart"),
    Option("listen_fds", "flag", False, "The processes find these sockets as services of systemd do, too: from "
           "descriptor 3 on, with LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES (`circus.NAME`).", "restart"),
    Option("use_papa", "flag", False, "The processes outlive `circusctl quit`.", "live"),
    Option("ready", "ready", None, "What says that a process is ready: `notify` (it says READY=1), `exec COMMAND`, "
           "`http URL`, `tcp HOST:PORT`, `line REGEX` (of its output) or `delay SECONDS`. Default: it is as soon as it "
           "runs.", "live"),
    Option("ready_interval", "pause", 1.0, "Pause between two attempts of `ready`; the first ones come quicker.",
           "live", field="ready_interval_s"),
    Option("start_timeout", "pause", 60.0, "A process that is not `ready` so long after its start has failed: it is "
           "ended.", "live", field="start_timeout_s"),
    Option("stdin_socket", "text", None, "Managed socket to pass as standard input.", "restart"),
    Option("close_child_stdin", "flag", True, "Standard input is /dev/null.", "none",
           idle="programs are hosted by papa, and their standard input is /dev/null always; see stdin_socket"),
    Option("close_child_stdout", "flag", False, "Standard output is /dev/null.", "restart"),
    Option("close_child_stderr", "flag", False, "Standard error is /dev/null.", "restart"),
    Option("max_age", "seconds", 0.0, "Renew a process that is older: it is stopped, and another one follows. 0: "
           "never.", "live", field="max_age_s"),
    Option("max_age_variance", "seconds", 30.0, "Up to so many seconds later, at random, so that not all are renewed "
           "at once.", "live", field="max_age_variance_s"),
    Option("on_demand", "flag", False, "Start when a connection waits on one of its sockets; when its processes have "
           "ended well (status 0), wait for the next.", "live"),
    Option("max_surge", "bound", None, "How many more processes than `numprocesses` may be there during a reload, "
           "those that are stopping included: a number, or a share (`25%`, rounded up). Default: as many again.",
           "live"),
    Option("max_unavailable", "bound", 0, "How many fewer may be ready; a number, or a share (rounded down). With "
           "`max_surge = 0` at least 1: one goes before another comes.", "live"),
    Option("soak", "seconds", 0.0, "So long new processes must stay ready in a reload before old ones go for them.",
           "live", field="soak_s"),
    Option("update", "update", "restart", "How changed options that need new processes reach them: `restart` ends all "
           "and starts anew; `roll` is a reload, which goes back to the options of before if it fails.", "live"),
    Option("type", "watcher_type", "simple", "`oneshot`: a job, which has started when it has ended well (status 0). "
           "It runs once in a life of the machine, or when it is started by hand.", "restart"),
    Option("schedule", "cron", None, "When the job runs, as cron has it: `30 3 * * 1-5`, or @hourly, @daily, @weekly, "
           "@monthly, @yearly; with six fields the first one is the second. It is a oneshot then.", "restart"),
    Option("check_flapping", "flag", True, "Once: whether to watch for flapping.", "none",
           idle="write flapping.active = false"),
)  # fmt: skip

#: Keys behind `stdout_stream.` and `stderr_stream.`.
STREAM = _table(
    Option("class", "text", "FileStream", "`FileStream`, `WatchedFileStream`, `TimedRotatingFileStream`, "
           "`StdoutStream`, `FancyStdoutStream`, `SyslogStream` or `JournalStream`; or the dotted path of a class of "
           "your own.", "live",
           field="class_name"),
    Option("filename", "text", None, "The file of a FileStream, WatchedFileStream or TimedRotatingFileStream.", "live"),
    Option("max_bytes", "size", 0, "Rotate before the file gets larger; 0: never. k, m, g are units of 1024.",
           "live"),
    Option("backup_count", "count", 0, "How many rotated files to keep.", "live"),
    Option("time_format", "text", None, "Put `TIME [PID] | ` before every line, TIME in this format of "
           "strftime.", "live"),
    Option("format", "line_format", "text", "`json`: an object for each line, with `time`, `watcher`, `wid`, `pid`, "
           "`stream` and `line`.", "live"),
    Option("refresh_time", "text", None, "Once: how often to look for output.", "none", idle=_NEVER),
    Option("color", "color", None, "Colour of a FancyStdoutStream: red, green, yellow, blue, magenta, cyan or white. "
           "None: one that goes with the name of the watcher.", "live"),
    Option("rotate_when", "rotation", None, "When a TimedRotatingFileStream is rotated: each second (S), minute (M), "
           "hour (H) or day (D, MIDNIGHT), or at the end of each Monday (W0) to Sunday (W6).", "live"),
    Option("rotate_interval", "positive", 1, "Not each of them, but each so manieth.", "live"),
    Option("compress", "flag", False, "Compress rotated files by gzip: `web.log.1` becomes `web.log.1.gz`.", "live"),
    Option("utc", "flag", False, "Rotate by UTC, not by the time zone of the host.", "live"),
    Option("buffer", "buffer", 2 << 20, "So much output of each process papa keeps while its sink lags, fails, or no "
           "circusd is there. A flood that its sink keeps up with is lent up to eight times as much.", "live",
           field="buffer_bytes"),
    Option("overflow", "overflow", "block", "What happens when the buffer is full. `drop-oldest`: the oldest output "
           "is lost, and counted. `block`: the process waits, at most for `stall`, while circusd is there; then the "
           "same.", "live"),
    Option("stall", "stall", 1.0, "How long a process waits, at most. `forever`: also while no circusd is there, and "
           "nothing is lost.", "live", field="stall_s"),
    Option("address", "receiver", None, "Where a SyslogStream or JournalStream sends to: the path of a unix socket, "
           "for syslog also `udp://HOST:PORT` or `tcp://HOST:PORT`. None: `/dev/log`, or the journal of the host.",
           "live"),
    Option("facility", "facility", "daemon", "The facility of its messages: kern, user, mail, daemon, auth, ..., "
           "local0 to local7.", "live"),
    Option("level", "severity", None, "Their level: emerg, alert, crit, err, warning, notice, info or debug. None: "
           "info for stdout, err for stderr.", "live"),
    Option("tag", "text", None, "Whose they are said to be. None: the name of the watcher.", "live"),
)  # fmt: skip

SOCKET = _table(
    Option("host", "text", "localhost", "Address or name to listen on.", "restart"),
    Option("port", "port", 8080, "Port; 0: the system chooses.", "restart"),
    Option("family", "family", "inet", "AF_INET, AF_INET6 or AF_UNIX.", "restart"),
    Option("type", "socktype", "stream", "SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.", "restart"),
    Option("proto", "text", None, "Name of the protocol.", "none", idle="the type of the socket decides"),
    Option("backlog", "positive", 2048, "How many connections may wait.", "restart"),
    Option("path", "text", None, "Path of a Unix socket; host and port are ignored then.", "restart"),
    Option("umask", "octal", 0o010, "umask while the path is made, octal.", "restart"),
    Option("replace", "flag", False, "Replace a path that already exists.", "live"),
    Option("interface", "text", None, "Network interface to bind to.", "restart"),
    Option("so_reuseport", "flag", False, "Each process that names it has a listener of its own.", "restart"),
    Option("blocking", "flag", False, "Leave the socket blocking.", "restart"),
    Option("use_papa", "flag", False, "The socket outlives `circusctl quit`.", "live"),
)  # fmt: skip

HOOKS = {
    "before_start": "before the first process of the watcher; falsy: it does not start",
    "after_start": "after the last one was spawned; falsy: the watcher stops",
    "before_spawn": "before each process; falsy: the watcher stops",
    "after_spawn": "after each process; falsy: that process is ended",
    "before_stop": "before the watcher stops",
    "after_stop": "after it stopped",
    "before_signal": "before a signal is sent to a process; falsy: it is not sent (SIGKILL always is)",
    "after_signal": "after a signal was sent",
    "before_reap": "before the end of a process is taken note of",
    "after_reap": "after the end of a process was taken note of",
    "extended_stats": "adds to the statistics of a process",
}

#: The classes, and what each is built on.
STREAM_CLASSES = {
    "FileStream": "FileStream",
    "WatchedFileStream": "FileStream",
    "TimedRotatingFileStream": "FileStream",
    "StdoutStream": "StdoutStream",
    "FancyStdoutStream": "StdoutStream",
    "SyslogStream": "SyslogStream",
    "JournalStream": "JournalStream",
}

#: Those that send each line as a message.
SENDING_CLASSES = ("SyslogStream", "JournalStream")

#: TIME of a FancyStdoutStream.
FANCY_TIME = "%Y-%m-%d %H:%M:%S"

#: Classes of streams -> keys that have no effect for them.
_BY_TIME = ("rotate_when", "rotate_interval", "utc")
_SENT = ("address", "facility", "level", "tag")
STREAM_IDLE = {
    "FileStream": (*_BY_TIME, "color", *_SENT),
    "WatchedFileStream": ("max_bytes", "backup_count", "compress", *_BY_TIME, "color", *_SENT),
    "TimedRotatingFileStream": ("max_bytes", "color", *_SENT),
    "StdoutStream": ("compress", *_BY_TIME, "color", *_SENT),
    "FancyStdoutStream": ("compress", *_BY_TIME, *_SENT),
    **dict.fromkeys(
        SENDING_CLASSES,
        ("filename", "max_bytes", "backup_count", "compress", *_BY_TIME, "time_format", "format", "color"),
    ),
}

#: Limits of a process that `rlimit_NAME` may set, as Linux and the BSDs name them.
RLIMITS = (
    "as", "core", "cpu", "data", "fsize", "kqueues", "memlock", "msgqueue", "nice", "nofile", "nproc", "npts",
    "ofile", "rss", "rtprio", "rttime", "sbsize", "sigpending", "stack", "swap", "vmem",
)  # fmt: skip

_RLIMIT_TYPES = {
    **dict.fromkeys(("as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "sbsize", "stack", "swap", "vmem"),
                    "limit_size"),
    "cpu": "limit_seconds",
    "rttime": "limit_microseconds",
}  # fmt: skip


def rlimit_type(key: str) -> str:
    """Of the option `rlimit_NAME`: most limits of a process are numbers of something, some are sizes or times."""
    return _RLIMIT_TYPES.get(key.removeprefix("rlimit_").lower(), "limit")


#: What other managers call it: no likeness of letters leads from these to the right name.
ALIASES = {
    "command": "cmd",
    "user": "uid",
    "group": "gid",
    "directory": "working_dir",
    "cwd": "working_dir",
    "autorestart": "respawn",
    "environment": "a section [env:NAME]",
    "env": "a section [env:NAME]",
    "health": "health.check",
}

#: How alike two names must be for one to be taken for a slip of the other: `gracefull_timeout` is one,
#: `stats_base_port` is not.
LIKENESS = 0.78


@functools.cache
def watcher_names() -> tuple[str, ...]:
    """Every name that an option of a watcher may have, with the known prefixes."""
    return (
        *WATCHER,
        *(f"{stream}.{key}" for stream in ("stdout_stream", "stderr_stream") for key in STREAM),
        *(f"hooks.{name}" for name in HOOKS),
        *(f"{family}.{key}" for family, table in FAMILIES.items() for key in table),
        *(f"rlimit_{name}" for name in RLIMITS),
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` is probably a slip of, if there is one."""
    return _nearest(name, tuple(known))


@functools.lru_cache(maxsize=256)  # many watchers have the same options of their own
def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    return slips.nearest(name, known, LIKENESS)
