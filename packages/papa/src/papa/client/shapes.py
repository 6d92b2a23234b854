"""What the published client is given and gives, in its words: arguments become requests, rows become dictionaries.

One idea: nothing here talks to anybody. The names, defaults and shapes are those of papa 1.x, which documents them;
the requests and rows are those of `papa.model`.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from papa.client import accounts
from papa.errors import Error

PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT
DEVNULL = subprocess.DEVNULL

#: What papa 1.x listens with when nothing is said.
BACKLOG = 5

_FAMILIES = {socket.AF_INET: "inet", socket.AF_INET6: "inet6", socket.AF_UNIX: "unix"}
_TYPES = {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "dgram", socket.SOCK_SEQPACKET: "seqpacket"}
_SIZE_UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3}


def socket_spec(
    name: str,
    *,
    host: str | None,
    port: int | None,
    family: int | None,
    socket_type: int | None,
    backlog: int | None,
    path: str | None,
    umask: int | None,
    interface: str | None,
    reuseport: bool | None,
) -> dict[str, Any]:
    """The fields of a ``listen``. Raises: Error that names the wrong argument."""
    if not name:
        raise Error("Socket requires a name")
    # Programs that accept in a plain loop rely on a socket that blocks.
    spec: dict[str, Any] = {"name": name, "backlog": BACKLOG, "blocking": True}
    if backlog is not None:
        spec["backlog"] = accounts.number(f"Socket {name}: backlog", backlog)
    spec["type"] = _number_to_word(_TYPES, socket_type or socket.SOCK_STREAM, "type")
    if path:
        if not path.startswith("/") or path.endswith(("/", "\\")):
            raise Error(f"Socket {name}: path must be absolute and must name a file: {path!r}")
        if family not in (None, 0, socket.AF_UNIX):
            raise Error(f"Socket {name}: a path needs the family AF_UNIX")
        spec.update(family="unix", path=path, replace=True)
        if umask is not None:
            spec["umask"] = accounts.number(f"Socket {name}: umask", umask)
    else:
        spec["family"] = _number_to_word(_FAMILIES, family or socket.AF_INET, "family")
        number = accounts.number(f"Socket {name}: port", port) if port else None
        spec.update(_given(host=host, port=number, interface=interface))
        if reuseport:
            spec["reuseport"] = True
    return spec


def process_spec(
    name: str,
    *,
    executable: str | None,
    args: Any,
    env: Mapping[str, str] | None,
    working_dir: str | None,
    uid: int | str | None,
    gid: int | str | None,
    rlimits: Mapping[str, int] | None,
    stdout: int | None,
    stderr: int | None,
    bufsize: int | str | None,
) -> dict[str, Any]:
    """The fields of a ``spawn``. Raises: Error that names the wrong argument."""
    if not name:
        raise Error("Process requires a name")
    argv = [*([executable] if executable else []), *_arguments(args)]
    if not argv:
        raise Error("No command")
    spec: dict[str, Any] = {"name": name, "argv": argv, "env": {k: str(v) for k, v in (env or {}).items()}}
    # Its last words are still to be read under this name; another process must not take it.
    spec["finds_dead"] = True
    spec.update(_given(cwd=working_dir))
    spec.update(accounts.identity(uid, gid))
    if rlimits:
        spec["rlimits"] = accounts.limits(rlimits)
    spec.update(_outputs(stdout, stderr, _parse_size(bufsize)))
    return spec


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _number_to_word(words: Mapping[Any, str], number: int, what: str) -> str:
    try:
        return words[number]
    except KeyError:
        raise Error(f"Invalid socket {what}: {number!r}") from None


def _arguments(args: Any) -> list[str]:
    if args is None:
        return []
    if isinstance(args, str):
        return [args]
    if isinstance(args, bytes) or not isinstance(args, Iterable):
        return [os.fsdecode(args) if isinstance(args, bytes) else str(args)]
    return [str(arg) for arg in args]


def _parse_size(size: int | str | None) -> int | None:
    if size is None or isinstance(size, int):
        return size
    unit = _SIZE_UNITS.get(size[-1:].lower())
    try:
        return int(size[:-1]) * unit if unit else int(size)
    except ValueError:
        raise Error(f"bufsize {size!r}: must be a number, with k, m or g at will") from None


def _outputs(stdout: int | None, stderr: int | None, bufsize: int | None) -> dict[str, Any]:
    if bufsize == 0:
        return {"stdout": "null", "stderr": "null"}
    words = {None: "capture", PIPE: "capture", DEVNULL: "null"}
    if stdout not in words:
        raise Error("stdout must be PIPE or DEVNULL")
    if stderr not in words and stderr != STDOUT:
        raise Error("stderr must be PIPE, DEVNULL or STDOUT")
    spec: dict[str, Any] = {"stdout": words[stdout], "stderr": "stdout" if stderr == STDOUT else words[stderr]}
    if bufsize is not None:
        spec["bound"] = bufsize
    return spec


def socket_dict(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a socket: only what applies to it; umask and reuseport are text, as papa 1.x has it."""
    wanted = ("family", "type", "backlog", "host", "port", "interface", "path")
    info = {key: row[key] for key in wanted if row.get(key) is not None}
    if row.get("umask") is not None:
        info["umask"] = str(row["umask"])
    if row.get("reuseport"):
        info["reuseport"] = "1"
    elif row.get("fileno") is not None:
        info["fileno"] = row["fileno"]
    return info


def process_dict(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a process; uid and gid are text, and of a shell's command only the command is shown."""
    is_shell = bool(row.get("meta", {}).get("shell"))
    info = {
        "pid": row["pid"],
        "running": row["running"],
        "started": row["started_at"],
        "args": " ".join(row["argv"][2:] if is_shell else row["argv"]),
    }
    if is_shell:
        info["shell"] = True
    for key in ("uid", "gid"):
        if row.get(key) is not None:
            info[key] = str(row[key])
    return info
