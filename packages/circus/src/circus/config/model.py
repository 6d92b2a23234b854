"""What a configuration is once it was read: frozen values, and the findings about it.

The idea: the other rooms never see text of an INI file. Legacy names of options end in ``options`` and
``build``; from here on units are in the names (``graceful_timeout_s``), signals are numbers, and everything
that the file left out has its default. Reading, expanding and checking do not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from circus.config import masking
from circus.errors import CircusError

if TYPE_CHECKING:
    from circus.config.read import Document

#: A file with more problems than this is no configuration; the rest is counted, not listed.
MAX_LISTED_FINDINGS = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of a configuration: where, what, and what to do. ``line`` 0 means the file as a whole."""

    file: str
    line: int
    what: str
    hint: str = ""
    severity: str = "error"  # or "warning", or "note": nothing is wrong, but worth knowing

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.what} ({self.hint})" if self.hint else f"{place}: {self.what}"


class ConfigInvalid(CircusError):
    """The configuration cannot be used; ``findings`` has every error of it, and the warnings.

    Its message lists both: an unknown option is often the reason why another one is missing.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        errors = [each for each in self.findings if each.severity == "error"]
        listed = [str(each) for each in errors[:MAX_LISTED_FINDINGS]]
        if len(errors) > len(listed):
            listed.append(f"... and {len(errors) - len(listed)} more")
        warnings = [f"warning: {each}" for each in self.findings if each.severity != "error"]
        room = MAX_LISTED_FINDINGS - min(len(errors), MAX_LISTED_FINDINGS)
        listed += warnings[:room]
        if len(warnings) > room:
            listed.append(f"... and {len(warnings) - room} warnings")
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        super().__init__("config-invalid", "\n".join([f"the configuration has {count}:", *listed]))


@dataclass(frozen=True, slots=True)
class FlappingPolicy:
    """``attempts`` deaths of one slot within ``window_s``: pause ``retry_in_s``; after ``max_retry`` pauses give up.

    ``max_retry`` -1 means for ever. Deaths that were ordered do not count.
    """

    attempts: int = 2
    window_s: float = 1.0
    retry_in_s: float = 7.0
    max_retry: int = 5


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """A pause follows each failure of a slot, be it a spawn or an end by itself: ``first_s``, and ``factor`` times
    longer for each further one in a row, up to ``max_s``, with up to ``jitter`` of it on top, at random. A life of
    ``stable_s`` forgives all; ``attempts`` failures in a row are the end, -1 means never.
    """

    first_s: float = 1.0
    factor: float = 2.0
    max_s: float = 60.0
    jitter: float = 0.1
    stable_s: float = 60.0
    attempts: int = 10


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """``check`` says whether a process is healthy (see config/checks), every ``interval_s``; ``threshold`` failures in
    a row are an illness, on which ``action`` follows: restart or report."""

    check: str = ""
    interval_s: float = 10.0
    timeout_s: float = 5.0
    threshold: int = 3
    start_period_s: float = 0.0
    action: str = "restart"


@dataclass(frozen=True, slots=True)
class LimitsPolicy:
    """What the tree of a slot's process may use: ``memory`` bytes resident (0: any), ``cpu`` percent of one processor.

    Looked at each ``interval_s``, not before ``start_period_s`` of a life. Who is above for ``grace_s``, and was not
    below ``clear`` percent of the bound meanwhile, has the ``action``: restart, reload or report.
    """

    memory: int = 0
    cpu: float | None = None
    interval_s: float = 10.0
    grace_s: float = 30.0
    clear: float = 90.0
    start_period_s: float = 30.0
    action: str = "restart"
    cgroup_memory_max: int = 0  # the system's own bounds of the control group; 0 and None: none
    cgroup_memory_high: int = 0
    cgroup_cpu_max: float | None = None
    cgroup_pids_max: int = 0

    @property
    def is_looked_at(self) -> bool:
        """Somebody has to look at what it uses."""
        return bool(self.memory or self.cpu)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a job runs; ``overlap``: skip, queue or replace; ``missed``: skip, once or all."""

    timezone: str | None = None
    overlap: str = "skip"
    missed: str = "skip"
    time_limit_s: float = 0.0  # 0: none
    history: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """Where one output of a watcher's processes goes.

    ``class_name`` is ``FileStream`` or ``StdoutStream``, which others are built on, ``SyslogStream``,
    ``JournalStream``, or the dotted path of a class; that of plugins is ``LogStream`` or ``WarningLogStream``,
    circusd's own log, in which ``filename`` names the speaker.
    ``options`` are the keys as written (without ``class``), for classes that take more than the typed ones.
    """

    class_name: str
    options: Mapping[str, str] = field(default_factory=dict)
    filename: str | None = None
    max_bytes: int = 0  # 0: never rotated
    backup_count: int = 0
    time_format: str | None = None
    color: str | None = None  # of every line
    format: str = "text"  # or "json": an object for each line
    rotate_when: str | None = None  # S, M, H, D, MIDNIGHT, W0 to W6: by time, not by size
    rotate_interval: int = 1
    utc: bool = False
    compress: bool = False
    buffer_bytes: int = 2 << 20  # of each process; the kernel's own default
    overflow: str = "block"
    stall_s: float = 1.0  # inf: for ever
    address: str | None = None  # of who is sent each line, by SyslogStream and JournalStream
    facility: str = "daemon"
    level: str | None = None
    tag: str | None = None
    owner: str = ""  # where each output has a sink of its own: whose it is, `web.stdout_stream`
    search_path: str = field(default="", repr=False)  # where else its module may be


@dataclass(frozen=True, slots=True)
class HookConfig:
    """A hook of a watcher: the dotted path (or ``module:attribute``) of a callable, and where it is written."""

    path: str
    ignore_errors: bool = False
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatcherConfig:
    """One ``[watcher:NAME]``.

    ``env`` is what the file and its env_files give the processes, expanded. ``digest`` is the hash of the options as
    written, after expansion of the variables that the file names, of those options that need a restart:
    nothing of the environment that circusd inherited, no default, and no option that can be changed live
    goes into it. ``written`` are the options as written, expanded; never log its values.
    """

    name: str
    cmd: str
    args: str = ""
    executable: str | None = None
    shell: bool = False
    shell_args: str = ""
    working_dir: str | None = None  # None: the directory in which circusd was started
    uid: str | None = None
    gid: str | None = None
    copy_env: bool = False
    copy_path: bool = False
    virtualenv: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    env_file: tuple[str, ...] = ()
    numprocesses: int = 1
    warmup_delay_s: float = 0.0
    graceful_timeout_s: float = 30.0
    max_age_s: float = 0.0
    essential: bool = False
    on_demand: bool = False
    max_age_variance_s: float = 30.0
    max_retry: int = 5
    stop_signal: int = 15
    stop_children: bool = False
    kill_mode: str = "process"
    cgroup: bool = False
    send_hup: bool = False
    singleton: bool = False
    priority: int = 0
    autostart: bool = True
    after: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    respawn: bool = True
    use_sockets: bool = False
    listen_fds: bool = False
    use_papa: bool = False
    rlimits: Mapping[str, int | None] = field(default_factory=dict)  # lower-case name -> limit; None: infinite
    stdin_socket: str | None = None
    close_child_stdout: bool = False
    close_child_stderr: bool = False
    stdout_stream: StreamConfig | None = None  # None: circusd's own standard output
    stderr_stream: StreamConfig | None = None
    hooks: Mapping[str, HookConfig] = field(default_factory=dict)
    max_surge: int | str | None = None  # None: as many as there are; "25%": a share of them
    max_unavailable: int | str = 0
    soak_s: float = 0.0
    update: str = "restart"  # or "roll"
    flapping: FlappingPolicy | None = None
    backoff: BackoffPolicy | None = None  # in place of max_retry and flapping
    ready: str | None = None  # see config/checks; None: as soon as it runs
    ready_interval_s: float = 1.0
    start_timeout_s: float = 60.0
    health: HealthPolicy | None = None
    limits: LimitsPolicy | None = None
    type: str = "simple"  # or oneshot
    schedule: str | None = None  # a cron expression (see config/cron)
    job: JobOptions | None = None
    plugin: str | None = None  # the class that runs in its processes
    extra: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    written: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketConfig:
    """One ``[socket:NAME]``; ``name`` is lower case, ``path`` is absolute and set exactly for family unix."""

    name: str
    family: str = "inet"  # inet, inet6, unix
    type: str = "stream"  # stream, dgram, seqpacket
    host: str = "localhost"
    port: int = 8080  # 0: the system chooses
    path: str | None = None
    backlog: int = 2048
    umask: int = 0o010
    replace: bool = False
    interface: str | None = None
    so_reuseport: bool = False
    blocking: bool = False
    use_papa: bool = False
    digest: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierConfig:
    """One ``[notifier:NAME]``: exactly one of ``url`` and ``argv`` is set. Both may hold secrets, as ``headers`` may:
    what is shown is ``target``. No ``events``: those that are serious."""

    name: str
    url: str = field(default="", repr=False)
    argv: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    events: tuple[str, ...] = ()
    watchers: tuple[str, ...] = ("*",)
    timeout_s: float = 10.0
    retries: int = 5
    backoff_s: float = 1.0
    queue: int = 100
    every_s: float = 60.0
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)

    @property
    def target(self) -> str:
        """Where it leads to, without what may be secret."""
        return masking.mask_behind_host(self.url) if self.url else self.argv[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class CircusConfig:
    """A whole configuration. The endpoints of the ancestors are None unless the file sets them.

    ``document`` is what the file says, before anything that was ordered by hand was laid over it.
    """

    name: str = "default"
    path: str = ""
    check_delay_s: float = 5.0
    warmup_delay_s: float = 0.0
    pidfile: str | None = None
    umask: int | None = None
    loglevel: str = "info"
    logoutput: str = "-"
    loggerconfig: str | None = None
    papa_endpoint: str | None = None
    control: str | None = None
    endpoint: str | None = None
    pubsub_endpoint: str | None = None
    stats_endpoint: str | None = None
    endpoint_owner: str | None = None
    zmq_open_to_network: bool = False
    use_papa: bool = False
    store_size: int = 4 << 20  # bytes, of each watcher; 0: no store
    store_age_s: float = 7 * 86400.0
    audit_file: str | None = None  # None: in the state directory; "off": nowhere
    audit_max_bytes: int = 4 << 20
    audit_backup_count: int = 4
    stats_interval_s: float = 0.0  # 0: processes are looked at when somebody asks
    api_viewers: tuple[str, ...] = ()  # groups of the system, or user:NAME, here and below
    api_operators: tuple[str, ...] = ()
    api_admins: tuple[str, ...] = ()
    api_hosts: tuple[str, ...] = ()
    api_listen: tuple[str, ...] = ()  # HOST:PORT
    api_tls: bool = True
    api_certificate: str | None = None  # paths; None: its own
    api_key: str | None = None
    api_rate: int = 500  # requests of a token in a second; 0: any number
    warden: bool = True
    watchdog_s: float = 30.0  # of silence, until circusd is replaced; 0: for ever
    limits_memory: int = 0  # bytes, of circusd itself; 0: any
    limits_cpu: float | None = None  # percent of one processor; None: any
    limits_grace_s: float = 60.0
    watchers: tuple[WatcherConfig, ...] = ()
    sockets: tuple[SocketConfig, ...] = ()
    notifiers: tuple[NotifierConfig, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_file: tuple[str, ...] = ()
    warnings: tuple[Finding, ...] = ()
    document: Document | None = field(default=None, compare=False, repr=False)
