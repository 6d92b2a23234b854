from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papa.errors import PapaError, ProtocolError
from papa.wire import frames, messages, session
from papa.wire.messages import Event, Reply, Request
from papa.wire.session import Answer, ClientSession, Close, ServerSession

ROW = {"id": 1, "name": "x", "pid": 3, "running": True, "started_at": 1.5, "argv": ["prog"]}


def items(server: ServerSession, data: bytes) -> list[object]:
    """What comes of *data*; every request is answered with an empty ok."""
    server.feed(data)
    found: list[object] = []
    while (item := server.next()) is not None:
        found.append(item)
        if isinstance(item, Request):
            server.reply(item, {"count": 1, "is_over": False, "items": [], **ROW})
    return found


def shown(server: ServerSession, data: bytes) -> list[object]:
    return [
        item.data if isinstance(item, Answer)
        else (item.reason, item.data) if isinstance(item, Close)
        else (item.op, item.args)
        for item in items(server, data)
    ]  # fmt: skip


def framed() -> ServerSession:
    server = ServerSession()
    assert shown(server, b"frames 1\n") == [b"frames 1\n"]
    return server


def linked() -> tuple[ClientSession, ServerSession]:
    client, server = ClientSession(), framed()
    client.feed(server.greeting() + b"frames 1\n")
    return client, server


# Text


def test_a_connection_begins_with_the_greeting():
    assert ServerSession().greeting() == b'Papa is home. Type "help" for commands.\n> '


def test_lines_become_requests_and_answers_in_their_order():
    assert shown(ServerSession(), b"l p\r\n\nbogus\nset a b\n") == [
        ("list", {"what": "processes", "patterns": []}),
        b"> ",
        b'Error: Unknown command "bogus"\n> ',
        ("set", {"name": "a", "value": "b"}),
    ]


def test_help_is_answered_at_once():
    (answer,) = shown(ServerSession(), b"help quit\n")
    assert answer == b"quit\n  Closes this connection. What papa hosts is not touched.\n> "


def test_quit_is_answered_and_ends_the_connection():
    server = ServerSession()
    assert shown(server, b"quit\nl p\n") == [("", b"ok\n")]
    assert shown(server, b"l p\n") == []


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"l p\n", b"\n", b"set \xc3\xa9 1\r\n", b"\xff\xfd\x01", b"\xff\xf1"])), st.data())
def test_text_means_the_same_however_the_bytes_are_cut(parts, data):
    wire = b"".join(parts)
    whole = shown(ServerSession(), wire)
    server, got, at = ServerSession(), [], 0
    while at < len(wire):
        size = data.draw(st.integers(1, len(wire) - at))
        got += shown(server, wire[at : at + size])
        at += size
    assert got == whole


def test_of_a_line_that_is_too_long_nothing_is_kept_and_nothing_done():
    server = ServerSession()
    assert shown(server, b"x" * session.MAX_LINE) == []
    refused = [b"Error: a line is longer than 65536 bytes (it was not read)\n> "]
    assert shown(server, b"x") == refused
    for _ in range(100):
        assert shown(server, b"x" * session.MAX_LINE) == []
    assert len(server._line) + len(server._buffer) <= 2 * session.MAX_LINE
    assert shown(server, b"frames 1\nset a b\n") == [("set", {"name": "a", "value": "b"})]
    assert shown(server, b"x" * (session.MAX_LINE + 1) + b"\n") == refused


def test_a_line_that_is_too_long_acknowledges_like_any_other():
    server = watching()
    found = shown(server, b"x" * (session.MAX_LINE + 1) + b"\n")
    assert found == [("watch-next", {"stop": False})]


def test_a_line_as_long_as_the_bound_is_understood():
    line = b"set a " + b"x" * (session.MAX_LINE - 6)
    (request,) = shown(ServerSession(), line + b"\n")
    assert request == ("set", {"name": "a", "value": "x" * (session.MAX_LINE - 6)})


@pytest.mark.parametrize("first", [b"", b"l p\n"])
def test_http_is_told_that_it_is_wrong_here(first):
    server = ServerSession()
    assert shown(server, first + b"POST /x HTTP/1.1\r\nHost: x\r\n\r\nset a b\n")[-1] == (
        "the peer speaks HTTP",
        b"Error: this is no web server\n",
    )


@pytest.mark.parametrize(
    ("negotiation", "answer"),
    [
        (b"\xff\xfd\x03", b"\xff\xfc\x03"),
        (b"\xff\xfb\x18", b"\xff\xfe\x18"),
        (b"\xff\xfc\x01", None),
        (b"\xff\xfe\x01", None),
        (b"\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0", None),
        (b"\xff\xf1", None),
        (b"\xff\xf6", b"\nPapa is here.\n> "),
        (b"\xff\xfd\x06", b"\xff\xfc\x06\n> "),
    ],
)
def test_telnet_options_are_declined_and_stand_in_no_line(negotiation, answer):
    data = negotiation + b"get " + negotiation + b"a\r\0\n"
    answers = [] if answer is None else [answer, answer]
    server, found = ServerSession(), []
    for at in range(len(data)):
        found += shown(server, data[at : at + 1])
    assert found == [*answers, ("get", {"name": "a"})]
    assert shown(ServerSession(), data) == found


def test_telnet_writes_a_byte_of_its_own_twice():
    assert shown(ServerSession(), b"get \xff\xff\n") == [("get", {"name": "\udcff"})]


@pytest.mark.parametrize("key", [b"\xff\xf4", b"\xff\xf3"])
def test_an_interrupt_takes_the_line_back_and_ends_a_watch(key):
    assert shown(ServerSession(), b"exit-if-idle" + key + b"get a\n") == [b"\n> ", ("get", {"name": "a"})]
    assert shown(watching(), b"xyz" + key) == [("watch-next", {"stop": True, "interrupted": True})]
    too_long = b"x" * (session.MAX_LINE + 1)
    assert shown(ServerSession(), too_long + key + b"get a\n")[1:] == [b"\n> ", ("get", {"name": "a"})]


def test_a_nul_belongs_to_no_name_and_is_not_passed_over():
    assert shown(ServerSession(), b"get a\0b\n") == [("get", {"name": "a\0b"})]


def test_an_endless_telnet_negotiation_ends_the_connection():
    server = ServerSession()
    assert shown(server, b"\xff\xfa" + b"x" * 500) == []
    (close,) = shown(server, b"x" * 20)
    assert close[0] == "a telnet negotiation is longer than 512 bytes"


def test_a_reply_in_text_is_rendered():
    server = ServerSession()
    (request,) = items(server, b"get a\n")
    assert server.reply(request, {"value": "v"}) == b"v\n> "
    assert server.refuse(request, PapaError("no such thing")) == b"Error: no such thing\n> "


def test_events_are_not_told_in_text():
    assert ServerSession().event("eof", {"id": 1}) == b""


# Watching


def watching(line: bytes = b"w p x\n") -> ServerSession:
    server = ServerSession()
    server.feed(line)
    request = server.next()
    assert isinstance(request, Request)
    assert server.reply(request, {"count": 1}).startswith(b"Watching 1")
    return server


def is_watching(server: ServerSession) -> bool:
    return shown(server, b"get a\n") != [("get", {"name": "a"})]


@pytest.mark.parametrize("line", [b"\n", b"l p\n", b"q\n"])
def test_any_line_ends_a_watch_of_lines(line):
    server = watching(b"w l x\n")
    (request,) = items(server, line)
    assert request.args == {"stop": True}
    assert server.reply(request, {"is_over": True}) == b"Stopped watching\n> "
    assert not is_watching(server)


def test_a_watch_may_end_by_itself():
    server = watching(b"w l x\n")
    assert is_watching(server)
    assert server.end_watch() == b"Nothing left to watch\n> "
    assert not is_watching(server)


def test_after_its_exit_is_answered_a_connection_hears_nothing():
    server = ServerSession()
    assert shown(server, b"exit-if-idle\nset a b\n") == [("exit", {})]
    assert shown(server, b"set a b\n") == []


def test_a_watch_shows_frames_and_takes_lines_as_acknowledgements():
    server = watching()
    entries = [("x", "out", 1_500_000_000, b"hi\n"), ("x", "closed", 2_000_000_000, 3)]
    assert server.show(entries) == b"out:x:1.5:3\nhi\n\nclosed:x:2.0:3\n] "
    server.feed(b"\nl p\nQ\nl p\n")
    for stop in (False, False):
        request = server.next()
        assert isinstance(request, Request)
        assert (request.op, request.args) == ("watch-next", {"stop": stop})
        assert server.reply(request, {"is_over": False}) == b""
    request = server.next()
    assert isinstance(request, Request)
    assert (request.op, request.args) == ("watch-next", {"stop": True})
    assert server.reply(request, {"is_over": True}) == b"Stopped watching\n> "
    request = server.next()
    assert isinstance(request, Request)
    assert request.op == "list"


def test_a_watch_ends_when_nothing_is_left():
    server = watching()
    (request,) = items(server, b"\n")
    assert server.reply(request, {"is_over": True}) == b"Nothing left to watch\n> "
    assert not is_watching(server)


def test_a_watch_that_is_refused_does_not_begin():
    server = ServerSession()
    server.feed(b"w p x\nl p\n")
    request = server.next()
    assert isinstance(request, Request)
    assert server.refuse(request, PapaError("x not found")) == b"Error: x not found\n> "
    following = server.next()
    assert isinstance(following, Request)
    assert following.op == "list"


def test_a_new_process_is_watched_when_it_was_asked_for():
    server = ServerSession()
    (request,) = items(server, b"m p x watch=1 prog\n")
    assert request.watch
    assert server.reply(request, ROW) == b"x pid=3 running=True started=1.5 args=prog\n"
    assert is_watching(server)


# Frames


def test_frames_can_follow_their_first_line_at_once():
    client, server = ClientSession(), ServerSession()
    number, data = client.request("hello", {"client": "test"})
    answer, request = items(server, client.opening() + data)
    assert isinstance(answer, Answer)
    assert isinstance(request, Request)
    assert server.is_framed
    assert (request.op, request.id, request.args) == ("hello", number, {"client": "test"})
    client.feed(server.greeting() + answer.data + server.reply(request, {"pid": 1}, fds=["pid"], body=b"b"))
    reply = client.next()
    assert isinstance(reply, Reply)
    assert (reply.id, reply.ok, reply.fds, reply.body) == (number, {"pid": 1}, ("pid",), b"b")
    assert client.next() is None


def test_frames_are_only_for_the_first_line():
    server = ServerSession()
    assert shown(server, b"\nframes 1\n") == [
        b"> ", b'Error: "frames 1" must be the first line of a connection\n> ',
    ]  # fmt: skip
    assert not server.is_framed


@settings(deadline=None)
@given(st.lists(st.integers(1, 60)))
def test_client_and_server_understand_each_other_however_the_bytes_are_cut(cuts):
    client, server = ClientSession(), ServerSession()
    wire = client.opening() + b"".join(client.request("ping", {"n": n})[1] for n in range(4))
    answers = bytearray(server.greeting())
    at = 0
    for size in [*cuts, len(wire)]:
        server.feed(wire[at : at + size])
        at += size
        while (item := server.next()) is not None:
            if isinstance(item, Request):
                answers += server.event("output", {"items": []}) + server.reply(item, {"n": item.args["n"]})
            else:
                assert isinstance(item, Answer)
                answers += item.data
    got: list[object] = []
    at = 0
    for size in [*cuts, len(answers)]:
        client.feed(bytes(answers[at : at + size]))
        at += size
        while (message := client.next()) is not None:
            got.append(message.ok["n"] if isinstance(message, Reply) else message.name)
    assert got == ["output", 0, "output", 1, "output", 2, "output", 3]
    assert client.is_ready


def test_a_one_way_request_is_never_answered():
    client, server = linked()
    (request,) = items(server, client.post("more", {"seen": []}))
    assert server.reply(request, {}) == b""
    assert server.refuse(request, PapaError("no")) == b""


def test_an_error_reaches_the_client():
    client, server = linked()
    number, data = client.request("attach", {"id": 9})
    (request,) = items(server, data)
    assert request.args == {"id": 9}
    client.feed(server.refuse(request, PapaError("9 not found", code="not-found", hint="h", details={"id": 9})))
    reply = client.next()
    assert isinstance(reply, Reply)
    assert reply.id == number
    assert reply.error is not None
    assert (reply.error.code, reply.error.details) == ("not-found", {"id": 9})


def test_a_reply_that_is_too_large_becomes_an_error():
    client, server = linked()
    (request,) = items(server, client.request("list", {})[1])
    client.feed(server.reply(request, {"items": ["x" * frames.MAX_HEAD]}))
    reply = client.next()
    assert isinstance(reply, Reply)
    assert reply.error is not None
    assert reply.error.code == "limit"


def test_an_event_reaches_the_client():
    client, server = linked()
    client.feed(server.event("eof", {"id": 3, "stream": "out"}))
    event = client.next()
    assert isinstance(event, Event)
    assert (event.name, event.fields) == ("eof", {"id": 3, "stream": "out"})


@pytest.mark.parametrize("data", [b"\xff" * 8, frames.encode_frame({"no": "op"})])
def test_a_frame_that_no_client_sends_ends_the_connection_with_a_fault(data):
    client, server = linked()
    (close,) = items(server, data)
    assert isinstance(close, Close)
    client.feed(close.data)
    event = client.next()
    assert isinstance(event, Event)
    assert (event.name, event.fields["code"]) == ("fault", "bad-request")
    assert event.fields["message"] == close.reason
    assert items(server, messages.encode_request("ping", {}, id=1)) == []


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_garbage_never_breaks_a_session(data):
    for server in (ServerSession(), framed()):
        items(server, data)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail\r\n",
               b'Papa is home. Type "help" for commands.\n> Error: Unknown command "frames"\n> '],
)  # fmt: skip
def test_who_speaks_no_frames_is_found_out(answer):
    client = ClientSession()
    with pytest.raises(ProtocolError) as caught:
        client.feed(answer)
    assert caught.value.code == "unreachable"
    assert not client.is_ready


def test_the_client_numbers_its_requests():
    client = ClientSession()
    assert [client.request("ping", {})[0] for _ in range(3)] == [1, 2, 3]
