"""Who may come in, as the options `api.*` say it, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.config import doors
from circus.config.build import Builder
from circus.config.model import CircusConfig
from circus.config.read import read
from circus.config.validate import Host


class FakeHost(Host):
    """A machine that has just what it is said to have."""

    def __init__(self, **has: str) -> None:
        super().__init__()
        self.has = {question: subjects.split() for question, subjects in has.items()}

    def _answer(self, question: str, subject: str) -> bool:
        return subject in self.has.get(question, [])


HOST = FakeHost(user="mary", group="ops web", directory="/run/shop /run/shut", open="/run/shop")
HERE = "control = unix:///run/shop/c.sock\n"


def check(folder: Path, options: str, *, name: str = "c.ini", host: Host = HOST) -> tuple[CircusConfig, list[str]]:
    path = folder / name
    path.write_text(f"[circus]\n{options}")
    draft = Builder(read(str(path), {}), {}).build()
    findings = [*draft.findings, *doors.check(draft, host)]
    return draft.config, [str(each).removeprefix(f"{folder}/") for each in findings]


def test_members_are_groups_and_users(tmp_path: Path) -> None:
    config, told = check(tmp_path, HERE + "api.viewers = web, ops\napi.operators = ops user:mary\napi.admins =\n")
    assert (config.api_viewers, config.api_operators, config.api_admins) == (("web", "ops"), ("ops", "user:mary"), ())
    assert told == []


def test_in_toml_they_may_be_lists(tmp_path: Path) -> None:
    text = '[circus.api]\nhosts = ["circus.example.org", "shop"]\nviewers = "web, ops"\n'
    config, told = check(tmp_path, 'control = "unix:///run/shop/c.sock"\n' + text, name="c.toml")
    assert (config.api_hosts, config.api_viewers, told) == (("circus.example.org", "shop"), ("web", "ops"), [])


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        (HERE + "api.viewers = web nobdy", "c.ini:3: [circus]: api.viewers: there is no group nobdy"),
        (HERE + "api.admins = user:marie", "c.ini:3: [circus]: api.admins: there is no user marie"),
        ("api.admins = ops", "c.ini:2: [circus]: api.admins lets nobody in: the control socket lies in a directory"),
        (
            "api.admins = ops\ncontrol = unix:///run/shut/c.sock\n",
            "c.ini:2: [circus]: api.admins lets nobody in: /run/shut is closed to others (chmod 711 /run/shut",
        ),
        ("api.hosts = " + "a " * 101, "c.ini:2: [circus]: api.hosts = "),
        ("api.viewer = ops", "c.ini:2: [circus]: unknown option api.viewer (did you mean api.viewers?)"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(tmp_path: Path, options: str, finding: str) -> None:
    told = check(tmp_path, options)[1]
    assert [line[: len(finding)] for line in told] == [finding]


def test_addresses_are_hosts_with_ports(tmp_path: Path) -> None:
    config, told = check(tmp_path, "api.listen = 127.0.0.1:0, [::1]:8443  shop.example.org:443\n")
    assert config.api_listen == ("127.0.0.1:0", "[::1]:8443", "shop.example.org:443")
    assert [doors.split_address(each) for each in config.api_listen] == [
        ("127.0.0.1", 0),
        ("::1", 8443),
        ("shop.example.org", 443),
    ]
    assert told == []
    assert (config.api_tls, config.api_rate, config.api_certificate, config.api_key) == (True, 500, None, None)


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ("api.listen = 8443", "error c.ini:2: [circus]: api.listen = '8443' is no list of addresses (write HOST:PORT,"),
        ("api.listen = :8443", "error c.ini:2: [circus]: api.listen = "),
        ("api.listen = ::1:8443", "error c.ini:2: [circus]: api.listen = "),
        ("api.listen = a..b:8443", "error c.ini:2: [circus]: api.listen = "),
        (f"api.listen = {'x' * 64}:8443", "error c.ini:2: [circus]: api.listen = "),
        ("api.listen = a:b", "error c.ini:2: [circus]: api.listen = "),
        ("api.listen = a:65536", "error c.ini:2: [circus]: api.listen = "),
        (
            "api.tls = off\napi.listen = 127.0.0.1:80 0.0.0.0:81",
            "error c.ini:3: [circus]: api.tls is off, and 0.0.0.0:81 is no loopback address: tokens could be read",
        ),
        ("api.tls = off\napi.listen = shop:80", "error c.ini:3: [circus]: api.tls is off, and shop:80 is no loopback"),
        ("api.tls = off\napi.listen = localhost:80 [::1]:80 127.0.0.2:80", ""),
        ("api.tls = off", "warning c.ini:2: [circus]: api.tls has no effect: nothing listens over TCP"),
        ("api.rate = 5", "warning c.ini:2: [circus]: api.rate has no effect"),
        ("api.listen = a:1\napi.key = /k.pem", "error c.ini:3: [circus]: api.key without api.certificate"),
        ("api.listen = a:1\napi.certificate = /k.pem", "error c.ini:3: [circus]: api.certificate without api.key"),
        (
            "api.listen = a:1\napi.key = /k.pem\napi.certificate = /c.pem",
            "error c.ini:4: [circus]: api.certificate: there is no file /c.pem",
        ),
    ],
)
def test_what_is_wrong_with_listening_is_one_line_with_its_place(tmp_path: Path, options: str, finding: str) -> None:
    path = tmp_path / "c.ini"
    path.write_text(f"[circus]\n{options}")
    draft = Builder(read(str(path), {}), {}).build()
    findings = [*draft.findings, *doors.check(draft, FakeHost(file="/k.pem"))]
    told = [f"{each.severity} {str(each).removeprefix(f'{tmp_path}/')}" for each in findings]
    assert [line[: len(finding)] for line in told] == ([finding] if finding else [])


def test_a_directory_that_others_may_not_search_is_closed(tmp_path: Path) -> None:
    host = Host()
    tmp_path.chmod(0o700)
    assert not host.is_open(str(tmp_path))
    tmp_path.chmod(0o710)
    assert Host().is_open(str(tmp_path))
