from __future__ import annotations

import subprocess
import sys

import pytest

import papa
from papa import utils

HEAVY = {"typing", "dataclasses", "subprocess", "asyncio", "socket", "logging", "threading", "tempfile", "inspect"}


def test_the_import_is_light() -> None:
    program = "import sys; old = set(sys.modules); import papa; print(*(set(sys.modules) - old))"
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {program}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert HEAVY.isdisjoint(done.stdout.split())


def test_every_published_name_is_there() -> None:
    for name in papa.__all__:
        assert getattr(papa, name) is not None
        assert name in dir(papa)
    assert papa.Error is utils.Error
    assert issubclass(papa.Error, RuntimeError)
    assert (papa.PIPE, papa.STDOUT, papa.DEVNULL) == (-1, -2, -3)
    assert papa.ProcessOutput._fields == ("name", "timestamp", "data")
    with pytest.raises(AttributeError, match="cheese"):
        papa.cheese  # noqa: B018


def test_star_import_works() -> None:
    names: dict[str, object] = {}
    exec("from papa import *", names)
    assert set(papa.__all__) <= set(names)


def test_the_module_of_small_names_is_there_without_being_imported() -> None:
    program = f"import sys; sys.path[:0] = {sys.path!r}; import papa; print(papa.utils.cast_string(b'x'))"
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "x\n"
