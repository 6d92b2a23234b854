"""What is wrong with a configuration beyond its text: all problems at once.

Two kinds of questions: those that several options or sections answer together (two watchers of one name, a
socket that nobody defines), and those that the machine answers (is there such a program, user, directory?).
The machine is asked through ``Host`` only, so that everything here can be tried without one.
"""

from __future__ import annotations

import grp
import os
import pwd
import resource
from collections.abc import Iterator, Mapping

from circus.config import checks, doors, endpoints, expand, lookup, options, plugins
from circus.config.build import Draft
from circus.config.model import Finding, SocketConfig, StreamConfig, WatcherConfig
from circus.config.read import Section
from circus.errors import CircusError

#: Names are part of names in the kernel and of lines in logs.
MAX_NAME = 128


class Host:
    """The facts of this machine that a configuration depends on; each is asked for once."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], bool] = {}

    def _ask(self, question: str, subject: str) -> bool:
        key = (question, subject)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = self._answer(question, subject)
        return answer

    def _answer(self, question: str, subject: str) -> bool:
        if question == "directory":
            return os.path.isdir(subject)
        if question == "open":
            return bool(os.stat(subject).st_mode & 0o011)
        if question == "file":
            return os.path.isfile(subject)
        if question == "program":
            return os.path.isfile(subject) and os.access(subject, os.X_OK)
        if subject.isdecimal():
            # The system has no name for most numbers, and needs none.
            return int(subject) < (1 << 32) - 1
        try:
            if question == "user":
                pwd.getpwnam(subject)
            else:
                grp.getgrnam(subject)
        except KeyError:
            return False
        return True

    def is_directory(self, path: str) -> bool:
        return self._ask("directory", path)

    def is_open(self, path: str) -> bool:
        """Whether others than its owner may search this directory."""
        return self._ask("open", path)

    def is_file(self, path: str) -> bool:
        return self._ask("file", path)

    def is_program(self, path: str) -> bool:
        return self._ask("program", path)

    def has_user(self, name: str) -> bool:
        return self._ask("user", name)

    def has_group(self, name: str) -> bool:
        return self._ask("group", name)

    def is_us(self, user: str) -> bool:
        """Whether that user is the one that circusd runs as."""
        return user == str(os.geteuid()) or (not user.isdecimal() and pwd.getpwnam(user).pw_uid == os.geteuid())

    def why_no_class(self, path: str, directories: list[str]) -> str:
        """See lookup."""
        return lookup.why_missing(path, directories)

    def has_limit(self, name: str) -> bool:
        return hasattr(resource, f"RLIMIT_{name.upper()}")


def validate(draft: Draft, environ: Mapping[str, str], host: Host) -> list[Finding]:
    """Every problem of ``draft`` that its building did not find. ``environ`` is circusd's own environment."""
    sockets = {config.name: f"socket.{number}" for number, (config, _) in enumerate(draft.sockets)}
    findings: list[Finding] = []
    findings += _check_names("watcher", [(config.name, section) for config, section in draft.watchers])
    findings += _check_names("socket", [(config.name, section) for config, section in draft.sockets])
    for config, section in draft.watchers:
        findings += _Check(config, section, environ, host, sockets).findings()
    findings += _check_named_by_plugins(draft)
    for socket, section in draft.sockets:
        findings += _check_socket(socket, section, host)
    findings += _check_addresses(draft)
    findings += doors.check(draft, host)
    findings += _check_endpoints(draft, host)
    if not draft.watchers and not any(each.severity == "error" for each in (*draft.findings, *findings)):
        hint = "write a section [watcher:NAME] with cmd = PROGRAM"
        findings.append(Finding(draft.config.path, 0, "there is no watcher in this file", hint, "warning"))
    return findings


def _check_endpoints(draft: Draft, host: Host) -> Iterator[Finding]:
    yield from endpoints.check(draft.config, draft.circus)
    owner = draft.config.endpoint_owner
    if owner is not None and not host.has_user(owner):
        place = draft.circus.place("endpoint_owner")
        yield Finding(
            *place, f"[circus]: endpoint_owner: there is no user {owner!r}", "circusd's own is taken", "warning"
        )


def _check_names(kind: str, named: list[tuple[str, Section]]) -> Iterator[Finding]:
    """Names are looked up without regard to letter case, so that they must differ in more."""
    first: dict[str, tuple[str, Section]] = {}
    for name, section in named:
        place = section.place()
        other, earlier = first.setdefault(name.lower(), (name, section))
        if earlier is not section:
            where = "{}:{}".format(*earlier.place())
            hint = f"the other one is {other} in {where}; letter case does not count: rename one"
            yield Finding(*place, f"two {kind}s are named {name}", hint)
        if len(name) > MAX_NAME or not name.isprintable() or "/" in name:
            hint = f"write at most {MAX_NAME} printable characters, and no /"
            yield Finding(*place, f"{name[:MAX_NAME]!r} cannot be the name of a {kind}", hint)
        elif kind == "socket" and not all(letter.isalnum() or letter in "_.-" for letter in name):
            hint = "write letters, digits, dots and dashes, so that $(circus.sockets.NAME) can refer to it"
            yield Finding(*place, f"{name!r} cannot be the name of a socket", hint)


def _check_named_by_plugins(draft: Draft) -> Iterator[Finding]:
    """A warning only: a watcher may be added by hand later."""
    known = [config.name for config, _ in draft.watchers]
    folded = {name.lower() for name in known}
    for config, section in draft.watchers:
        for key in plugins.BUILT_IN.get(config.plugin or "", ()):
            name = config.written.get(key, "") if key in plugins.NAMING else ""
            if name and name.lower() not in folded:
                near = options.nearest(name, known)
                hint = f"did you mean {near}?" if near else f"write a section [watcher:{name}], or correct {key}"
                what = f"{config.name}: {key} = {name} is no watcher of this file"
                yield Finding(*section.place(key), what, hint, "warning")


def _check_socket(config: SocketConfig, section: Section, host: Host) -> Iterator[Finding]:
    if config.path is not None:
        directory = os.path.dirname(config.path)
        if not host.is_directory(directory):
            what = f"socket {config.name}: the directory {directory} does not exist"
            yield Finding(*section.place("path"), what, "make it, or correct path")


def _check_addresses(draft: Draft) -> Iterator[Finding]:
    """Where two sockets are to listen the second cannot."""
    first: dict[tuple[object, ...], SocketConfig] = {}
    for config, section in draft.sockets:
        if config.path is None and config.port == 0:
            continue
        address: tuple[object, ...] = (config.path,)
        if config.path is None:
            address = (config.family, config.type, config.host, config.port, config.interface)
        other = first.setdefault(address, config)
        if other is not config and not (other.so_reuseport and config.so_reuseport):
            key = "port" if config.path is None else "path"
            what = f"socket {config.name}: {config.path or f'{config.host}:{config.port}'} is socket {other.name}'s"
            yield Finding(*section.place(key), what, f"write another {key}, or use one section for both")


class _Check:
    """One watcher, checked."""

    def __init__(
        self,
        config: WatcherConfig,
        section: Section,
        environ: Mapping[str, str],
        host: Host,
        sockets: Mapping[str, str],
    ) -> None:
        self.config = config
        self.section = section
        self.host = host
        self.sockets = sockets
        self.env = expand.child_environment(config, environ)

    def _error(self, key: str, what: str, hint: str) -> Finding:
        return Finding(*self.section.place(key), f"{self.config.name}: {what}", hint)

    def _warning(self, key: str, what: str, hint: str) -> Finding:
        return Finding(*self.section.place(key), f"{self.config.name}: {what}", hint, "warning")

    def findings(self) -> Iterator[Finding]:
        config, host = self.config, self.host
        if config.singleton and config.numprocesses > 1:
            what = f"a singleton cannot have {config.numprocesses} processes"
            yield self._error("numprocesses", what, "write numprocesses = 1, or remove singleton")
        elif config.numprocesses == 0:
            yield self._warning("numprocesses", "no process will run", "write 1 or more")
        if config.uid is not None and not host.has_user(config.uid):
            yield self._error("uid", f"there is no user {config.uid}", "write the name of a user, or a number")
        if config.gid is not None and not host.has_group(config.gid):
            yield self._error("gid", f"there is no group {config.gid}", "write the name of a group, or a number")
        for name in config.rlimits:
            if not host.has_limit(name):
                near = options.nearest(name, options.RLIMITS)
                hint = f"did you mean rlimit_{near}?" if near else "rlimit_nofile and rlimit_core are two"
                key = next(key for key in config.written if key.lower() == f"rlimit_{name}")
                yield self._error(key, f"there is no limit {key}", hint)
        yield from self._check_reload()
        if config.plugin is not None:
            yield from self._check_plugin(config.plugin)
        if config.shell_args and not config.shell:
            yield self._warning("shell_args", "shell_args has no effect", "write shell = true, or remove it")
        is_sound = True
        if config.virtualenv:
            root = os.path.abspath(config.virtualenv)
            is_sound = host.is_program(os.path.join(root, "bin", "python"))
            if not host.is_directory(root):
                what = f"virtual environment {root} does not exist"
                yield self._error("virtualenv", what, "make it (python -m venv), or correct the path")
            elif not is_sound:
                what = f"{root} is no virtual environment: it has no bin/python"
                yield self._error("virtualenv", what, "make it anew (python -m venv), or correct the path")
            if config.copy_path:
                what = "circusd's own import path goes before the packages of the virtual environment"
                yield self._warning("copy_path", what, "remove copy_path")
        if config.working_dir is not None and not host.is_directory(config.working_dir):
            what = f"working directory {config.working_dir} does not exist"
            yield self._error("working_dir", what, "make it, or correct working_dir")
        yield from self._check_sockets()
        for name, stream in (
            ("stdout_stream", config.stdout_stream),
            ("stderr_stream", config.stderr_stream),
        ):
            if stream is not None:
                yield from self._check_stream(name, stream)
        yield from self._check_checks()
        yield from self._check_command(has_path=is_sound)

    def _check_reload(self) -> Iterator[Finding]:
        config = self.config
        if config.max_surge == config.max_unavailable == 0 and "max_surge" in config.written:
            hint = "write max_unavailable = 1: one goes, another comes; or max_surge = 1"
            yield self._error("max_surge", "no process may come and none may go in a reload", hint)
        if 0 < config.max_age_s <= config.soak_s:
            what = f"no process gets as old as soak ({config.soak_s:g} s): max_age is {config.max_age_s:g} s"
            yield self._error("soak", what, "write a shorter soak")
        if config.update == "roll" and not (config.soak_s or config.ready or "after_spawn" in config.hooks):
            what = "update = roll takes a process for good as soon as it was started, also one that ends right after"
            yield self._warning("update", what, "write soak = 5, or ready = notify, exec, http, ... (docs/ready.md)")
        if config.send_hup and config.update == "restart":
            for key in ("max_surge", "max_unavailable", "soak"):
                if key in config.written:
                    what = f"{key} has no effect, as the processes are reloaded by SIGHUP"
                    yield self._warning(key, what, "remove it, or send_hup")

    def _check_plugin(self, use: str) -> Iterator[Finding]:
        config = self.config
        if trouble := self.host.why_no_class(use, plugins.search_path(config)):
            hint = "write use = package.module.Class, with the package on circusd's PYTHONPATH or in its directory"
            yield self._error("use", f"use = {use} {trouble}", hint)
        if config.uid is not None and self.host.has_user(config.uid) and not self.host.is_us(config.uid):
            what = f"a plugin that runs as {config.uid} may not speak to this circusd"
            yield self._error("uid", what, "remove uid: only circusd's own user and root may")

    def _check_sockets(self) -> Iterator[Finding]:
        for name in expand.socket_references(self.config):
            if name in self.sockets:
                continue
            key = "stdin_socket"
            if name != (self.config.stdin_socket or "").lower():
                in_cmd = f"sockets.{name}" in self.config.cmd.lower()
                key = "cmd" if in_cmd else "args"
            near = options.nearest(name, self.sockets)
            hint = f"did you mean {near}?" if near else f"write a section [socket:{name}]"
            yield self._error(key, f"{key} refers to socket {name}, which is not defined", hint)
        config = self.config
        if config.listen_fds and not (expand.socket_references(config) or (config.use_sockets and self.sockets)):
            what = "listen_fds has no effect, as the processes use no socket"
            yield self._warning("listen_fds", what, "write use_sockets = true, and a section [socket:NAME]")

    def _check_stream(self, name: str, stream: StreamConfig) -> Iterator[Finding]:
        if stream.class_name in options.SENDING_CLASSES:
            return
        if stream.owner:
            if trouble := self.host.why_no_class(stream.class_name, stream.search_path.split(os.pathsep)):
                hint = "write package.module.Class; the package must be on the PYTHONPATH of circusd or of the watcher"
                yield self._error(f"{name}.class", f"{name}.class = {stream.class_name} {trouble}", hint)
            return
        directory = os.path.dirname(stream.filename or "")
        if directory and not self.host.is_directory(directory):
            what = f"the directory {directory} of {name}.filename does not exist"
            yield self._warning(f"{name}.filename", what, "make it; output waits until then")

    def _check_checks(self) -> Iterator[Finding]:
        config = self.config
        if config.ready is None and config.health is None and "start_timeout" not in config.written:
            return
        given = {"ready": config.ready, "health.check": config.health.check if config.health else None}
        for key, text in given.items():
            for name in checks.sockets_in(text or ""):
                if name not in self.sockets:
                    near = options.nearest(name, self.sockets)
                    hint = f"did you mean {near}?" if near else f"write a section [socket:{name}]"
                    yield self._error(key, f"{key} refers to socket {name}, which is not defined", hint)
                else:
                    yield from self._check_shared(key, text or "", name)
            program = checks.program(text or "")
            if program.startswith("/") and not self.host.is_program(program):
                yield self._error(key, f"program {program} does not exist or is not executable", "correct the path")
        if (config.ready or "").startswith("line ") and config.close_child_stdout and config.close_child_stderr:
            what = "ready waits for a line of output, but there is none"
            yield self._error("ready", what, "remove close_child_stdout or close_child_stderr")
        if config.ready is None:
            for key in ("ready_interval", "start_timeout"):
                if key in config.written:
                    yield self._warning(key, f"{key} has no effect without ready", "write ready, or remove it")

    def _check_shared(self, key: str, text: str, socket: str) -> Iterator[Finding]:
        """The socket is one for all processes, and papa's: who answers there need not be who is asked."""
        config, kind = self.config, text.partition(" ")[0]
        hint = "let each process say it (notify, line or watchdog), or ask at an address of its own, with $(circus.wid)"
        if kind == "tcp":
            what = f"{key} is always fulfilled: papa holds socket {socket} open, whoever serves it"
            yield self._warning(key, what, hint)
            return
        is_doubled = key == "ready" and not config.singleton and config.max_surge != 0
        if kind == "http" and (config.numprocesses > 1 or is_doubled):
            others = "an old one in a reload" if is_doubled else "another one"
            what = f"{key} asks at socket {socket}, which the processes share: {others} may answer for the one asked"
            yield self._warning(key, what, hint)

    def _is_written(self, name: str) -> bool:
        """What quotes keep apart is no variable, though it is one again when the line has been split."""
        texts = (self.config.cmd, self.config.args, self.config.shell_args)
        return any(name in expand.variables_in(text) for text in texts)

    def _check_command(self, *, has_path: bool) -> Iterator[Finding]:
        """Whether the program can be found, the way that a process would find it; ``has_path``: on a sound PATH."""
        config = self.config
        if not config.cmd.strip():
            yield self._error("cmd", "cmd is missing", "write cmd = PROGRAM ARGUMENTS")
            return
        try:
            words = expand.expand_command(config, wid=1, env=self.env, sockets=self.sockets)
        except CircusError as error:
            what = error.message.removeprefix(f"{config.name}: ")
            yield self._error(what.partition(" ")[0], what, error.hint)
            return
        for name in dict.fromkeys(name for word in words for name in expand.variables_in(word)):
            if self._is_written(name) and not name.lower().startswith("sockets."):
                hint = "define it in [env], or correct the name"
                yield self._warning("cmd", f"the command refers to circus.{name}, which is not known", hint)
        if config.shell:
            return
        key, program = ("executable", config.executable) if config.executable else ("cmd", words[0])
        if expand.variables_in(program):
            return
        if "/" in program:
            if not self.host.is_program(os.path.join(config.working_dir or "", program)):
                yield self._error(key, f"program {program} does not exist or is not executable", "correct the path")
            return
        if not has_path:
            return
        path = self.env.get("PATH") or expand.DEFAULT_PATH
        if not any(
            self.host.is_program(os.path.join(config.working_dir or "", entry, program))
            for entry in path.split(os.pathsep)
        ):
            hint = "write its full path, or set PATH in [env]"
            if not config.copy_env and "PATH" not in config.env:
                hint = "write its full path, set PATH in [env], or copy_env = true"
            yield self._error(key, f"program {program} is not on the PATH {path}", hint)
