"""Code of users, found by its path: where circusd itself imports from, and behind that where its watcher says; and
how not to import what is not needed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from types import ModuleType


def find(path: str) -> object:
    """What ``package.module.name`` or ``package.module:name`` names.

    Raises:
        Exception, SystemExit: whatever its module raises while it is imported; ValueError, ImportError or
            AttributeError when there is no such thing.
    """
    module, _, name = path.replace(":", ".").rpartition(".")
    return getattr(importlib.import_module(module), name)


def make_importable(search_path: str) -> None:
    """Behind what circusd itself imports from: a service's modules must not stand in for circusd's own."""
    for directory in filter(None, search_path.split(os.pathsep)):
        absolute = os.path.abspath(directory)
        if absolute not in sys.path:
            sys.path.append(absolute)
            importlib.invalidate_caches()


@contextlib.contextmanager
def without_init(package: str) -> Iterator[ModuleType]:
    """Meanwhile modules of ``package`` are imported without its `__init__`, and all that this would bring.

    Whoever imports the package later gets the whole of it.

    Raises:
        ModuleNotFoundError: there is no such package.
    """
    if package in sys.modules:
        yield sys.modules[package]
        return
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        yield sys.modules[package]
    finally:
        del sys.modules[package]
