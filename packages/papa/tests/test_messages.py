from __future__ import annotations

import pytest

from papa.errors import PapaError, ProtocolError
from papa.wire import messages
from papa.wire.frames import FrameDecoder
from papa.wire.messages import Event, Reply


def frame(data: bytes) -> tuple[dict, bytes]:
    decoder = FrameDecoder()
    decoder.feed(data)
    found = decoder.next_frame()
    assert found is not None
    return found


def test_a_request_arrives_with_number_operation_and_arguments():
    request = messages.parse_request(*frame(messages.encode_request("attach", {"id": 12}, id=7, body=b"x")))
    assert (request.op, request.id, request.args, request.body) == ("attach", 7, {"id": 12}, b"x")
    assert repr(request) == "<request attach id=7>"


def test_a_one_way_request_has_no_number():
    request = messages.parse_request(*frame(messages.encode_request("more", {"seen": []})))
    assert (request.op, request.id, request.args) == ("more", None, {"seen": []})


def test_the_number_travels_apart_from_an_argument_called_id():
    head, _ = frame(messages.encode_request("read", {"id": 12}, id=7))
    assert head == {"rq": 7, "op": "read", "id": 12}


@pytest.mark.parametrize(
    "head",
    [{}, {"op": 3}, {"op": ""}, {"op": "x" * 65}, {"op": "x", "rq": "1"}, {"op": "x", "rq": True},
     {"op": "x", "rq": -1}, {"op": "x", "rq": 2**53}, {"op": "x", "rq": 1.0}],
)  # fmt: skip
def test_a_head_that_is_no_request_is_refused(head):
    with pytest.raises(ProtocolError):
        messages.parse_request(head)


def test_a_reply_arrives_with_the_names_of_its_descriptors():
    data = messages.encode_reply(7, {"pid": 3}, fds=["pid", "out"], body=b"x")
    reply = messages.parse_answer(*frame(data))
    assert isinstance(reply, Reply)
    assert (reply.id, reply.ok, reply.error, reply.fds, reply.body) == (7, {"pid": 3}, None, ("pid", "out"), b"x")
    assert repr(reply) == "<reply to 7: ok>"


def test_an_error_arrives_whole():
    error = PapaError("web: no", code="spawn-failed", hint="try", details={"stage": "chdir", "errno": 2})
    reply = messages.parse_answer(*frame(messages.encode_error(7, error)))
    assert isinstance(reply, Reply)
    got = reply.error
    assert got is not None
    assert (got.message, got.code, got.hint, got.details) == (error.message, error.code, error.hint, error.details)
    assert repr(reply) == "<reply to 7: spawn-failed>"


def test_an_error_needs_no_hint_and_no_details():
    reply = messages.parse_answer({"re": 1, "error": {"code": "lost", "message": "m"}})
    assert isinstance(reply, Reply)
    assert reply.error is not None
    assert (reply.error.hint, reply.error.details) == ("", {})


def test_an_error_is_sent_whatever_is_in_it():
    error = PapaError("m" * 5_000_000, hint="h" * 5_000_000, details={"names": ["x" * 5_000_000]})
    reply = messages.parse_answer(*frame(messages.encode_error(7, error)))
    assert isinstance(reply, Reply)
    assert reply.error is not None
    assert (reply.error.message, reply.error.hint, reply.error.details) == ("m" * 4096, "h" * 4096, {})


def test_an_event_arrives_with_its_fields():
    event = messages.parse_answer(*frame(messages.encode_event("eof", {"id": 3, "stream": "out"}, body=b"x")))
    assert isinstance(event, Event)
    assert (event.name, event.fields, event.body) == ("eof", {"id": 3, "stream": "out"}, b"x")
    assert repr(event) == "<event eof>"


@pytest.mark.parametrize(
    "head",
    [{}, {"re": None, "ok": {}}, {"re": 1}, {"re": 1, "ok": []}, {"re": 1, "ok": {}, "fds": "pid"},
     {"re": 1, "ok": {}, "fds": [1]}, {"re": 1, "ok": {}, "fds": ["x"] * 17}, {"ev": 3}, {"re": 1, "error": "no"},
     {"re": 1, "error": {"code": "x"}}, {"re": 1, "error": {"code": "x", "message": "m", "hint": 3}},
     {"re": 1, "error": {"code": "x", "message": "m", "details": [1]}}],
)  # fmt: skip
def test_a_head_that_is_no_answer_is_refused(head):
    with pytest.raises(ProtocolError):
        messages.parse_answer(head)
