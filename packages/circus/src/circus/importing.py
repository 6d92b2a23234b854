"""Code of users, found by its path: where circusd itself imports from, and behind that where its watcher says."""

from __future__ import annotations

import importlib
import os
import sys


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
