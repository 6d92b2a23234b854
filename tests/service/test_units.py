"""The unit files as systemd reads them; what they do is tests/service/test_systemd."""

from __future__ import annotations

import os
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.house import BIN, ROOT

UNITS = ROOT / "share/systemd"
KINDS = ("system", "user")
INSTALLED = {"system": "/opt/papa/bin", "user": "%h/.local/papa/bin"}


def unit(kind: str, name: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((UNITS / kind / name).read_text())
    return parser


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("kind", KINDS)
def test_systemd_has_nothing_to_say_about_them(kind: str, tmp_path: Path) -> None:
    for file in (UNITS / kind).iterdir():
        text = file.read_text()
        assert f"{INSTALLED[kind]}/" in text
        (tmp_path / file.name).write_text(text.replace(INSTALLED[kind], str(BIN)))
    done = subprocess.run(
        ["systemd-analyze", f"--{kind}", "verify", "--man=no", *sorted(tmp_path.glob("*.service"))],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_circusd_is_replaced_soon_and_a_long_start_is_not(kind: str) -> None:
    service = unit(kind, "circus.service")["Service"]
    assert int(service["WatchdogSec"]) >= 10
    assert service.get("WatchdogSignal", "ABRT") == "ABRT"  # with which it writes its stacks
    assert int(service["TimeoutAbortSec"]) < int(service["TimeoutStopSec"])
    assert int(service["TimeoutStartSec"]) > int(service["WatchdogSec"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["papa.service", "circus.service"])
def test_a_stop_of_the_unit_or_a_lack_of_memory_ends_no_programs(kind: str, name: str) -> None:
    service = unit(kind, name)["Service"]
    for option, value in (("KillMode", "process"), ("OOMPolicy", "continue"), ("TasksMax", "infinity")):
        assert service[option] == value
    assert service["Restart"] == "on-failure"
    assert service["Delegate"] == "yes"
    assert int(service["LimitNOFILE"]) >= 1 << 16


def test_the_units_of_both_kinds_differ_only_in_places() -> None:
    for name in ("papa.service", "circus.service"):
        system, user = unit("system", name), unit("user", name)
        differing = {
            key
            for section in system.sections()
            for key in {*system[section], *user[section]}
            if system[section].get(key) != user[section].get(key)
        }
        assert differing <= {"ExecStart", "ExecReload", "ExecStop", "WantedBy", "Wants", "After"}
