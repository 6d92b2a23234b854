from __future__ import annotations

import os
import socket
import stat

import pytest

from papa.kernel.doors import Doors
from papa.places import Instance


@pytest.fixture
def doors(tmp_path):
    doors = Doors()
    yield doors
    doors.remove()


def reach(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))


def test_the_control_socket_is_for_us_alone_and_can_be_reached(doors, tmp_path):
    doors.open(Instance("x", str(tmp_path)))
    assert stat.S_IMODE(os.stat(tmp_path / "control.sock").st_mode) == 0o600
    reach(tmp_path / "control.sock")
    assert len(doors.listeners) == 1
    assert doors.warnings == []
    assert os.listdir(tmp_path) == ["control.sock"]


def test_the_socket_of_a_killed_kernel_is_replaced(doors, tmp_path):
    for name in ("control.sock", "control.sock.new", "control.sock.hidden"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / name))
    doors.open(Instance("x", str(tmp_path)))
    reach(tmp_path / "control.sock")
    assert os.listdir(tmp_path) == ["control.sock"]


def test_without_a_control_socket_there_is_no_kernel(doors, tmp_path):
    with pytest.raises(FileNotFoundError):
        doors.open(Instance("x", str(tmp_path / "gone")))
    assert doors.listeners == []


def test_an_extra_path_is_taken_over_from_the_dead(doors, tmp_path):
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "extra"))
    doors.open(Instance("x", str(tmp_path / "state"), socket_path=str(tmp_path / "extra")))
    reach(tmp_path / "extra")
    assert doors.warnings == []


def test_an_extra_path_is_never_taken_from_the_living(doors, tmp_path):
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(tmp_path / "extra"))
        living.listen(0)
        inode = os.stat(tmp_path / "extra").st_ino
        # Its backlog is full, which does not make it dead.
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(tmp_path / "extra"))
            doors.open(Instance("x", str(tmp_path / "state"), socket_path=str(tmp_path / "extra")))
    assert len(doors.listeners) == 1
    assert "something else is there" in doors.warnings[0]
    doors.remove()
    assert os.stat(tmp_path / "extra").st_ino == inode


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_an_extra_path_of_another_kind_is_left_alone(doors, tmp_path, kind):
    (tmp_path / "state").mkdir()
    extra = tmp_path / "extra"
    if kind == "file":
        extra.write_text("precious")
    elif kind == "link":
        extra.symlink_to("state")
    else:
        extra.mkdir()
    doors.open(Instance("x", str(tmp_path / "state"), socket_path=str(extra)))
    assert len(doors.warnings) == 1
    assert os.path.lexists(extra)


def test_an_extra_path_in_a_directory_that_is_missing_is_a_warning(doors, tmp_path):
    doors.open(Instance("x", str(tmp_path), socket_path=str(tmp_path / "gone/extra")))
    assert "No such file" in doors.warnings[0]
    reach(tmp_path / "control.sock")


def test_a_taken_port_is_a_warning_and_a_free_one_is_opened_on_loopback(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        doors = Doors()
        doors.open(Instance("x", str(tmp_path), port=port))
        assert f"127.0.0.1:{port}: cannot listen: Address already in use" in doors.warnings[0]
        assert len(doors.listeners) == 1
        doors.remove()
    doors = Doors()
    doors.open(Instance("x", str(tmp_path), port=port))
    assert doors.listeners[1].getsockname() == ("127.0.0.1", port)
    socket.create_connection(("127.0.0.1", port)).close()
    doors.remove()


def test_hidden_doors_cannot_be_found_until_they_are_shown(doors, tmp_path):
    (tmp_path / "state").mkdir()
    doors.open(Instance("x", str(tmp_path / "state"), socket_path=str(tmp_path / "extra")))
    doors.hide()
    for path in (tmp_path / "state/control.sock", tmp_path / "extra"):
        with pytest.raises(FileNotFoundError):
            reach(path)
    doors.show()
    for path in (tmp_path / "state/control.sock", tmp_path / "extra"):
        reach(path)


def test_what_cannot_be_hidden_is_no_reason_to_end(doors, tmp_path, capfd):
    doors.open(Instance("x", str(tmp_path)))
    os.unlink(tmp_path / "control.sock")
    doors.hide()
    doors.show()
    assert "cannot be renamed" in capfd.readouterr().err


def test_removed_doors_leave_what_somebody_else_has_put_there(doors, tmp_path):
    doors.open(Instance("x", str(tmp_path)))
    os.rename(tmp_path / "control.sock", tmp_path / "aside")
    (tmp_path / "control.sock").write_text("of somebody else")
    doors.remove()
    assert (tmp_path / "control.sock").read_text() == "of somebody else"
