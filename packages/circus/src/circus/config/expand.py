"""Variables, in three stages, and what a process gets: its words and its environment.

1. When the file is read: ``$(circus.env.NAME)`` and ``((circus.env.NAME))`` in every value. The value comes
   from the ``[env]`` sections first, then from circusd's environment; letter case counts only where two
   names differ in nothing else. One pass; unknown names are left as they are.
2. In values of ``[env]`` sections, after stage 1: ``$NAME`` in capitals, from circusd's environment, empty if
   unset. Only what the file wrote is expanded, never a value that was inherited.
3. At each spawn, in ``cmd``, ``args``, ``shell_args``: ``circus.wid``, ``circus.env.NAME`` (of the
   process), ``circus.sockets.NAME`` and the options by name. A socket's number is only known to the kernel,
   so a reference to it becomes the kernel's own ``$(socket.NAME.fileno)``.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping

from circus.config import options
from circus.config.model import SocketConfig, WatcherConfig
from circus.errors import CircusError

#: What ``copy_path`` hands on: circusd's as it was started, without what is added for the hooks of watchers.
IMPORT_PATH = tuple(entry for entry in sys.path if entry)

#: Where programs are looked for when a process has no PATH: what the C library does.
DEFAULT_PATH = "/bin:/usr/bin"

_VARIABLE = re.compile(r"\$\(circus\.([\w.-]+)\)|\(\(circus\.([\w.-]+)\)\)", re.IGNORECASE | re.ASCII)
_SHELL = re.compile(r"\$([A-Z][A-Z0-9_]*)")


class Names:
    """Layers of variables: ``own`` over ``below``. Exact names are looked for in all layers before folded
    ones.
    """

    __slots__ = ("_folded", "below", "own")

    def __init__(self, own: Mapping[str, str], below: Names | None = None) -> None:
        self.own = own
        self.below = below
        self._folded: dict[str, str] | None = None

    def get(self, name: str) -> str | None:
        layer: Names | None = self
        while layer is not None:
            if name in layer.own:
                return layer.own[name]
            layer = layer.below
        layer = self
        folded = name.lower()
        while layer is not None:
            if layer._folded is None:
                layer._folded = {key.lower(): value for key, value in layer.own.items()}
            if folded in layer._folded:
                return layer._folded[folded]
            layer = layer.below
        return None


def replace_variables(text: str, value_of: Callable[[str], str | None]) -> str:
    """``text`` with each ``$(circus.X)`` replaced by ``value_of("X")``, unless that is None."""
    if "circus." not in text.lower():
        return text

    def _value(match: re.Match[str]) -> str:
        found = value_of(match[1] or match[2])
        return match[0] if found is None else found

    return _VARIABLE.sub(_value, text)


def variables_in(text: str) -> list[str]:
    """The names behind ``circus.`` that a text refers to."""
    return [one or two for one, two in _VARIABLE.findall(text)]


def expand_env(text: str, names: Names) -> str:
    """Stage 1."""
    return replace_variables(text, lambda name: names.get(name[4:]) if name[:4].lower() == "env." else None)


def expand_shell(text: str, environ: Mapping[str, str]) -> str:
    """Stage 2."""
    if "$" not in text:
        return text
    return _SHELL.sub(lambda match: environ.get(match[1], ""), text).strip()


def file_names(env: Mapping[str, str], environ: Mapping[str, str]) -> Names:
    """The variables that every value of a file may name: its ``[env]`` section over circusd's environment."""
    inherited = Names(environ)
    return Names({key: expand_env(text, inherited) for key, text in env.items()}, inherited)


def socket_references(config: WatcherConfig) -> tuple[str, ...]:
    """The sockets that the command names and the one for standard input, lower case, each once."""
    found = dict.fromkeys(
        name[8:].lower()
        for text in (config.cmd, config.args, config.shell_args)
        for name in variables_in(text)
        if name[:8].lower() == "sockets."
    )
    if config.stdin_socket:
        found[config.stdin_socket.lower()] = None
    return tuple(found)


def sockets_used(config: WatcherConfig, known: Iterable[SocketConfig]) -> tuple[str, ...]:
    """The sockets that a process of this watcher is to get: those it names; all, if it uses some and names none.

    But not those of which each process has a listener of its own: who does not accept there would keep connections
    waiting for ever.
    """
    named, by_name = socket_references(config), {each.name: each for each in known}
    if config.use_sockets and not named:
        return tuple(name for name, each in by_name.items() if not each.so_reuseport)
    return tuple(name for name in named if name in by_name)


def child_environment(config: WatcherConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a process; ``environ`` is circusd's own."""
    child = dict(environ) if config.copy_env else {}
    if config.virtualenv:
        # They were meant for circusd's own interpreter, and would go before what the environment has.
        child.pop("PYTHONHOME", None)
        child.pop("PYTHONPATH", None)
    if config.copy_path:
        child["PYTHONPATH"] = os.pathsep.join(IMPORT_PATH)
    child.update(config.env)
    if config.virtualenv:
        root = os.path.abspath(config.virtualenv)
        first = os.path.join(root, "bin")
        others = (child.get("PATH") or DEFAULT_PATH).split(os.pathsep)
        child["VIRTUAL_ENV"] = root
        child["PATH"] = os.pathsep.join((first, *(entry for entry in others if entry != first)))
    return child


def expand_command(config: WatcherConfig, *, wid: int, env: Mapping[str, str], sockets: Mapping[str, str]) -> list[str]:
    """The words of the process in slot ``wid``.

    ``env`` is the environment of the process, ``sockets`` maps names of sockets (lower case) to the kernel's.

    Raises:
        CircusError: the text cannot be split into words (a quote is not closed), or there are none.
    """
    names = Names(env)

    def _value(name: str) -> str | None:
        folded = name.lower()
        if folded == "wid":
            return str(wid)
        if folded.startswith("env."):
            return names.get(name[4:])
        if folded.startswith("sockets."):
            kernel_name = sockets.get(folded[8:])
            return None if kernel_name is None else f"$(socket.{kernel_name}.fileno)"
        return option_value(config, folded)

    cmd = replace_variables(config.cmd, _value)
    args = replace_variables(config.args, _value)
    if config.shell:
        line = f"{cmd} {args}" if args else cmd
        words = ["/bin/sh", "-c", line]
        return words + _split(config, "shell_args", replace_variables(config.shell_args, _value))
    words = _split(config, "cmd", cmd) + _split(config, "args", args)
    if not words:
        hint = "write the program and its arguments behind cmd ="
        raise CircusError("config-invalid", f"{config.name}: cmd is empty", hint)
    return words


def _split(config: WatcherConfig, option: str, text: str) -> list[str]:
    if not text:
        return []
    try:
        return list(_words(text))
    except ValueError as error:
        what = f"{config.name}: {option} cannot be split into words: {str(error).lower()}"
        raise CircusError("config-invalid", what, "close the quotes, or put a backslash before them") from None


#: Without these a line's words are what white space divides. Other white space than ASCII's divides nothing in a shell.
_SPECIAL = re.compile(r"""["'\\]|[^\S \t\r\n]""")


@functools.lru_cache(maxsize=1000)
def _words(text: str) -> tuple[str, ...]:
    """Kept, because the same line is split when the file is read and at each start."""
    if _SPECIAL.search(text) is None:
        return tuple(text.split())
    return tuple(shlex.split(text))


def option_value(config: WatcherConfig, name: str) -> str | None:
    """An option of the watcher as text; None if there is no such option."""
    if name.startswith("rlimits."):
        if name[8:] not in config.rlimits:
            return None
        limit = config.rlimits[name[8:]]
        return "" if limit is None else str(limit)
    option = options.WATCHER.get("use_sockets" if name == "use_fds" else name)
    if option is None or option.idle or option.name == "cmd":
        return None
    value = getattr(config, option.attribute)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return " ".join(value)
    return "" if value is None else str(value)
