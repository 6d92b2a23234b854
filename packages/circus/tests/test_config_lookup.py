"""Whether there is a class, without running anybody's code."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from circus.config.lookup import why_missing

MODULE = """
raise SystemExit("this module must not be run")
class Whole: ...
def make(): ...
Assigned = One, (Two, *Rest) = object()
Typed: type = object
if True:
    from elsewhere import Imported
    import package.part as Part, other.thing
else:
    class Else: ...
try:
    pass
except ImportError:
    class Fallback: ...
match 1:
    case Matched:
        class Case: ...
"""

NAMES = (
    *("Whole", "make", "Assigned", "One", "Two", "Rest", "Typed", "Imported", "Part", "other", "Else", "Case"),
    "Fallback",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "open.py").write_text("from mine import *\n")
    (tmp_path / "wrong.py").write_text("\nclass :\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("raise SystemExit\n")
    (tmp_path / "package/part.py").write_text("class A: ...\n")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/part.py").write_text("def __getattr__(name): ...\n")
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        *(
            f"mine.{name}"
            for name in [
                "Whole",
                "make",
                "Assigned",
                "One",
                "Two",
                "Rest",
                "Typed",
                "Imported",
                "Part",
                "other",
                "Else",
                "Case",
            ]
        ),
        "mine:Whole",
        "open.Anything",
        "package.part.A",
        "package.part:A",
        "bare.part.Anything",
        "math.Anything",
        "circus.plugins.CircusPlugin",
    ],
)
def test_what_is_there_is_found_and_nothing_is_run(path: str, folder: Path) -> None:
    known = set(sys.modules)
    assert why_missing(path, [str(folder)]) == ""
    assert {"mine", "open", "package", "bare"}.isdisjoint(set(sys.modules) - known)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("Whole", "is not the path of a class"),
        ("mine.", "is not the path of a class"),
        ("a b.C", "is not the path of a class"),
        ("", "is not the path of a class"),
        ("nowhere.Class", "cannot be found: there is no module nowhere"),
        ("package.nowhere.Class", "cannot be found: there is no module package.nowhere"),
        ("mine.part.Class", "cannot be found: mine is no package"),
        ("mine.Nope", "mine.py has no Nope"),
        ("package.part.B", "part.py has no B"),
        ("bare.A", "cannot be found: bare is a bare directory"),
        ("wrong.A", "wrong.py:2 is no Python: "),
    ],
)
def test_what_is_missing_is_said(path: str, why: str, folder: Path) -> None:
    assert why in why_missing(path, [str(folder)])


def test_a_module_that_comes_later_is_found_later(tmp_path: Path) -> None:
    assert why_missing("late.A", [str(tmp_path)])
    before = tmp_path.stat()
    (tmp_path / "late.py").write_text("class A: ...\n")
    os.utime(tmp_path, ns=(before.st_atime_ns, before.st_mtime_ns))  # so soon that the directory's time is the same
    assert why_missing("late.A", [str(tmp_path)]) == ""
