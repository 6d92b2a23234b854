"""What becomes of output that nobody takes: the options of a stream in the words of the kernel. Pure.

The idea: the kernel has a default that holds for both streams of a process together, and says nothing of it; bounds of
each stream are only spoken of where the configuration, or the process, has some.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from circus.config.model import StreamConfig

#: Of each stream: bound, overflow, stall_s; see `bounds` in docs/reference/frames.md.
Bounds = dict[str, dict[str, object]]

_PLAIN = StreamConfig(class_name="")

#: The kernel's own limit; of a stream that drops, forever means nothing.
_MAX_STALL_S = 3600.0


def bounds_of(streams: Mapping[str, StreamConfig | None]) -> Bounds | None:
    """None where the configuration leaves it to the kernel."""
    configs = {name: config or _PLAIN for name, config in streams.items()}
    if all(_wish(config) == _wish(_PLAIN) for config in configs.values()):
        return None
    return _all(configs)


def news(streams: Mapping[str, StreamConfig | None], present: Bounds | None) -> Bounds | None:
    """What a process must be told that has ``present``; None: nothing."""
    wanted = bounds_of(streams)
    if wanted is None and present is not None:
        wanted = _all(dict.fromkeys(streams, _PLAIN))
    return wanted if wanted != present else None


def _all(configs: Mapping[str, StreamConfig]) -> Bounds:
    return {name: _one(config) for name, config in configs.items()}


def _wish(config: StreamConfig) -> tuple[int, str, float]:
    return config.buffer_bytes, config.overflow, config.stall_s


def _one(config: StreamConfig) -> dict[str, object]:
    size, overflow, stall_s = _wish(config)
    if overflow == "block" and stall_s == math.inf:
        return {"bound": size, "overflow": "hold", "stall_s": _PLAIN.stall_s}
    return {"bound": size, "overflow": overflow, "stall_s": min(stall_s, _MAX_STALL_S)}
