"""Who is heard by a real kernel, at its port too, and what those cost who are not, or who send too much."""

from __future__ import annotations

import contextlib
import os
import signal
import socket

import pytest
from tests.house import free_port, own_uid, wait_for
from tests.kernels import Kernel, links_of, state_of

from papa import fdpass, model
from papa.client.blocking import Connection
from papa.errors import PapaError
from papa.wire.session import ClientSession
from papa.wire.text_reply import GREETING

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

#: Far more than may be open at once, far less than ports are left.
MANY = 300


@pytest.fixture
def kernel(runtime_root):
    kernel = Kernel(free_port())
    yield kernel
    # Shown with a failure only.
    print(kernel.log())
    kernel.end()


@contextlib.contextmanager
def asleep(pid):
    """The kernel hears of nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: state_of(pid) == "T", "its sleep")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def as_another(act):
    """Does it in a process of another user, which is then killed; what it yields is held until then."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(own_uid())
            os.setuid(own_uid())
            _kept = act()
            os.kill(os.getpid(), signal.SIGKILL)
        except BaseException as error:
            print("as another:", repr(error), flush=True)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def speak_and_leave(port, how):
    sock = socket.socket()
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"set evil 1\nmake process evil /bin/sleep 1\n")
    if how == "closed":
        sock.close()
    elif how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    elif how == "shut":
        sock.shutdown(socket.SHUT_WR)
    return sock  # else it dies with the connection open


@only_root
@pytest.mark.parametrize("how", ["closed", "reset", "shut", "died"])
def test_a_stranger_who_is_gone_before_it_is_looked_at_is_not_taken_for_root(kernel, how):
    """The end of a connection that nobody has any more is said to be root's."""
    pid = kernel.start()["pid"]
    with asleep(pid):
        as_another(lambda: speak_and_leave(kernel.endpoint, how))
    wait_for(lambda: how == "reset" or "a stranger was refused" in kernel.log(), "its refusal")
    status = kernel.status()
    assert (status["values"], status["processes"], status["faults"]) == (0, 0, 0)


def test_not_even_our_own_word_counts_when_nobody_stands_by_it(kernel):
    pid = kernel.start()["pid"]
    with asleep(pid):
        speak_and_leave(kernel.endpoint, "closed")
    wait_for(lambda: "a stranger was refused: its peer is unknown" in kernel.log(), "its refusal")
    assert kernel.status()["values"] == 0


@only_root
def test_a_crowd_of_strangers_keeps_nobody_out(kernel):
    """They are told apart before they count."""
    kernel.start()
    with Connection(kernel.endpoint, client="before", autostart=False) as connection:
        as_another(lambda: [speak_and_leave(kernel.endpoint, "died") for _ in range(MANY)])
        assert connection.request("ping").ok == {}
        # The last of them are before this one in the queue.
        with socket.create_connection(("127.0.0.1", kernel.endpoint)) as sock:
            sock.settimeout(30)
            assert sock.recv(len(GREETING), socket.MSG_WAITALL) == GREETING
        status = connection.request("status").ok
        assert (status["values"], status["faults"], status["clients"]) == (0, 0, ["before"])
    assert kernel.log().count("a stranger was refused") < 12


@pytest.mark.parametrize("is_framed", [False, True])
def test_descriptors_that_a_client_sends_are_nobodys(kernel, is_framed):
    kernel.start()
    kernel_pid = kernel.status()["pid"]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(kernel.instance.control_path)
        sock.settimeout(30)
        reader, writer = os.pipe()
        given = os.readlink(f"/proc/self/fd/{writer}")
        session = ClientSession()
        words = (
            session.opening() + session.request("set", {"name": "a", "value": "1"})[1] if is_framed else b"set a 1\n"
        )
        for at, byte in enumerate(words):
            # With each byte as many as one message carries.
            fds = [writer] * (fdpass.MAX_FDS if at % 8 == 0 else 0)
            fdpass.send_with_fds(sock, bytes((byte,)), fds)
        os.close(writer)
        wait_for(lambda: kernel.ask("get", name="a")["value"] == "1", "what it said")
        assert given not in links_of(kernel_pid)
        os.set_blocking(reader, False)
        assert os.read(reader, 1) == b""  # nobody else has the other end
        os.close(reader)


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1", b"POST /x HTTP/1.1", b"OPTIONS * HTTP/1.0", b"PRI * HTTP/2.0", b"BREW /pot HTTP/1.1",
        b"POST http://localhost/x", b"M-SEARCH * HTTP/1.1",
    ],
)  # fmt: skip
def test_who_speaks_http_is_sent_away_before_its_body_is_read(kernel, line):
    kernel.start()
    with socket.create_connection(("127.0.0.1", kernel.endpoint)) as sock:
        sock.settimeout(30)
        sock.sendall(line + b"\r\nset evil 1\r\n\r\nset evil 2\r\n")
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while more := sock.recv(4096):
                said += more
    assert (GREETING + b"Error: this is no web server\n").startswith(said)
    assert kernel.ask("get", name="evil") == {"value": None}


def test_each_bound_on_what_is_kept_is_an_error_that_says_which(kernel):
    kernel.start()
    with Connection(kernel.endpoint, client="test", autostart=False) as connection:

        def refused(op, **args):
            with pytest.raises(PapaError) as caught:
                connection.request(op, **args)
            return caught.value.code, caught.value.message

        assert refused("set", name="n" * (model.MAX_NAME + 1), value="")[0] == "bad-request"
        assert str(model.MAX_NAME) in refused("set", name="n" * (model.MAX_NAME + 1), value="")[1]
        code, message = refused("set", name="a", value="x" * (model.MAX_VALUE + 1))
        assert code == "limit" and str(model.MAX_VALUE) in message
        connection.request("commit", values={f"v{number}": "" for number in range(model.MAX_VALUES)})
        code, message = refused("set", name="one-more", value="")
        assert code == "limit" and str(model.MAX_VALUES) in message
        connection.request("set", name="v0", value="another")
        connection.request("remove", what="values", names=["v*"])
        big = "x" * model.MAX_VALUE
        for number in range(model.MAX_VALUES_TOTAL // model.MAX_VALUE - 1):
            connection.request("set", name=f"v{number}", value=big)
        code, message = refused("set", name="one-more", value=big)
        assert code == "limit" and str(model.MAX_VALUES_TOTAL) in message
        code, message = refused("spawn", name="p", argv=["/bin/true"], sockets=[f"s{n}" for n in range(65)])
        assert code == "bad-request" and str(model.MAX_SOCKETS) in message
        # Nothing of this cost anybody anything.
        assert connection.request("status").ok["faults"] == 0
