"""From a watcher's configuration to what the kernel is asked to start: users, directory, limits, descriptors.

Everything that can be wrong about a process before it starts is found here and said in one sentence; the kernel
finds the rest. Users and groups are looked up at each spawn: they may change while circusd runs.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Mapping

from circus.config import expand
from circus.config.model import SocketConfig, WatcherConfig
from circus.engine.looks import MARK
from circus.engine.names import Names
from circus.errors import CircusError
from circus.streams import pressure

#: What a process carries in the kernel, so that the next circusd knows whose it is.
META_FORMAT = 1


def build_spec(
    config: WatcherConfig,
    *,
    wid: int,
    token: str,
    run: float | None = None,
    config_path: str,
    names: Names,
    sockets: Iterable[SocketConfig],
    environ: Mapping[str, str],
    working_dir: str,
    umask: int,
) -> dict[str, object]:
    """The arguments of the kernel's ``spawn``.

    ``sockets`` are all that there are; ``token`` is unique to this attempt; ``run`` is that of a job.

    Raises:
        CircusError: an unknown user or group, or a command that cannot be expanded.
    """
    env = expand.child_environment(config, environ)
    if MARK not in config.env:
        env.pop(MARK, None)  # that of a circusd which runs this one
    sockets = list(sockets)
    kernel_names = {each.name: names.socket(each.name) for each in sockets}
    meta: dict[str, object] = {
        "format": META_FORMAT,
        "circusd": names.circusd,
        "watcher": config.name,
        "wid": wid,
        "digest": config.digest,
        "config": config_path,
        "use_papa": config.use_papa,
        "stop_signal": config.stop_signal,
        "graceful_timeout_s": config.graceful_timeout_s,
        "token": token,
    }
    spec: dict[str, object] = {
        "name": names.process(config.name, wid),
        "argv": expand.expand_command(config, wid=wid, env=env, sockets=kernel_names),
        "env": env,
        "cwd": config.working_dir or working_dir,
        "umask": umask,
        "stdin": {"socket": kernel_names[config.stdin_socket]} if config.stdin_socket else "null",
        "stdout": "null" if config.close_child_stdout else "capture",
        "stderr": "null" if config.close_child_stderr else "capture",
        "sockets": [kernel_names[each] for each in expand.sockets_used(config, sockets)],
        "owner": names.prefix,
        "fds": True,
        "meta": meta,
    }
    if bounds := pressure.bounds_of({"out": config.stdout_stream, "err": config.stderr_stream}):
        spec["bounds"] = bounds
    if run is not None:
        meta["run"] = run
    if config.kill_mode != "process":
        meta["kill_mode"] = config.kill_mode
    if config.kill_mode == "tree":
        spec["env"] = {MARK: token, **env}  # the first one: it is found at once
    if config.listen_fds:
        spec["listen_fds"] = True
    if config.executable:
        spec["executable"] = config.executable
    if config.rlimits:
        limits = {name.lower(): -1 if value is None else value for name, value in config.rlimits.items()}
        spec["rlimits"] = {name: [limit, limit] for name, limit in limits.items()}
    spec.update(_identity(config))
    return spec


def _identity(config: WatcherConfig) -> dict[str, object]:
    if config.uid is None and config.gid is None:
        return {}
    identity: dict[str, object] = {}
    gid = _group(config, config.gid) if config.gid is not None else None
    if config.uid is not None:
        user = _user(config, config.uid)
        gid = user.pw_gid if gid is None else gid
        identity["uid"] = user.pw_uid
        identity["groups"] = os.getgrouplist(user.pw_name, gid) if os.geteuid() == 0 else None
    identity["gid"] = gid
    return identity


def _user(config: WatcherConfig, wanted: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(wanted)) if wanted.isdecimal() else pwd.getpwnam(wanted)
    except (KeyError, ValueError):
        raise CircusError("operation-failed", f"{config.name}: there is no user {wanted!r} (stage uid)") from None


def _group(config: WatcherConfig, wanted: str) -> int:
    try:
        return (grp.getgrgid(int(wanted)) if wanted.isdecimal() else grp.getgrnam(wanted)).gr_gid
    except (KeyError, ValueError):
        raise CircusError("operation-failed", f"{config.name}: there is no group {wanted!r} (stage gid)") from None


def working_dir(environ: Mapping[str, str]) -> str:
    """Where circusd was started, by the name that its user knows it by, if that is still true (PWD of the shell)."""
    shown = environ.get("PWD", "")
    try:
        if os.path.isabs(shown) and os.path.samefile(shown, "."):
            return shown
    except OSError:
        pass  # one of the two is not there any more
    try:
        return os.getcwd()
    except OSError:
        return "/"
