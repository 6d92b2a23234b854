"""The values that the other rooms get."""

from __future__ import annotations

import dataclasses

import pytest

from circus.config import model
from circus.config.model import ConfigInvalid, Finding, WatcherConfig
from circus.errors import CircusError


def test_a_finding_is_a_line_with_its_place_and_what_to_do() -> None:
    assert str(Finding("a.ini", 3, "cmd is missing", "write cmd")) == "a.ini:3: cmd is missing (write cmd)"
    assert str(Finding("a.ini", 0, "no watcher")) == "a.ini: no watcher"


def test_an_invalid_configuration_lists_its_errors_and_keeps_its_warnings() -> None:
    findings = [
        Finding("a.ini", 1, "one"),
        Finding("a.ini", 2, "two", severity="warning"),
        Finding("a.ini", 3, "three"),
    ]
    error = ConfigInvalid(findings)
    assert isinstance(error, CircusError) and error.code == "config-invalid"
    assert str(error) == "the configuration has 2 errors:\na.ini:1: one\na.ini:3: three\nwarning: a.ini:2: two"
    assert error.findings == tuple(findings)
    assert str(ConfigInvalid(findings[:1])) == "the configuration has 1 error:\na.ini:1: one"


def test_a_list_of_errors_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MAX_LISTED_FINDINGS", 2)
    error = ConfigInvalid([Finding("a.ini", line, "bad") for line in range(1, 6)])
    assert str(error).splitlines()[1:] == ["a.ini:1: bad", "a.ini:2: bad", "... and 3 more"]
    assert len(error.findings) == 5
    warned = ConfigInvalid(
        [Finding("a.ini", 1, "bad"), *(Finding("a.ini", n, "odd", "", "warning") for n in (2, 3, 4))]
    )
    assert str(warned).splitlines()[1:] == ["a.ini:1: bad", "warning: a.ini:2: odd", "... and 2 warnings"]


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        WatcherConfig(name="web", cmd="x").cmd = "y"  # type: ignore[misc]
