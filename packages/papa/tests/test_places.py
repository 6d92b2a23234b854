from __future__ import annotations

import os
import socket
import stat

import pytest

from papa import places
from papa.errors import PapaError


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "root"))
    return str(tmp_path / "root")


@pytest.mark.parametrize("endpoint", [None, "", 0])
def test_no_endpoint_is_the_default_instance(root, endpoint):
    instance = places.resolve(endpoint)
    assert (instance.name, instance.directory) == ("default", root + "/kernel-default")
    assert instance.control_path == root + "/kernel-default/control.sock"


def test_a_private_root_opens_no_port_unless_told_to(root):
    assert not places.resolve().wants_tcp
    assert places.resolve(20202).name == "port-20202"
    assert places.resolve(20202).port == 20202


def test_the_default_root_has_the_published_port(monkeypatch):
    monkeypatch.delenv("PAPA_RUNTIME_DIR", raising=False)
    for endpoint in (None, 20202, "tcp://127.0.0.1:20202"):
        instance = places.resolve(endpoint)
        assert (instance.name, instance.port) == ("default", 20202)
    assert places.resolve(20203).name == "port-20203"


def test_a_port_names_an_instance_in_both_forms(root):
    one, two = places.resolve(30303), places.resolve("tcp://127.0.0.1:30303")
    assert one.name == two.name == "port-30303"
    assert one.directory == two.directory == root + "/kernel-port-30303"
    assert one.port == two.port == 30303


def test_a_path_names_an_instance_in_every_spelling(root):
    spellings = ["/x/y.sock", "ipc:///x/y.sock", "unix:///x/y.sock", "/x//./y.sock"]
    instances = [places.resolve(spelling) for spelling in spellings]
    assert {i.directory for i in instances} == {instances[0].directory}
    assert {i.socket_path for i in instances} == {"/x/y.sock"}
    assert instances[0].name.startswith("path-") and len(instances[0].name) == len("path-") + 8
    assert instances[0].port is None
    assert places.resolve("/x/z.sock").directory != instances[0].directory


@pytest.mark.parametrize(
    "endpoint",
    ["localhost", "x/y", "tcp://0.0.0.0:1", "tcp://127.0.0.1:", "tcp://127.0.0.1:x", 65536, -1, "/x/", "ipc://x",
     "tcp://127.0.0.1:0", "tcp://127.0.0.1:999999"],
)  # fmt: skip
def test_other_endpoints_are_refused_with_the_forms_that_there_are(root, endpoint):
    with pytest.raises(PapaError) as caught:
        places.resolve(endpoint)
    assert caught.value.code == "bad-request"
    assert "tcp://127.0.0.1:PORT" in caught.value.hint


def test_the_root_is_absolute_and_depends_on_the_user(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAPA_RUNTIME_DIR", "here")
    assert places.runtime_root() == str(tmp_path / "here")
    monkeypatch.delenv("PAPA_RUNTIME_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert places.runtime_root() == "/run/papa"
    monkeypatch.setattr(os, "geteuid", lambda: 4242424)
    assert places.runtime_root() == "/tmp/papa-4242424"


def test_a_user_with_a_runtime_directory_of_his_own_lives_there(monkeypatch):
    monkeypatch.delenv("PAPA_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 77)
    real = os.lstat

    def lstat(path, *rest, **named):
        if path == "/run/user/77":
            return os.stat_result((stat.S_IFDIR | 0o700, 1, 1, 1, 77, 77, 0, 0, 0, 0))
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "lstat", lstat)
    assert places.runtime_root() == "/run/user/77/papa"
    monkeypatch.setattr(os, "geteuid", lambda: 78)
    assert places.runtime_root() == "/tmp/papa-78"


def test_a_private_directory_is_made_with_its_parents(tmp_path):
    places.ensure_private_dir(str(tmp_path / "a/b/c"))
    for part in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / part).stat().st_mode) == 0o700
    places.ensure_private_dir(str(tmp_path / "a/b/c"))


def test_open_rights_on_our_own_directory_are_taken_away(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    places.ensure_private_dir(str(tmp_path / "open"))
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700


def test_a_symbolic_link_is_no_private_directory(tmp_path):
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(PapaError) as caught:
            places.ensure_private_dir(str(tmp_path / name))
        assert caught.value.code == "refused"
        assert name in str(caught.value)


def test_a_directory_that_goes_just_before_it_is_opened_is_made_again(tmp_path, monkeypatch):
    """As one does that a kernel which leaves takes along."""
    path, real = str(tmp_path / "state"), os.open
    os.mkdir(path)

    def open_late(*args, **more):
        monkeypatch.undo()
        os.rmdir(path)
        return real(*args, **more)

    monkeypatch.setattr(places.os, "open", open_late)
    os.close(places.open_private_dir(path))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700


def test_a_directory_that_is_not_there_is_not_made_unless_it_shall_be(tmp_path):
    with pytest.raises(FileNotFoundError):
        places.open_private_dir(str(tmp_path / "state"), make=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["/proc/nowhere/deep", "/dev/null/x"])
def test_a_directory_that_cannot_be_made_is_refused(path):
    with pytest.raises(PapaError) as caught:
        places.ensure_private_dir(path)
    assert caught.value.code == "refused"


def test_the_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    (tmp_path / "foreign").mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PapaError) as caught:
        places.ensure_private_dir(str(tmp_path / "foreign"))
    assert caught.value.code == "refused"
    assert "belongs to uid" in str(caught.value)


@pytest.mark.parametrize("depth", [0, 12])
def test_a_long_path_can_be_bound_and_connected(tmp_path, depth):
    directory = tmp_path.joinpath(*["long-directory-name"] * depth)
    directory.mkdir(parents=True, exist_ok=True)
    path = str(directory / "control.sock")
    assert depth == 0 or len(path) > places.MAX_UNIX_PATH
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with places.unix_address(path) as address:
            server.bind(address)
            server.listen()
        with places.unix_address(path) as address:
            client.connect(address)
    assert os.path.exists(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_too_long_for_any_address_is_said_so(tmp_path):
    with pytest.raises(PapaError, match="too long"), places.unix_address(str(tmp_path / ("n" * 120))):
        pass
