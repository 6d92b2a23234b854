"""What a client may wish of a process besides its program: a real host starts it, and it says itself what it got."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from papa.errors import PapaError
from papa.kernel.spawn import Launcher
from papa.model import ProcessSpec

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
SPEC = {"env": {"PATH": "/usr/bin:/bin"}}
NOBODY = 65534

#: Serves one connection with a socket that was handed over as systemd does it.
SERVER = """
import os, socket
assert int(os.environ["LISTEN_PID"]) == os.getpid()
numbers = range(3, 3 + int(os.environ["LISTEN_FDS"]))
found = dict(zip(os.environ["LISTEN_FDNAMES"].split(":"), numbers))
for name in sorted(found):
    connection = socket.socket(fileno=found[name]).accept()[0]
    connection.sendall(name.encode())
"""

LISTEN_NAMES = ["LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID"]

#: Every descriptor but the one by which they are listed, and the variables of above.
LISTING = """
import os
with os.scandir("/proc/self/fd") as entries:
    numbers = {int(entry.name) for entry in entries}
for number in sorted(numbers):
    try: os.fstat(number)
    except OSError: continue
    print(number)
print(*sorted(name for name in os.environ if name.startswith("LISTEN_")))
"""


@pytest.fixture(params=["full", "portable"])
def host(request, hosted):
    return hosted(tier=request.param)


@pytest.fixture
def peer(host):
    return host.connect()


def said_by(peer, *argv, **more):
    """All that it says, once it has ended and its name is free again."""
    number = peer.request("spawn", name="web", argv=list(argv), owner="me", **{**SPEC, **more})["id"]
    assert peer.event("exit")["id"] == number
    return peer.read_all(number, "out")


def told_by(peer, script, **more):
    return said_by(peer, "/bin/sh", "-c", script, **more).decode().split()


def test_niceness_and_worth_in_need_of_memory_are_the_processs_alone(host, peer):
    script = "cut -d' ' -f19 /proc/$$/stat; cat /proc/$$/oom_score_adj"
    before = _own(host.pid)
    assert told_by(peer, script, nice=7, oom_score_adj=321) == ["7", "321"]
    assert _own(host.pid) == before
    assert tuple(told_by(peer, script)) == before


def _own(pid):
    with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/oom_score_adj") as score:
        return stat.read().rpartition(")")[2].split()[16], score.read().strip()


@needs_root
def test_a_process_of_another_user_has_them_too(peer):
    script = "id -u; cut -d' ' -f19 /proc/$$/stat; cat /proc/$$/oom_score_adj"
    assert told_by(peer, script, nice=3, oom_score_adj=5, uid=NOBODY, gid=NOBODY) == [str(NOBODY), "3", "5"]


@needs_root
@pytest.mark.parametrize("wish", [{"nice": -20}, {"oom_score_adj": -1000}])
def test_what_only_root_may_wish_is_refused_with_its_stage(wish):
    """In a child that gave up root itself."""
    (stage,) = wish
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            spec = ProcessSpec.parse({"name": "web", "argv": ["/bin/true"], **wish})
            Launcher((1024, 1024)).start(spec, ["/bin/true"])
        except PapaError as error:
            is_right = error.details == {"stage": stage, "errno": errno.EACCES} and "only root" in error.hint
            os._exit(42 if is_right and f"{stage} {wish[stage]}: " in error.message else 1)
        except BaseException:
            os._exit(2)
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_sockets_are_handed_over_as_service_managers_do_it_too(peer, tmp_path):
    port = peer.request("listen", name="front")["port"]
    path = str(tmp_path / "back.sock")
    peer.request("listen", name="back", path=path, blocking=True)
    peer.request("listen", name="other")
    argv = ["/usr/bin/python3", "-I", "-S", "-c", SERVER]
    peer.request("spawn", name="web", argv=argv, sockets=["front", "back"], listen_fds=True, owner="me", **SPEC)
    with socket.socket(socket.AF_UNIX) as back, socket.create_connection(("127.0.0.1", port)) as front:
        back.connect(path)
        front.settimeout(30)
        back.settimeout(30)
        assert (back.recv(9), front.recv(9)) == (b"back", b"front")
    assert peer.event("exit")["status"] == 0


@pytest.mark.parametrize("way", [{}, {"rlimits": {"cpu": [600, None]}}])
def test_only_what_is_named_is_open_in_the_process_and_it_is_told_only_on_demand(peer, way):
    for name in ("front", "other"):
        peer.request("listen", name=name)

    def found(**more):
        return said_by(peer, "/usr/bin/python3", "-I", "-S", "-c", LISTING, **way, **more).decode().split()

    assert found() == ["0", "1", "2"]
    assert found(sockets=["front"]) == ["0", "1", "2", "200"]
    assert found(sockets=["other"], listen_fds=True) == ["0", "1", "2", "3", "201", *LISTEN_NAMES]
    assert found(listen_fds=True) == ["0", "1", "2"]


def test_numbers_and_listen_descriptors_are_the_same_sockets(peer):
    for name in ("front", "back"):
        peer.request("listen", name=name)
    script = "for fd in 3 4 201 200; do readlink /proc/$$/fd/$fd; done; echo $LISTEN_FDNAMES"
    *links, names = told_by(peer, f"{script} # $(socket.front.fileno)", sockets=["back"], listen_fds=True)
    assert links[:2] == links[2:] and len(set(links)) == 2
    assert names == "back:front"


def test_a_process_with_the_variables_of_its_parent_is_told_its_own(peer):
    """A kernel's client may have been started by a service manager itself, and pass its environment on."""
    peer.request("listen", name="front")
    inherited = {**SPEC["env"], "LISTEN_PID": "1", "LISTEN_FDS": "9", "LISTEN_FDNAMES": "x"}
    script = "echo $$ $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES"
    own, pid, *rest = told_by(peer, script, env=inherited, sockets=["front"], listen_fds=True)
    assert own == pid and rest == ["1", "front"]
    assert told_by(peer, script, env=inherited)[1:] == ["1", "9", "x"]


@pytest.mark.parametrize(
    "value",
    ["a\nb\n\nc", "", "=", "a=b=c", "trails  ", " leads", "\\", "'\"$(x)`", "\t\r\x01\x7f", "\udcff\udc80", "ü"],
)
def test_a_variable_arrives_byte_for_byte(peer, value):
    said = said_by(peer, "/bin/cat", "/proc/self/environ", env={"A": value, "ü b": "1"})
    assert said == b"A=" + os.fsencode(value) + b"\0" + "ü b=1".encode() + b"\0"


@needs_root
def test_the_groups_are_those_that_are_said_and_none_of_the_kernels(hosted):
    before = os.getgroups()
    os.setgroups([4, 5])
    try:
        peer = hosted().connect()
    finally:
        os.setgroups(before)
    script = "id -u; id -g; grep Groups: /proc/$$/status"
    said = told_by(peer, script, uid=NOBODY, gid=NOBODY, groups=[7, 70000])
    assert said == [str(NOBODY), str(NOBODY), "Groups:", "7", "70000"]
    assert told_by(peer, script, uid=NOBODY, gid=NOBODY, groups=[]) == [str(NOBODY), str(NOBODY), "Groups:"]


def test_a_request_serves_through_its_standard_input(peer):
    port = peer.request("listen", name="front", blocking=True)["port"]
    program = "import socket; socket.socket(fileno=0).accept()[0].sendall(b'here')"
    argv = ["/usr/bin/python3", "-I", "-S", "-c", program]
    peer.request("spawn", name="web", argv=argv, stdin={"socket": "front"}, owner="me", **SPEC)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(30)
        assert client.recv(9) == b"here"
    assert peer.event("exit")["status"] == 0
