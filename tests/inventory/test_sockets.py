"""What a socket is: each option of it, seen by the process that got it."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

from tests.house import free_port, opened
from tests.inventory.people import facts, telling


def test_a_socket_is_as_its_options_say(tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / "house"
    folder.mkdir()
    config = (
        telling("user", "use_sockets = true")
        + f"""
[socket:inet]
host = 127.0.0.1
port = {port}
backlog = 17
interface = lo
blocking = true
[socket:six]
family = AF_INET6
host = ::1
port = 0
[socket:datagrams]
type = SOCK_DGRAM
host = 127.0.0.1
port = 0
[socket:path]
path = {folder}/path.sock
umask = 027
[socket:taken]
path = {folder}/taken.sock
replace = true
"""
    )
    with socket.socket(socket.AF_UNIX) as earlier:
        earlier.bind(f"{folder}/taken.sock")
        earlier.listen()
        with opened(folder, config) as house:
            house.start()
            told = list(facts(house, "user")["sockets"].values())
            mode = stat.S_IMODE((folder / "path.sock").stat().st_mode)
    by_name = {str(each["name"]): each for each in told}
    inet = by_name[f"['127.0.0.1', {port}]"]
    assert (inet["backlog"], inet["interface"], inet["blocking"]) == (17, "lo", True)
    assert {each["family"] for each in told} == {"AF_INET", "AF_INET6", "AF_UNIX"}
    (datagrams,) = (each for each in told if each["type"] == "SOCK_DGRAM")
    assert (datagrams["name"][0], datagrams["blocking"]) == ("127.0.0.1", False)
    assert mode == 0o750
    assert f"{folder}/taken.sock" in by_name
