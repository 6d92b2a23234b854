"""Whether there is a class, without running anybody's code: by the place of its module, and by the text of it.

A plugin's module is imported in the plugin's own process only: what happens when it is imported is not circusd's
business. What cannot be told from the text (a star import, a compiled module) counts as there.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder


def why_missing(path: str, directories: Sequence[str]) -> str:
    """What is wrong with ``package.module.Class`` or ``package.module:Class``; empty when nothing is.

    ``directories`` are searched beside those of this interpreter.
    """
    module, _, name = path.replace(":", ".").rpartition(".")
    if not module or not all(part.isidentifier() for part in (*module.split("."), name)):
        return "is not the path of a class"
    importlib.invalidate_caches()
    spec = None
    for depth, part in enumerate(module.split(".")):
        below = None if spec is None else spec.submodule_search_locations
        if depth and below is None:
            return f"cannot be found: {spec.name if spec else ''} is no package"
        full = ".".join(module.split(".")[: depth + 1])
        spec = _find(full, below, directories)
        if spec is None:
            return f"cannot be found: there is no module {full if depth else part}"
    assert spec is not None
    return _look_for(name, spec)


def _find(full: str, below: Sequence[str] | None, directories: Sequence[str]) -> ModuleSpec | None:
    places = list(below) if below is not None else None
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        if find_spec is not None and (spec := find_spec(full, places)) is not None:
            found: ModuleSpec = spec
            return found
    return PathFinder.find_spec(full, list(directories)) if places is None else None


def _look_for(name: str, spec: ModuleSpec) -> str:
    if spec.origin is None or not spec.origin.endswith(".py") or not os.path.isfile(spec.origin):
        return f"cannot be found: {spec.name} is a bare directory" if spec.loader is None else ""
    try:
        with open(spec.origin, "rb") as file:
            tree = ast.parse(file.read(), spec.origin)
    except OSError as error:
        return f"cannot be read: {spec.origin}: {error.strerror}"
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        return (
            f"cannot be loaded: {spec.origin}{f':{line}' if line else ''} is no Python: {getattr(error, 'msg', error)}"
        )
    names = set(_bound(tree.body))
    if name in names or "*" in names or "__getattr__" in names:
        return ""
    return f"cannot be found: {spec.origin} has no {name}"


def _bound(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """The names that a module binds, whatever is true when it is run."""
    for statement in statements:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in aliases)
            case _:
                for node in ast.iter_child_nodes(statement):
                    if isinstance(node, ast.stmt):
                        yield from _bound([node])
                    elif isinstance(node, ast.ExceptHandler | ast.match_case):
                        yield from _bound(node.body)
                    else:
                        yield from (
                            each.id
                            for each in ast.walk(node)
                            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
                        )
