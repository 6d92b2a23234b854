"""Modules `socket` and `signal` without their enumerations, for programs in which every kilobyte stays for months.

The one idea: the two are thin layers over `_socket` and `_signal`, which have all that a kernel asks of them; the
layers make enumerations of some three hundred constants, for which they import `enum`, `functools`, `collections` and
`selectors`: a quarter of what a kernel's start takes, and 0.6 MB resident. So in a program that has itself to itself
the inner modules are put in the place of those that are not there; a flag is a plain number then.

Only the package of the kernel calls this, before anything imports the two. Not here: what nobody in the kernel uses
(`create_connection`, `makefile`, `Signals`...).
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def stand_in() -> None:
    """Puts lean ones in place unless `socket` or `signal` has been imported. Raises: ImportError."""
    import _signal  # type: ignore[import-not-found]
    import _socket

    if sys.modules.keys() & {"socket", "signal"}:
        return
    sys.modules["signal"] = _signal
    sys.modules["socket"] = _lean_socket(_socket)


def _lean_socket(inner: Any) -> ModuleType:
    class Socket(inner.socket):  # type: ignore[misc]
        """What the layer adds, as far as a kernel needs it."""

        __slots__ = ()

        def accept(self) -> tuple[Socket, Any]:
            fd, address = self._accept()
            return Socket(self.family, self.type, self.proto, fileno=fd), address

        def __enter__(self) -> Socket:
            return self

        def __exit__(self, *_error: object) -> None:
            self.close()

    module = ModuleType("socket")
    vars(module).update({name: thing for name, thing in vars(inner).items() if not name.startswith("__")})
    vars(module)["socket"] = Socket
    return module
