"""Names of the ancestors' `circus.util` that plugins and scripts use."""

from __future__ import annotations

import importlib
import os
from typing import Any

from circus import stats
from circus.config import values
from circus.control.endpoints import ANCESTORS_ENDPOINT

DEFAULT_ENDPOINT_DEALER = ANCESTORS_ENDPOINT
DEFAULT_ENDPOINT_SUB = "tcp://127.0.0.1:5556"
DEFAULT_ENDPOINT_STATS = "tcp://127.0.0.1:5557"
DEFAULT_ENDPOINT_MULTICAST = "udp://237.219.251.97:12027"

_UNITS = "BKMGTPEZY"


def to_bool(value: Any) -> bool:
    """Raises: ValueError."""
    return values.parse_flag(value) if isinstance(value, str) else bool(value)


def to_signum(signum: int | str) -> int:
    """``15``, ``TERM``, ``SIGTERM``, ``quit``. Raises: ValueError."""
    return values.parse_signal(str(signum))


def bytes2human(number: int) -> str:
    """``100B``, ``1.52M``."""
    if not isinstance(number, int):
        raise TypeError(f"a number of bytes is an int, not {type(number).__name__}")
    size, unit = float(number), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.2f}{_UNITS[unit]}" if unit else f"{number}B"


def human2bytes(text: str) -> int:
    """``1.52M`` in bytes. Raises: ValueError where there is no unit of B, K, M, G, T, P, E, Z, Y."""
    number, unit = text.strip()[:-1], text.strip()[-1:].upper()
    if unit not in _UNITS or not unit:
        raise ValueError(f"{text!r} has no unit; write for example 10M")
    return int(float(number) * 1024 ** _UNITS.index(unit))


def get_info(process: Any = None, interval: float = 0, with_childs: bool = False) -> dict[str, Any]:
    """What a process uses: a pid, an object that has one, or this process. ``interval`` has no effect.

    Raises: ProcessLookupError.
    """
    del interval
    pid = int(getattr(process, "pid", os.getpid() if process is None else process))
    info = stats.read(pid, with_children=with_childs)
    if isinstance(info, str):
        raise ProcessLookupError(f"{pid}: {info}")
    return info


def resolve_name(path: str) -> Any:
    """What ``package.module.name`` or ``package.module:name`` names.

    Raises: ImportError.
    """
    module, _, attribute = path.replace(":", ".").rpartition(".")
    if not module:
        return importlib.import_module(path)
    found = importlib.import_module(module)
    try:
        return getattr(found, attribute)
    except AttributeError:
        raise ImportError(f"module {module} has no {attribute}") from None
