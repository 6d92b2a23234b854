from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papa.errors import PapaError
from papa.model import ProcessSpec, SocketSpec
from papa.wire import text
from papa.wire.messages import Request


def parse(line: str) -> tuple[str, dict]:
    request = text.parse_line(line)
    assert isinstance(request, Request)
    assert request.line == line
    assert request.id is None
    return request.op, request.args


def error_of(line: str) -> str:
    with pytest.raises(PapaError) as caught:
        text.parse_line(line)
    return caught.value.message


@pytest.mark.parametrize("line", ["list processes", "l p", "LIST PROC", "lis process", "  l   p  "])
def test_commands_and_second_words_can_be_shortened(line):
    assert parse(line) == ("list", {"what": "processes", "patterns": []})


@pytest.mark.parametrize(
    ("line", "op", "args"),
    [
        ("l s circus.*", "list", {"what": "sockets", "patterns": ["circus.*"]}),
        ("list socket a b", "list", {"what": "sockets", "patterns": ["a", "b"]}),
        ("l v", "list", {"what": "values", "patterns": []}),
        ("r p a b*", "remove", {"what": "processes", "names": ["a", "b*"]}),
        ("r s *", "remove", {"what": "sockets", "names": ["*"]}),
        ("r v a*", "remove", {"what": "values", "names": ["a*"]}),
        ("w p a", "watch", {"names": ["a"], "lines": False}),
        ("w l a b*", "watch", {"names": ["a", "b*"], "lines": True}),
        ("watch line a", "watch", {"names": ["a"], "lines": True}),
        ("set name a value", "set", {"name": "name", "value": "a value"}),
        ("set name", "set", {"name": "name", "value": None}),
        ("s x y\\ z", "set", {"name": "x", "value": "y z"}),
        ("get name", "get", {"name": "name"}),
        ("g name", "get", {"name": "name"}),
        ("exit-if-idle", "exit", {}),
        ("EXIT-IF-IDLE", "exit", {}),
        ("quit", "quit", {}),
        ("q", "quit", {}),
    ],
)
def test_a_command_becomes_the_request_that_frames_know(line, op, args):
    assert parse(line) == (op, args)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bogus", 'Unknown command "bogus"'),
        ("e", 'You cannot abbreviate "exit-if-idle"'),
        ("exit", 'You cannot abbreviate "exit-if-idle"'),
        ("list", '"list" must be followed by one of: processes, sockets, values'),
        ("l x", 'Bad "list" command. The following word must be one of: processes, sockets, values'),
        ("m", '"make" must be followed by one of: process, socket'),
        ("m values", 'Bad "make" command. The following word must be one of: process, socket'),
        ("watch sockets", 'Bad "watch" command. The following word must be one of: lines, processes'),
        ("\\", 'Unknown command ""'),
        ("list \\", 'Bad "list" command. The following word must be one of: processes, sockets, values'),
        ("x" * 100, f'Unknown command "{"x" * 64}..."'),
        ("m p x rlimit.colour=1 prog", 'Unknown rlimit "colour"'),
        ("set", "Value requires a name"),
        ("get", "Value requires a name"),
        ("make socket", "Socket requires a name"),
        ("make process", "Process requires a name"),
        ("watch processes", "Process requires a name"),
        ("remove values", "You cannot remove all variables"),
        ("remove values *", "You cannot remove all variables"),
        ("remove values a* *", "You cannot remove all variables"),
        ("remove processes", "Nothing is named"),
        ("m p x", "No command"),
        ("m p x colour=red prog", 'Unknown option "colour"'),
        ("m s x colour=red", 'Unknown option "colour"'),
        ("m s x prog", 'Bad option "prog"'),
        ("m s x port=abc", "port must be a number, not 'abc'"),
        ("m s x umask=9z", "umask must be a mode like 022, not '9z'"),
        ("m p x uid=root prog", "uid must be a number, not 'root'"),
        ("m p x bufsize=lots prog", "bufsize must be a number, not 'lots'"),
        ("m p x stdout=2 prog", "stdout must be 0 or 1, not '2'"),
        ("m p x stderr=x prog", "stderr must be 0 or 1, not 'x'"),
        ("m p x rlimit.nofile=x prog", "rlimit.nofile must be a number, not 'x'"),
        ("frames 1", '"frames 1" must be the first line of a connection'),
    ],
)
def test_what_is_wrong_with_a_command_is_said(line, message):
    assert error_of(line) == message


@pytest.mark.parametrize("line", ["", "   ", "\t"])
def test_a_blank_line_asks_for_nothing(line):
    assert text.parse_line(line) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a b", ["a", "b"]),
        ("  a   b ", ["a", "b"]),
        ("a\\ b c", ["a b", "c"]),
        ("a\\  b", ["a b"]),
        ("a\\ b\\ c", ["a b c"]),
        ("a\\", ["a"]),
        ("a\tb", ["a\tb"]),
    ],
)
def test_words_are_joined_by_a_backslash(line, words):
    assert text.split_words(line) == words


def test_a_process_is_made_with_options_before_the_program():
    line = (
        "m p web uid=5 gid=6 working_dir=/srv bufsize=64k stdout=0 stderr=1 env.A=1 env.B= "
        'env.C="two\\ words" rlimit.NOFILE=10 /bin/prog a=b -x'
    )
    request = text.parse_line(line)
    assert isinstance(request, Request)
    assert request.op == "spawn"
    assert not request.watch
    spec = ProcessSpec.parse(request.args)
    assert spec.name == "web"
    assert (spec.uid, spec.gid, spec.cwd, spec.bound) == (5, 6, "/srv", 64 * 1024)
    assert (spec.stdout, spec.stderr) == ("null", "capture")
    assert spec.env == {"A": "1", "B": "", "C": "two words"}
    assert spec.rlimits == {"nofile": (10, 10)}
    assert spec.argv == ("/bin/prog", "a=b", "-x")


def test_a_process_without_options_keeps_both_streams_and_gets_no_environment():
    spec = ProcessSpec.parse(parse("make process x prog")[1])
    assert (spec.captured, spec.env, spec.argv) == (("out", "err"), {}, ("prog",))


@pytest.mark.parametrize(("size", "number"), [("14", 14), ("2M", 2**21), ("1g", 2**30), ("3k", 3072)])
def test_a_buffer_size_takes_a_suffix(size, number):
    assert parse(f"m p x bufsize={size} prog")[1]["bound"] == number


def test_a_buffer_of_nothing_means_that_nothing_is_kept():
    assert ProcessSpec.parse(parse("m p x bufsize=0 prog")[1]).captured == ()


def test_standard_error_can_be_joined_with_standard_output():
    assert parse("m p x stderr=stdout prog")[1]["stderr"] == "stdout"


def test_a_shell_gets_the_words():
    assert parse("m p x shell=1 echo\\ $HOME")[1]["argv"] == ["/bin/sh", "-c", "echo $HOME"]
    assert parse("m p x shell=1 true")[1]["meta"] == {"shell": True}
    assert parse("m p x shell= prog")[1]["argv"] == ["prog"]
    assert "meta" not in parse("m p x shell= prog")[1]


def test_a_name_is_taken_until_its_last_words_are_read():
    assert parse("m p x prog")[1]["finds_dead"] is True


def test_a_socket_blocks_as_programs_of_text_expect():
    assert parse("m s x")[1]["blocking"] is True


@pytest.mark.parametrize(("option", "watch"), [("watch=1", True), ("watch=0", False), ("watch=", False)])
def test_a_new_process_can_be_watched_at_once(option, watch):
    request = text.parse_line(f"m p x {option} prog")
    assert isinstance(request, Request)
    assert request.watch is watch


def test_a_socket_is_made_with_options():
    op, args = parse("m s web family=INET type=Stream backlog=7 host=0.0.0.0 port=80 interface=lo reuseport=1")
    assert op == "listen"
    spec = SocketSpec.parse(args)
    assert (spec.family, spec.type, spec.backlog) == ("inet", "stream", 7)
    assert (spec.host, spec.port, spec.interface, spec.reuseport) == ("0.0.0.0", 80, "lo", True)


def test_a_socket_has_the_documented_backlog():
    assert SocketSpec.parse(parse("m s web")[1]).backlog == 5


@pytest.mark.parametrize(("written", "mode"), [("022", 0o22), ("0o27", 0o27), ("18", 18), ("0", 0)])
def test_a_mode_is_octal_as_people_write_it_and_decimal_as_clients_send_it(written, mode):
    spec = SocketSpec.parse(parse(f"m s web path=/run/x umask={written}")[1])
    assert (spec.family, spec.umask) == ("unix", mode)


def test_help_is_found_by_shortened_words():
    def help_for(line: str) -> str:
        found = text.parse_line(line)
        assert isinstance(found, text.Help)
        return found.text

    assert help_for("help").startswith("Papa hosts")
    assert help_for("h make p").startswith("make process")
    assert help_for("h m sockets").startswith("make socket")
    assert help_for("help l").startswith("list")
    assert help_for("help help") == help_for("help h") == help_for("help \\") == help_for("help")
    assert "watch lines" in help_for("help w") and "watch processes" in help_for("help w")
    assert "make process" in help_for("help make") and "make socket" in help_for("help make")
    for nonsense in ("nonsense", "make values", "l\tp"):
        assert help_for(f"help {nonsense}").startswith("There is no help for it; this is all:\nPapa hosts")
    for command in text.COMMANDS:
        if command != "help":
            assert command.split()[0] in help_for(f"help {command}").split("\n")[0]


@pytest.mark.parametrize(
    "line",
    ["GET / HTTP/1.1", "POST /x HTTP/1.0", "PUT * HTTP/1.1", "CONNECT localhost:20202 HTTP/1.1", "GET /",
     "PRI * HTTP/2.0", "GET http://localhost:20202/ HTTP/1.1"],
)  # fmt: skip
def test_http_is_recognised(line):
    assert text.looks_like_http(line)


@pytest.mark.parametrize(
    "line", ["get name", "GET name", "get /x", "list processes", "", "GET", "set note HTTP/1.1", "SET /x */y"]
)
def test_commands_of_people_are_no_http(line):
    assert not text.looks_like_http(line)


@settings(deadline=None)
@given(st.text())
def test_any_line_is_understood_or_refused(line):
    try:
        text.parse_line(line)
    except PapaError as error:
        assert error.message


@pytest.mark.parametrize("key", ["uid", "gid", "bufsize", "rlimit.nofile"])
def test_a_number_of_more_digits_than_python_reads_is_refused(key):
    assert error_of(f"make process a {key}={'9' * 5000} x").startswith(f"{key} must be a number")


@pytest.mark.parametrize("line", [f"make process a bufsize={'9' * 4300}g x", f"make socket a umask=0{'7' * 9000}"])
def test_a_number_of_more_digits_than_python_writes_is_refused_in_one_line(line):
    op, args = parse(line)
    with pytest.raises(PapaError, match="a number of very many digits"):
        ProcessSpec.parse(args) if op == "spawn" else SocketSpec.parse({**args, "path": "/a"})
