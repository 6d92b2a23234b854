from __future__ import annotations

import os
from typing import Any

import pytest

from papa.client.calls import MAX_UNCLAIMED, Answer, Calls
from papa.errors import PapaError, ProtocolError
from papa.wire import messages
from papa.wire.messages import Event
from papa.wire.session import Request, ServerSession


@pytest.fixture
def calls() -> Calls:
    made = Calls()
    session = ServerSession()
    session.feed(made.opening())
    switch = session.next()
    assert made.receive(session.greeting() + switch.data) == []  # type: ignore[union-attr]
    return made


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_what_a_client_asks_is_what_a_server_hears() -> None:
    calls, session = Calls(), ServerSession()
    number, request = calls.request("attach", {"id": 3})
    session.feed(calls.opening() + request + calls.post("more", {"seen": []}))
    session.next()
    asked, posted = session.next(), session.next()
    assert isinstance(asked, Request)
    assert isinstance(posted, Request)
    assert (asked.op, asked.id, asked.args) == ("attach", number, {"id": 3})
    assert (posted.op, posted.id, posted.args) == ("more", None, {"seen": []})


def test_numbers_are_never_used_twice(calls: Calls) -> None:
    assert calls.request("ping", {})[0] != calls.request("ping", {})[0]


def test_answers_and_events_come_in_order_however_they_are_cut(calls: Calls) -> None:
    data = (
        messages.encode_reply(1, {"a": 1}, body=b"body")
        + messages.encode_event("eof", {"id": 4})
        + messages.encode_error(2, PapaError("no", code="exists", hint="h", details={"d": 1}))
    )
    outcomes: list[Any] = []
    for byte in data:
        outcomes += calls.receive(bytes([byte]))
    first, event, second = outcomes
    assert isinstance(first, Answer)
    assert first.reply is not None
    assert (first.number, first.reply.ok, first.reply.body) == (1, {"a": 1}, b"body")
    assert isinstance(event, Event)
    assert (event.name, event.fields) == ("eof", {"id": 4})
    assert isinstance(second, Answer)
    assert second.error is not None
    assert (second.error.code, second.error.hint, second.error.details) == ("exists", "h", {"d": 1})


def test_descriptors_wait_for_the_reply_that_names_them(calls: Calls) -> None:
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    data = messages.encode_reply(1, {}, fds=["out", "index"])
    assert calls.receive(data[:5], fds[:2]) == []
    [answer] = calls.receive(data[5:], fds[2:])
    assert isinstance(answer, Answer)
    assert answer.reply is not None
    assert answer.reply.fds == {"out": fds[0], "index": fds[1]}
    calls.close()
    assert not is_open(fds[2])
    answer.close_fds()
    assert not is_open(fds[0])
    assert answer.reply.fds == {}


def test_a_reply_that_names_descriptors_which_never_came_ends_it(calls: Calls) -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    data = messages.encode_reply(1, {}, fds=["out"]) + messages.encode_reply(2, {}, fds=["out"])
    with pytest.raises(ProtocolError, match="1 descriptors, 0 came"):
        calls.receive(data, [fd])
    assert not is_open(fd), "its answer reached nobody"


def test_descriptors_that_nothing_names_are_bounded(calls: Calls) -> None:
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(MAX_UNCLAIMED + 1)]
    with pytest.raises(ProtocolError, match="no reply names"):
        calls.receive(b"", fds)
    calls.close()
    assert not any(map(is_open, fds))
