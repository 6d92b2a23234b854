from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from circus.config import build, values
from circus.control import endpoints
from circus.errors import CircusError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (None, "{root}/circus-default.sock"),
        ("", "{root}/circus-default.sock"),
        ("web", "{root}/circus-web.sock"),
        ("/run/x/c.sock", "/run/x/c.sock"),
        ("unix:///run/x/c.sock", "/run/x/c.sock"),
        ("unix:///run/x/../c.sock", "/run/c.sock"),
        ("tcp://127.0.0.1:5555", "{root}/circus-default.sock"),
        ("tcp://127.0.0.1:5560", "{root}/circus-tcp-127.0.0.1-5560.sock"),
        ("ipc:///tmp/circus", "{root}/circus-ipc-tmp-circus.sock"),
    ],
)
def test_an_endpoint_names_a_control_socket(endpoint: str | None, expected: str, root: str) -> None:
    assert endpoints.resolve(endpoint) == expected.format(root=root)


@pytest.mark.parametrize(
    "endpoint", ["unix://relative", "../etc", "a/b", "-x", "unix:///", "unix:///a/", "a b", "x" * 65, "/a\0b"]
)
def test_anything_else_is_refused_and_the_forms_are_said(endpoint: str) -> None:
    with pytest.raises(CircusError) as caught:
        endpoints.resolve(endpoint)
    assert caught.value.code == "usage"
    assert endpoints.FORMS in caught.value.hint


def test_a_name_from_an_endpoint_is_never_empty_nor_a_path() -> None:
    assert endpoints.name_of_endpoint("://") == "default"
    assert "/" not in endpoints.name_of_endpoint("tcp://a/../b:1")
    assert len(endpoints.name_of_endpoint("tcp://" + "x" * 500)) == endpoints.MAX_NAME


@given(st.text(max_size=100) | st.from_regex(r"(tcp|ipc)://[a-z0-9./:*-]{0,90}", fullmatch=True))
@example("tcp://127.0.0.1:5555")
@example("")
def test_circusd_and_circusctl_derive_the_same_name(endpoint: str) -> None:
    assert endpoints.name_of_endpoint(endpoint) == build.name_of_endpoint(endpoint)
    assert endpoints.MAX_NAME == values.MAX_NAME


def test_the_circusds_of_a_root_are_found_by_their_sockets(tmp_path: Path) -> None:
    for entry in ("circus-default.sock", "circus-web.sock", "circus-web.sock.lock", "kernel-default", "circus-.sock"):
        (tmp_path / entry).touch()
    assert endpoints.known_names() == ["default", "web"]


def test_a_root_that_is_not_there_has_no_circusds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "none"))
    assert endpoints.known_names() == []
