"""The text language against a real kernel, over TCP and over a unix socket: what is sent, and each byte that comes.

A conversation is a list of steps: bytes to send, and what must come, whole and nothing else. In it ``<pid>``,
``<time>``, ``<port>`` stand for numbers, ``<dir>`` for a directory, ``<close>`` for the end of the connection. A step
that is a word alone waits until that process has ended, so that all of it comes in one frame.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket

import pytest
from tests.house import free_port, wait_for

from papa import places
from papa.client.blocking import Connection
from papa.errors import PapaError
from papa.wire.text_help import GENERAL
from papa.wire.text_reply import GREETING

BOUND_S = 30.0

JOB = "job pid=<pid> running=True started=<time> args=/bin/sh -c echo hi; exit 3\n"
MAKE_JOB = r"m p job /bin/sh -c echo\ hi;\ exit\ 3" + "\n"
FRAME = "out:job:<time>:3\nhi\n\nclosed:job:<time>:3\n] "
ECHO = "pid=<pid> running=True started=<time> args=/bin/echo"
ENDED_ECHO = ECHO.replace("True", "False")
FILE = "file family=unix type=stream backlog=5 path=<dir>/x umask=18 fileno=201"
FRONT = "family=inet type=stream backlog=5 host=127.0.0.1 port=<port> fileno=200"

CONVERSATIONS = {
    "a blank line": [("\n", "> "), ("   \r\n", "> ")],
    "values": [
        ("set a 1\n", "\n> "),
        ("set b two  words\n", "\n> "),
        ("list values\n", "a 1\nb two words\n> "),
        ("get b\n", "two words\n> "),
        ("set a\n", "\n> "),
        ("get a\n", "\n> "),
        ("l v x*\n", "\n> "),
        ("r v b nosuch\n", "\n> "),
    ],
    "quit": [("quit\n", "ok\n<close>")],
    "quit, shortened and with more behind it": [("Q\nset a 1\n", "ok\n<close>")],
    "any case, and prefixes": [
        ("LIST Processes\nlIs VAL\nl s\nH QUIT\n", "\n> \n> \n> quit\n  Closes this connection. What papa hosts is "
         "not touched.\n> "),
        ("s a 1\nS A 2\ng a\nG A\nr v a A\n", "\n> \n> 1\n> 2\n> \n> "),
    ],
    "of several commands the first in the alphabet": [
        ("e\nex\nexit-if-idl\n", 'Error: You cannot abbreviate "exit-if-idle"\n> ' * 3),
        ("f\n", 'Error: "frames 1" must be the first line of a connection\n> '),
    ],
    "singular and plural": [
        ("list process\nlist socket\nlist value\n", "\n> \n> \n> "),
        ("make sockets front\n", f"front {FRONT}\n> "),
        ("remove socket front\n", "\n> "),
    ],
    "help": [("help\n", GENERAL + "> "), ("h h\n", GENERAL + "> ")],
    "errors of commands": [
        ("dance\n", 'Error: Unknown command "dance"\n> '),
        ("list\n", 'Error: "list" must be followed by one of: processes, sockets, values\n> '),
        ("list x\n", 'Error: Bad "list" command. The following word must be one of: processes, sockets, values\n> '),
        ("make v\n", 'Error: Bad "make" command. The following word must be one of: process, socket\n> '),
        ("set\nget\n", "Error: Value requires a name\n> " * 2),
        ("m s\n", "Error: Socket requires a name\n> "),
        ("m p\nw p\nw l\n", "Error: Process requires a name\n> " * 3),
        ("m p x\nm p x env.A=1\n", "Error: No command\n> " * 2),
        ("r v\nr v *\nr v a* *\n", "Error: You cannot remove all variables\n> " * 3),
        ("w p nosuch\nr p nosuch\nr s nosuch\nw l nosuch\n", "Error: nosuch not found\n> " * 4),
        ("w p no*\nw l *\n", "Error: Nothing to watch\n> " * 2),
        ("r p no*\nr s no*\nr v no*\n", "\n> \n> \n> "),
        ("r p\n", 'Error: Nothing is named ("remove processes *" removes all)\n> '),
        ("m p x rlimit.bogus=1 a\n", 'Error: Unknown rlimit "bogus"\n> '),
        ("m p x colour=red a\n", 'Error: Unknown option "colour" ("help make process" names them)\n> '),
        ("m p x nosuch\n", "Error: Bad command - x: cannot start: program nosuch is not on the PATH "
         "/bin:/usr/bin (stage exec)\n> "),
        ("m p x working_dir=/nosuch true\n", "Error: Bad working_dir - x: cannot start: working directory "
         "/nosuch does not exist (stage chdir)\n> "),
        ("m p x true $(socket.no.port)\n", "Error: Socket no not found\n> "),
        ("m p x true $(socket.no.port\n", "Error: $(socket.no.port: cannot be replaced (write $(socket.NAME.fileno) "
         "or $(socket.NAME.port))\n> "),
        ("m s x port=abc\n", "Error: port must be a number, not 'abc'\n> "),
        ("m s x path=/tmp/\n", "Error: path '/tmp/' must name a file, not a directory\n> "),
        ("m s x path=tmp\n", "Error: path 'tmp' must be absolute (the kernel's own directory is /)\n> "),
    ],
    "a process": [
        (MAKE_JOB, JOB + "> "),
        "job",
        ("l p\n", JOB.replace("True", "False") + "> "),
        ("r p job\n", "\n> "),
        ("l p\n", "\n> "),
    ],
    "options of a process": [
        ('m p a env.X="two\\ words" env.Y= env.Z=" rlimit.nofile=500 working_dir=/usr stderr=stdout bufsize=64k '
         r'/bin/sh -c echo\ "$X,$Y,$Z";ulimit\ -n;pwd\ >&2' + "\n",
         'a pid=<pid> running=True started=<time> args=/bin/sh -c echo "$X,$Y,$Z";ulimit -n;pwd >&2\n> '),
        "a",
        ("w p a\n\n", "Watching 1\n<out:a>two words,,\"\n<and:a>500\n<and:a>/usr\n<closed:a:0>"
         "Nothing left to watch\n> "),
        ("m p a stdout=0 stderr=0 /bin/echo x\n", f"a {ECHO} x\n> "),
        "a",
        ("w p a\n\n", "Watching 1\nclosed:a:<time>:0\n] Nothing left to watch\n> "),
        ("m p a bufsize=0 /bin/echo x\n", f"a {ECHO} x\n> "),
        "a",
        ("w p a\nq\n", "Watching 1\nclosed:a:<time>:0\n] Stopped watching\n> "),
    ],
    "a shell": [
        (r"m p a shell=1 echo\ $0 b" + "\n", "a pid=<pid> running=True started=<time> shell=True args=echo $0 b\n> "),
        "a",
        ("w p a\n\n", "Watching 1\nout:a:<time>:2\nb\n\nclosed:a:<time>:0\n] Nothing left to watch\n> "),
    ],
    "a user": [
        (f"m p a uid={os.geteuid()} gid={os.getegid()} true\n",
         f"a pid=<pid> running=True started=<time> uid={os.geteuid()} gid={os.getegid()} args=true\n> "),
        ("m p b uid=nobody true\n", "Error: uid must be a number, not 'nobody' (the kernel reads no user database; "
         "papa's Python client looks names up)\n> "),
        ("r p a\n", "\n> "),
    ],
    "words": [
        (r"m p a /bin/echo   one  two\ three\  four \ five" + "\n", f"a {ECHO} one two three four five\n> "),
        "a",
        ("w p a\n\n", "Watching 1\nout:a:<time>:24\none two three four five\n\nclosed:a:<time>:0\n] "
         "Nothing left to watch\n> "),
    ],
    "wildcards": [
        ("m p a.1 /bin/echo\nm p a.2 /bin/echo\nm p b /bin/echo\n",
         f"a.1 {ECHO}\n> a.2 {ECHO}\n> b {ECHO}\n> "),
        "a.1", "a.2", "b",
        ("l p a.* nosuch\n", f"a.1 {ENDED_ECHO}\na.2 {ENDED_ECHO}\n> "),
        ("w p a.*\nq\n", "Watching 2\n<out:a.1>\n<closed:a.1:0><out:a.2>\n<closed:a.2:0>Stopped watching\n> "),
        ("r p *\n", "\n> "),
    ],
    "made again": [
        (r"m p s /bin/sleep 1000" + "\n", "s pid=<pid> running=True started=<time> args=/bin/sleep 1000\n> "),
        (r"m p s /bin/sleep 1000" + "\n", "s pid=<pid> running=True started=<time> args=/bin/sleep 1000\n> "),
        (r"m p s /bin/sleep 1001" + "\n", "Error: Process for s has already been created - s pid=<pid> running=True "
         "started=<time> args=/bin/sleep 1000\n> "),
        ("r p s\n", "\n> "),
        ("m s front\nm s front\n", f"front {FRONT}\n> front {FRONT}\n> "),
        ("m s front port=1\n", f"Error: Socket for front has already been created - front {FRONT}\n> "),
        ("r s front\n", "\n> "),
    ],
    "sockets": [
        ("m s front family=inet6 type=stream backlog=7 host=::1 port=0\n",
         "front family=inet6 type=stream backlog=7 host=::1 port=<port> fileno=200\n> "),
        ("m s file path=<dir>/x umask=022\n", f"{FILE}\n> "),
        ("m s twin path=<dir>/x\n", f"Error: Socket for <dir>/x has already been created - {FILE}\n> "),
        ("m s shared reuseport=1\n", "shared family=inet type=stream backlog=5 host=127.0.0.1 port=<port> "
         "reuseport=1\n> "),
        ("l s file\n", f"{FILE}\n> "),
        ("m p a /bin/echo $(socket.front.fileno),$(socket.file.fileno)\n",
         f"a {ECHO} $(socket.front.fileno),$(socket.file.fileno)\n> "),
        "a",
        ("w p a\n\n", "Watching 1\nout:a:<time>:8\n200,201\n\nclosed:a:<time>:0\n] Nothing left to watch\n> "),
        ("m p a /bin/echo $(socket.file.port)\n", "Error: $(socket.file.port): the socket file has no port\n> "),
        ("r s *\nl s\n", "\n> \n> "),
    ],
    "names": [
        ("set a:b 1\n", "Error: name 'a:b' must be printable, without white space and without ':'\n> "),
        ("set a\\ b 1\n", "Error: name 'a b' must be printable, without white space and without ':'\n> "),
        ("set a* 1\n", "Error: name 'a*' must not end in '*', which makes a pattern\n> "),
        ("set a\0b 1\n", "Error: name 'a\\x00b' must be printable, without white space and without ':'\n> "),
        ("m p a:b true\n", "Error: name 'a:b' must be printable, without white space and without ':'\n> "),
        ("m s \\\n", "Error: name must not be empty\n> "),
        (f"set {'x' * 256} 1\n", f"Error: name '{'x' * 40}'... is longer than 255 bytes\n> "),
        ("set ä 1\nget ä\nr v ä\n", "\n> 1\n> \n> "),
    ],
    "a watch": [
        (MAKE_JOB, JOB + "> "),
        "job",
        ("w p job\n", "Watching 1\n" + FRAME),
        ("whatever\n", "Nothing left to watch\n> "),
        ("l p\n", "\n> "),
    ],
    "a watch that is acknowledged ahead": [
        (MAKE_JOB, JOB + "> "),
        "job",
        ("watch process job\n\nlist processes\n", "Watching 1\n" + FRAME + "Nothing left to watch\n> \n> "),
    ],
    "a watch that is stopped": [
        (r"m p s /bin/sleep 1000" + "\n", "s pid=<pid> running=True started=<time> args=/bin/sleep 1000\n> "),
        ("w p s\nQ\n", "Watching 1\nStopped watching\n> "),
        (r"m p s watch=1 /bin/sleep 1000" + "\nq\n", "s pid=<pid> running=True started=<time> args=/bin/sleep 1000\n"
         "Stopped watching\n> "),
        ("r p s\n", "\n> "),
    ],
    "lines": [
        (r"m p job /bin/sh -c echo\ hi;\ printf\ end;\ kill\ -9\ $$" + "\n",
         "job pid=<pid> running=True started=<time> args=/bin/sh -c echo hi; printf end; kill -9 $$\n> "),
        "job",
        ("w l job\n", "Watching 1. Press Enter to stop.\n<date><clock> job out| hi\n<clock> job out| end\n"
         "<clock> job was killed by SIGKILL (9)\nNothing left to watch\n> "),
        ("w p job\nq\n", "Watching 1\n<out:job>hi\n<and:job>end<closed:job:-9>Stopped watching\n> "),
    ],
    "the web": [("GET / HTTP/1.1\nset a 1\n", "Error: this is no web server\n<close>")],
    "telnet": [("\udcff\udcfd\3get\udcff\udcf1 a\n", "\udcff\udcfc\3\n> ")],
    "frames": [("help\nframes 1\n", GENERAL + '> Error: "frames 1" must be the first line of a connection\n> ')],
}  # fmt: skip

HOLES = {
    "<pid>": r"\d+",
    "<time>": r"\d+\.\d+",
    "<port>": r"\d+",
    "<clock>": r"\d\d:\d\d:\d\d\.\d{3}",
    "<date>": r"--- \d{4}-\d\d-\d\d \w+\n",
    "<close>": r"<close>",
}


class Person:
    """One connection to the kernel."""

    def __init__(self, address: str | int) -> None:
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(address)
        else:
            self.sock = socket.create_connection(("127.0.0.1", address))
        self.sock.settimeout(BOUND_S)
        self.heard = ""
        assert self.hears(GREETING.decode())

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_what: object) -> None:
        self.sock.close()

    def says(self, text: str) -> None:
        self.sock.sendall(text.encode("utf-8", "surrogateescape"))

    def hears(self, expected: str) -> bool:
        """Whether exactly this comes next. A frame may come in parts, each of which is acknowledged by a line sent."""
        pattern = re.escape(expected)
        for hole, fitting in HOLES.items():
            pattern = pattern.replace(re.escape(hole), fitting)
        # What a process wrote may come in one frame or in several.
        pattern = re.sub(r"<(out|err):(\S+?)>", r"(?:\\] )?\1:\2:[\\d.]+:\\d+\\n", pattern)
        pattern = re.sub(r"<and:(\S+?)>", r"(?:\\nout:\1:[\\d.]+:\\d+\\n)?", pattern)
        pattern = re.sub(r"<closed:(\S+?):(-?\d+|\\-\d+)>", r"\\n(?:\\] )?closed:\1:[\\d.]+:\2\\n(?:\\] )?", pattern)
        while not re.fullmatch(pattern, self.heard):
            try:
                data = self.sock.recv(4096).decode("utf-8", "surrogateescape")
            except TimeoutError:
                data = "<nothing more>"
            self.heard += data or "<close>"
            if "<nothing more>" in self.heard or (not data and not re.fullmatch(pattern, self.heard)):
                raise AssertionError(f"\nexpected: {expected!r}\n   heard: {self.heard!r}")
        self.heard = ""
        return True


@pytest.fixture
def kernel(runtime_root):
    """A kernel at a port of its own: the port, and the path of its control socket."""
    port = free_port()
    Connection(port, client="test").close()
    yield port, places.resolve(port).control_path
    try:
        with Connection(port, client="test", autostart=False) as connection:
            for row in connection.request("list", what="processes").ok["items"]:
                if row["running"]:
                    with contextlib.suppress(ProcessLookupError):  # it has ended since
                        os.kill(row["pid"], 9)
            connection.request("exit", force=True)
    except PapaError:
        pass
    wait_for(lambda: not os.listdir(runtime_root), "the kernel does not end")


def has_ended(watcher: Connection, name: str) -> bool:
    (row,) = watcher.request("list", what="processes", patterns=[name]).ok["items"]
    return not row["running"] and not any(stream["open"] for stream in row["streams"].values())


def head(watcher: Connection, name: str) -> int:
    (row,) = watcher.request("list", what="processes", patterns=[name]).ok["items"]
    return int(row["streams"]["out"]["head"])


def end_all(watcher: Connection) -> None:
    """What a conversation removed while it ran; then the kernel is as it was."""
    for row in watcher.request("list", what="processes").ok["items"]:
        if row["running"]:
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(row["pid"], 9)


@pytest.mark.parametrize("door", ["tcp", "unix"])
def test_each_command_is_answered_with_its_exact_bytes(kernel, tmp_path, door):
    address = kernel[door == "unix"]
    with Connection(kernel[0], client="test") as watcher:
        for name, steps in CONVERSATIONS.items():
            with Person(address) as person:
                for step in steps:
                    if isinstance(step, str):
                        wait_for(lambda name=step: has_ended(watcher, name), f"{step} does not end")
                        continue
                    said, expected = (text.replace("<dir>", str(tmp_path)) for text in step)
                    person.says(said)
                    try:
                        person.hears(expected)
                    except AssertionError as error:
                        raise AssertionError(f"{name}: after {said!r}: {error}") from None
                if not expected.endswith("<close>"):
                    person.says("quit\n")
                    assert person.hears("ok\n<close>"), name
            end_all(watcher)
            left = watcher.request("status").ok
            assert (left["values"], left["sockets"], left["faults"]) == (0, 0, 0), name


@pytest.mark.parametrize("how", ["hangs up", "breaks off"])
def test_what_is_not_acknowledged_is_shown_to_the_next(kernel, how):
    with Connection(kernel[0], client="test") as watcher, Person(kernel[0]) as first, Person(kernel[1]) as second:
        first.says(MAKE_JOB)
        first.hears(JOB + "> ")
        wait_for(lambda: has_ended(watcher, "job"), "job does not end")
        first.says("w p job\n")
        first.hears("Watching 1\n" + FRAME)
        if how == "hangs up":
            first.sock.close()
        else:
            first.sock.sendall(b"\xff\xf4")
            first.hears("Stopped watching\n> ")
        second.says("w p job\nq\n")
        second.hears("Watching 1\n" + FRAME + "Stopped watching\n> ")
        second.says("l p\n")
        second.hears("\n> ")


def test_a_process_can_be_watched_from_its_start(kernel):
    with Person(kernel[0]) as person:
        person.says(r"m p job watch=1 /bin/sh -c echo\ hi;\ exit\ 3" + "\n")
        shown = ""
        while not shown.endswith("\n> "):
            shown += person.sock.recv(4096).decode()
            if shown.endswith("] "):
                person.says("\n")
        person.heard = shown
        person.hears(JOB + "<out:job>hi\n<closed:job:3>Nothing left to watch\n> ")


def test_a_line_that_comes_before_a_frame_acknowledges_that_one_only(kernel, tmp_path):
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    with Person(kernel[0]) as first, Person(kernel[1]) as second:
        first.says(rf"m p job shell=1 while\ read\ x;\ do\ echo\ $x;\ done\ <{tmp_path}/gate" + "\n")
        made = f"args=while read x; do echo $x; done <{tmp_path}/gate\n> "
        first.hears("job pid=<pid> running=True started=<time> shell=True " + made)
        first.says("w p job\n\n")
        first.hears("Watching 1\n")
        # The line has been taken before the process is let go.
        second.says("get nosuch\n")
        second.hears("\n> ")
        os.write(gate, b"one\n")
        first.hears("out:job:<time>:4\none\n\n] ")
        os.write(gate, b"two\n")
        first.hears("out:job:<time>:4\ntwo\n\n] ")
        os.write(gate, b"six\n")
        # Nothing comes before the second is acknowledged.
        with Connection(kernel[0], client="test") as watcher:
            wait_for(lambda: head(watcher, "job") == 12, "the last word does not arrive")
        second.says("get nosuch\n")
        second.hears("\n> ")
        assert not select.select([first.sock], [], [], 0)[0]
        first.says("\n")
        first.hears("out:job:<time>:4\nsix\n\n] ")
        first.says("q\n")
        first.hears("Stopped watching\n> ")
    os.close(gate)


def test_telnets_urgent_bytes_stay_in_their_place(kernel):
    with Person(kernel[0]) as person:
        # IAC DM, of which the last byte is urgent (RFC 854, "the Telnet Synch signal").
        person.sock.send(b"\xff\xf2", socket.MSG_OOB)
        person.says("get a\n")
        person.hears("\n> ")


def test_exit_if_idle_closes_and_ends_the_kernel(kernel, runtime_root):
    with Person(kernel[0]) as person:
        person.says("set a 1\nexit-if-idle\nset a\nEXIT-IF-IDLE\nset a 1\n")
        person.hears("\n> not idle\n> \n> Exiting papa!\n> <close>")
    wait_for(lambda: not os.listdir(runtime_root), "the kernel does not end")


def test_exit_if_idle_waits_for_the_others_and_whoever_comes_keeps_the_kernel(kernel, runtime_root):
    with Person(kernel[0]) as first:
        with Person(kernel[0]) as second:
            second.says("exit-if-idle\n")
            second.hears("Exiting papa!\n> <close>")
        with Person(kernel[1]) as another:
            another.says("quit\n")
            another.hears("ok\n<close>")
        first.says("quit\n")
        first.hears("ok\n<close>")
    with Person(kernel[0]) as third:
        third.says("exit-if-idle\n")
        third.hears("Exiting papa!\n> <close>")
    wait_for(lambda: not os.listdir(runtime_root), "the kernel does not end")


def test_exit_if_idle_is_off_when_somebody_else_has_something_hosted_meanwhile(kernel):
    with Person(kernel[0]) as first:
        with Person(kernel[0]) as second:
            second.says("exit-if-idle\n")
            second.hears("Exiting papa!\n> <close>")
        first.says("set a 1\n")
        first.hears("\n> ")
    with Person(kernel[0]) as third:
        third.says("get a\nset a\n")
        third.hears("1\n> \n> ")
