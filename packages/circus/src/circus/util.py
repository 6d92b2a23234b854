"""What plugins and scripts used of the ancestors' helpers."""

from __future__ import annotations

from circus.legacy.util import (
    DEFAULT_ENDPOINT_DEALER,
    DEFAULT_ENDPOINT_MULTICAST,
    DEFAULT_ENDPOINT_STATS,
    DEFAULT_ENDPOINT_SUB,
    bytes2human,
    get_info,
    human2bytes,
    resolve_name,
    to_bool,
    to_signum,
)

__all__ = [
    "DEFAULT_ENDPOINT_DEALER",
    "DEFAULT_ENDPOINT_MULTICAST",
    "DEFAULT_ENDPOINT_STATS",
    "DEFAULT_ENDPOINT_SUB",
    "bytes2human",
    "get_info",
    "human2bytes",
    "resolve_name",
    "to_bool",
    "to_signum",
]
