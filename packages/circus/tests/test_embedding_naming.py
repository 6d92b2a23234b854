from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from circus.control.claim import Claim
from circus.embedding import naming
from circus.errors import CircusError


@pytest.fixture(autouse=True)
def private_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "run"))


def test_a_name_or_an_endpoint_is_what_it_is_called_by() -> None:
    assert naming.fixed_name("mine", "tcp://127.0.0.1:7") == "mine"
    assert naming.fixed_name(None, "tcp://127.0.0.1:7") == "tcp-127.0.0.1-7"
    assert naming.fixed_name(None, "tcp://127.0.0.1:5555") == "default"
    assert naming.fixed_name(None, None) is None


def test_all_others_are_called_by_their_program_and_the_lowest_free_number() -> None:
    claims: list[Claim] = []
    names = []
    for _ in range(3):
        name, mine = naming.claimed(None, "/srv/my app.py")
        names.append(name)
        claims.append(mine)
    stem = names[0].removesuffix("1")
    assert stem.startswith("my-app.py-")
    assert names == [f"{stem}1", f"{stem}2", f"{stem}3"]
    claims[1].release()
    name, claims[1] = naming.claimed(None, "/srv/my app.py")
    assert name == f"{stem}2"
    other, elsewhere = naming.claimed(None, "/opt/my app.py")
    assert not other.startswith(stem), "another program of that name is another program"
    for each in (*claims, elsewhere):
        each.release()


def test_what_is_taken_is_refused_and_the_number_of_them_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "MAX_NUMBER", 1)
    _, mine = naming.claimed("mine", "")
    _, first = naming.claimed(None, "/x")
    with pytest.raises(CircusError, match="runs already"):
        naming.claimed("mine", "")
    with pytest.raises(CircusError, match="1 circuses of /x"):
        naming.claimed(None, "/x")
    mine.release()
    first.release()
    with pytest.raises(CircusError, match="is no endpoint"):
        naming.claimed("a b", "")


def test_the_program_is_known_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x/../app.py"])
    assert naming.program_path() == f"{os.getcwd()}/app.py"
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert naming.program_path() == "/python"
    _, mine = naming.claimed(None, "/.+")
    assert "circus-python-" in mine.path
    mine.release()
