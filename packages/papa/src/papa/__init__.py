"""Papa, a process kernel: what ``import papa`` offers to its users.

One idea: the names are published, the import is light. The kernel itself imports this package, so nothing is
loaded here; the client comes in with the first use of one of its names. What the names do stands in
`papa.client.sync`; `papa.client.aio` is the client for asyncio.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from papa import utils as utils
    from papa.client.sync import (
        DEVNULL,
        PIPE,
        STDOUT,
        Papa,
        ProcessOutput,
        Watcher,
        set_debug_mode,
        set_default_connection_timeout,
        set_default_path,
        set_default_port,
    )
    from papa.errors import Error

__version__ = "2.0.0.dev0"

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "Error",
    "Papa",
    "ProcessOutput",
    "Watcher",
    "set_debug_mode",
    "set_default_connection_timeout",
    "set_default_path",
    "set_default_port",
]


def __getattr__(name: str) -> object:
    if name == "utils":
        import papa.utils as module

        return module
    if name not in __all__:
        raise AttributeError(f"module 'papa' has no attribute {name!r}")
    if name == "Error":
        from papa.errors import Error

        return Error
    from papa.client import sync

    return getattr(sync, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
