"""From sections of text to typed values: what each kind of section means.

The idea: a fault costs one finding and the option its value, never the rest of the reading. What needs the
machine (does the program exist?) is asked in ``validate``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from circus.config import (
    dependencies,
    endpoints,
    expand,
    jobs,
    notifiers,
    options,
    plugins,
    rules,
    shared_files,
    values,
)
from circus.config.environments import Environments
from circus.config.model import (
    CircusConfig,
    Finding,
    FlappingPolicy,
    HookConfig,
    NotifierConfig,
    SocketConfig,
    StreamConfig,
    WatcherConfig,
)
from circus.config.read import Document, Section
from circus.config.sheet import Sheet

#: The command endpoint of an ancestor that was not configured: its circusd has no name of its own.
ANCESTORS_ENDPOINT = "tcp://127.0.0.1:5555"

_CALLABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*([.:])[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_STREAMS = ("stdout_stream", "stderr_stream")
_PREFIXES = (
    "hooks.",
    "stdout_stream.",
    "stderr_stream.",
    "rlimit_",
    "env.",
    *(f"{family}." for family in options.FAMILIES),
)
_KINDS = ("watcher:", "socket:", "plugin:", "notifier:", "env:", "circus", "env")


@dataclass(slots=True)
class Draft:
    """A configuration that was built but not yet checked, with the sections that its findings point to."""

    config: CircusConfig
    document: Document
    environments: Environments
    circus: Section
    watchers: list[tuple[WatcherConfig, Section]] = field(default_factory=list)
    sockets: list[tuple[SocketConfig, Section]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Builder:
    """Builds one document. ``environ`` is circusd's own environment."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self.document = document
        self._environ = environ
        self.findings = list(document.findings)
        self._circus_section = document.sections.get("circus") or Section("circus", document.path, 0)
        self.environments = Environments(document, environ, self.findings)
        self.names = self.environments.common.names
        self._flapping: FlappingPolicy | None = None
        self._flapping_defaults: dict[str, Any] = {}

    def build(self) -> Draft:
        circus = self._circus()
        kinds: dict[str, list[tuple[str, Section]]] = {kind.rstrip(":"): [] for kind in _KINDS if ":" in kind}
        for section in self.document.sections.values():
            kind, colon, name = section.name.partition(":")
            if section.name in ("circus", "env"):
                continue
            if not colon or kind not in kinds:
                self._unknown_section(section)
            elif not name.strip():
                self._tell(section, f"[{section.name}] has no name", f"write [{kind}:NAME]")
            elif not section.entries:
                self._tell(section, f"[{section.name}] is empty and is left out", "give it options", "warning")
            else:
                kinds[kind].append((name.strip(), section))
        hosted = [(self._plugin(name, section, circus), section) for name, section in kinds["plugin"]]
        sockets = [(self._socket(name, section, circus), section) for name, section in kinds["socket"]]
        watchers = [(self._watcher(name, section, circus), section) for name, section in kinds["watcher"]]
        watchers += [(config, section) for config, section in hosted if config is not None]
        self.environments.tell_unused_patterns([config.name for config, _ in watchers])
        watchers, told = shared_files.agree(watchers)
        self.findings += told
        watchers, told = dependencies.resolve(watchers, sockets)
        self.findings += told
        sockets = self._promoted(watchers, sockets)
        told_of = [self._notifier(name, section) for name, section in kinds["notifier"]]
        circus = replace(
            circus,
            notifiers=tuple(config for config in told_of if config is not None),
            watchers=tuple(config for config, _ in watchers),
            sockets=tuple(config for config, _ in sockets),
        )
        return Draft(circus, self.document, self.environments, self._circus_section, watchers, sockets, self.findings)

    def _tell(self, section: Section, what: str, hint: str, severity: str = "error") -> None:
        self.findings.append(Finding(section.file, section.line, what, hint, severity))

    def _unknown_section(self, section: Section) -> None:
        kind, _, name = section.name.partition(":")
        near = options.nearest(kind, [each.rstrip(":") for each in _KINDS])
        if near and f"{near}:" in _KINDS and (name or near not in _KINDS):
            near += f":{name.strip() or 'NAME'}"
        hint = f"did you mean [{near}]?" if near else "sections are circus, env, and watcher:, socket:, ..."
        self._tell(section, f"unknown section [{section.name}]", hint, "warning")

    def _sheet(self, section: Section, title: str, names: expand.Names) -> Sheet:
        return Sheet(section, title=title, names=names, defaults=self.document.defaults, findings=self.findings)

    # [circus] and plugins ---------------------------------------------------------------------------------

    def _circus(self) -> CircusConfig:
        sheet = self._sheet(self._circus_section, "[circus]", self.names)
        taken = sheet.take(options.CIRCUS)
        sheet.tell_unknown(options.CIRCUS, options.CIRCUS.__contains__, is_free=False)
        for key in ("include", "include_dir"):
            taken.pop(key, None)
        for key in endpoints.OPTIONS:
            if not taken.get(key):
                taken.pop(key, None)  # written without a value: none
        taken.setdefault("name", name_of_endpoint(sheet.texts.get("endpoint", "")))
        if taken.get("audit_file", "off") != "off":
            taken["audit_file"] = os.path.abspath(taken["audit_file"])
        env = self.environments.common.expanded
        return CircusConfig(path=self.document.path, env=env, document=self.document, **taken)

    def _plugin(self, name: str, section: Section, circus: CircusConfig) -> WatcherConfig | None:
        """The watcher of its process; None for the one plugin that is part of circusd, and where there is no `use`."""
        sheet = self._sheet(section, f"[plugin:{name}]", self.names)
        use = sheet.texts.get("use", plugins.FLAPPING if name == "flapping" else "").replace(":", ".")
        if not use:
            sheet.error("use", "use is missing", "name the class of the plugin: use = package.module.Class")
            return None
        table = options.FLAPPING if use == plugins.FLAPPING else plugins.BUILT_IN.get(use)
        taken = sheet.take(table or {})
        is_ours = table is not None and use != plugins.FLAPPING
        sheet.tell_unknown(
            (*(table or ()), *options.watcher_names()),
            lambda key: table is None or key in table or key in plugins.PLUGINS_OWN or plugins.is_for_watcher(key),
            is_free=not is_ours,
        )
        required = plugins.REQUIRED.get(use, ())
        if required and not any(sheet.texts.get(key) for key in required):
            sheet.error(required[0], f"{required[0]} is missing", f"write {required[0]} = NAME")
        if use == plugins.FLAPPING:
            self._flapping_defaults = {"active": True, **taken}
            return None
        if sheet.texts.get("virtualenv"):
            what = "virtualenv does not count for a plugin, which runs under circusd's own Python"
            sheet.warn("virtualenv", what, "install what it needs beside circusd, or name its place in PYTHONPATH")
        is_active = sheet.parse("active", "flag") if "active" in sheet.texts else True
        return plugins.as_plugin(
            self._watcher(f"plugin:{name}", plugins.watchers_part(section), circus),
            use=use,
            is_active=is_active,
            texts=sheet.texts,
            circus=circus,
            environ=self._environ,
        )

    def _flapping_of(self, sheet: Sheet) -> FlappingPolicy | None:
        """The watcher's own options over those of the plugin; its own alone are enough to have one."""
        own = sheet.take(options.FLAPPING, "flapping.")
        merged = {"active": bool(own), **self._flapping_defaults, **own}
        is_active = merged.pop("active")
        if not own and self._flapping_defaults:
            self._flapping = self._flapping or FlappingPolicy(**merged)
            return self._flapping if is_active else None
        return FlappingPolicy(**merged) if is_active else None

    # Watchers ---------------------------------------------------------------------------------------------

    def _watcher(self, name: str, section: Section, circus: CircusConfig) -> WatcherConfig:
        environment = self.environments.of(name, section)
        sheet = self._sheet(section, name, environment.names)
        taken = sheet.take(options.WATCHER)
        unknown = sheet.tell_unknown(
            options.watcher_names(),
            lambda key: key in options.WATCHER or key.startswith(_PREFIXES) or key in _STREAMS,
            is_free=True,
        )
        rlimits = {
            key[len("rlimit_") :].lower(): sheet.parse(key, options.rlimit_type(key))
            for key in sheet.texts
            if key.startswith("rlimit_")
        }
        restarting = {
            option.name: taken[option.attribute]
            for option in options.WATCHER.values()
            if option.change == "restart" and option.attribute in taken
        }
        taken.setdefault("use_papa", circus.use_papa)
        taken.setdefault("cmd", "")
        if "working_dir" in taken:
            # The kernel has a directory of its own: what is relative is meant from circusd's.
            taken["working_dir"] = os.path.abspath(taken["working_dir"])
        if "stdin_socket" in taken:
            taken["stdin_socket"] = taken["stdin_socket"].lower()
        search_path = environment.expanded.get("PYTHONPATH", "")
        policies = rules.of(sheet, is_grouped=taken.get("cgroup", False))
        taken |= jobs.of(sheet, taken)
        return WatcherConfig(
            name=name,
            **taken,
            env=environment.expanded,
            rlimits=rlimits,
            stdout_stream=self._stream(sheet, "stdout_stream", search_path),
            stderr_stream=self._stream(sheet, "stderr_stream", search_path),
            hooks=self._hooks(sheet),
            flapping=None if policies["backoff"] is not None else self._flapping_of(sheet),
            **policies,
            extra={key: sheet.texts[key] for key in unknown},
            digest=digest_of({**restarting, "rlimits": rlimits, "env": environment.written}),
            written=sheet.texts,
            file=section.file,
            line=section.line,
        )

    def _hooks(self, sheet: Sheet) -> dict[str, HookConfig]:
        hooks = {}
        for key, text in sheet.texts.items():
            if not key.startswith("hooks."):
                continue
            name = key[len("hooks.") :]
            if name not in options.HOOKS:
                near = options.nearest(name, options.HOOKS)
                hint = f"did you mean hooks.{near}?" if near else f"hooks are {', '.join(options.HOOKS)}"
                sheet.warn(key, f"unknown hook {name}, which nothing will call", hint)
            path, comma, flag = (part.strip() for part in text.partition(","))
            if not _CALLABLE.fullmatch(path):
                sheet.error(key, f"{key} = {path!r} is not the path of a function", "write package.module.function")
                continue
            try:
                ignores = values.parse_flag(flag) if comma else False
            except ValueError:
                sheet.error(key, f"{key}: {flag!r} is neither true nor false", "true: errors of the hook are ignored")
                continue
            hooks[name] = HookConfig(path, ignores, *sheet.section.place(key))
        return hooks

    def _stream(self, sheet: Sheet, name: str, search_path: str) -> StreamConfig | None:
        if name in sheet.texts:
            sheet.error(name, f"{name} has no value of its own", f"write {name}.class, {name}.filename, ...")
        prefix = name + "."
        texts = {key[len(prefix) :]: text for key, text in sheet.texts.items() if key.startswith(prefix)}
        if not texts:
            return None
        written = texts.pop("class", "FileStream")
        class_name = written.removeprefix("circus.stream.").replace("circus.stream:", "")
        if class_name == "QueueStream":
            what = f"a {class_name} keeps output in memory for a program that imports circus; in a file nobody takes it"
            hint = "write FileStream with a filename, or a class of your own that is called with the output"
            sheet.error(f"{prefix}class", what, hint)
            return None
        if class_name not in options.STREAM_CLASSES:
            if not _CALLABLE.fullmatch(class_name) or "." not in class_name.replace(":", "."):
                near = options.nearest(class_name, options.STREAM_CLASSES)
                hint = f"did you mean {near}?" if near else "write FileStream, StdoutStream or package.module.Class"
                sheet.error(f"{prefix}class", f"{written!r} is not a class of streams", hint)
                return None
            return StreamConfig(
                class_name=class_name, options=texts, owner=f"{sheet.title}.{name}", search_path=search_path
            )
        for key in texts:
            if key not in options.STREAM:
                near = options.nearest(key, options.STREAM)
                hint = f"did you mean {prefix}{near}?" if near else "it has no effect; remove it"
                sheet.warn(prefix + key, f"unknown option {prefix}{key}", hint)
        taken = sheet.take(options.STREAM, prefix)
        taken["class_name"] = options.STREAM_CLASSES[class_name]
        if taken["class_name"] == "FileStream" and not taken.get("filename"):
            place = f"{prefix}class"
            sheet.error(place, f"{name} is a {class_name} without a file", f"write {prefix}filename = /path/of/the.log")
        if (
            class_name == "TimedRotatingFileStream"
            and not taken.get("rotate_when")
            and prefix + "rotate_when" not in sheet.texts
        ):
            sheet.error(
                f"{prefix}class",
                f"{name} is a {class_name} without rotate_when",
                f"write {prefix}rotate_when = midnight",
            )
        for key in options.STREAM_IDLE[class_name]:
            if taken.pop(key, None) is not None:
                sheet.warn(prefix + key, f"{prefix}{key} has no effect for a {class_name}", "remove it")
        if taken.get("format") == "json":
            for key in ("time_format", "color"):
                if taken.pop(key, None) is not None:
                    sheet.warn(prefix + key, f"{prefix}{key} has no effect with {prefix}format = json", "remove it")
        elif class_name == "FancyStdoutStream":
            taken.setdefault("time_format", options.FANCY_TIME)
            # The same one at every start, and not one for all.
            taken.setdefault("color", values.COLORS[zlib.crc32(f"{sheet.title}.{name}".encode()) % len(values.COLORS)])
        if class_name in options.SENDING_CLASSES:
            if class_name == "JournalStream" and "://" in (taken.get("address") or ""):
                sheet.error(f"{prefix}address", f"{prefix}address is no path", "write the path of the journal's socket")
            taken.setdefault("level", "err" if name == "stderr_stream" else "info")
            taken.setdefault("tag", sheet.title)
            taken["owner"] = f"{sheet.title}.{name}"
        return StreamConfig(options=texts, **taken)

    def _notifier(self, name: str, section: Section) -> NotifierConfig | None:
        sheet = self._sheet(section, f"notifier {name}", self.names)
        if len(name) > values.MAX_NAME or not name.isprintable() or "/" in name:
            sheet.error(
                "", "this cannot be its name", f"write at most {values.MAX_NAME} printable characters, and no /"
            )
        return notifiers.of(name, sheet)

    # Sockets ----------------------------------------------------------------------------------------------

    def _socket(self, name: str, section: Section, circus: CircusConfig) -> SocketConfig:
        sheet = self._sheet(section, f"socket {name}", self.names)
        taken = sheet.take(options.SOCKET)
        sheet.tell_unknown(options.SOCKET, options.SOCKET.__contains__, is_free=False)
        restarting = {
            option.name: taken[option.attribute]
            for option in options.SOCKET.values()
            if option.change == "restart" and option.attribute in taken
        }
        if "path" in taken:
            taken["path"] = os.path.abspath(taken["path"])
            taken["family"] = "unix"
        elif taken.get("family") == "unix":
            sheet.error("family", "a Unix socket needs a path", "write path = /path/of/the.sock")
        taken.setdefault("use_papa", circus.use_papa)
        return SocketConfig(
            name=name.lower(), **taken, digest=digest_of(restarting), file=section.file, line=section.line
        )

    def _promoted(
        self, watchers: list[tuple[WatcherConfig, Section]], sockets: list[tuple[SocketConfig, Section]]
    ) -> list[tuple[SocketConfig, Section]]:
        """A socket that a lasting watcher uses must last as long: a restart would find it closed."""
        known = [config for config, _ in sockets]
        users: dict[str, str] = {}
        for config, _ in watchers:
            if config.use_papa:
                for name in expand.sockets_used(config, known):
                    users.setdefault(name, config.name)
        promoted = []
        for each, section in sockets:
            if not each.use_papa and each.name in users:
                each = replace(each, use_papa=True)
                file, line = section.place("use_papa")
                reason = f"because watcher {users[each.name]} outlives a quit"
                what = f"socket {each.name}: use_papa is taken as true, {reason}"
                self.findings.append(Finding(file, line, what, "write use_papa = true here, too", "warning"))
            promoted.append((each, section))
        return promoted


def name_of_endpoint(endpoint: str) -> str:
    """The name of a circusd that has an endpoint of its own: ``tcp://127.0.0.1:5560`` is
    tcp-127.0.0.1-5560.
    """
    if not endpoint or endpoint == ANCESTORS_ENDPOINT:
        return "default"
    name = re.sub(r"[^A-Za-z0-9._]+", "-", endpoint).strip("-._")
    if len(name) > values.MAX_NAME:
        name = f"{name[: values.MAX_NAME - 9]}-{hashlib.sha256(endpoint.encode()).hexdigest()[:8]}"
    return name or "default"


def digest_of(written: Mapping[str, Any]) -> str:
    """A hash that is the same for the same options, whatever their order and spelling of types."""
    present = {key: value for key, value in written.items() if value != {}}
    text = json.dumps(present, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
