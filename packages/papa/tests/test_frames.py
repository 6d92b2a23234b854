from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papa.errors import PapaError, ProtocolError
from papa.wire import frames
from papa.wire.frames import FrameDecoder, encode_frame

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
HEADS = st.dictionaries(st.text(max_size=5), JSON, max_size=4)


def lengths(head: int, body: int) -> bytes:
    return head.to_bytes(4, "little") + body.to_bytes(4, "little")


def frame_of(text: bytes) -> bytes:
    return lengths(len(text), 0) + text


def decode(data: bytes) -> tuple[dict, bytes] | None:
    decoder = FrameDecoder()
    decoder.feed(data)
    return decoder.next_frame()


def test_the_bytes_on_the_wire_are_what_they_were():
    assert encode_frame({"op": "é"}, b"\0x") == b"\x0f\0\0\0\x02\0\0\0" + b'{"op":"\\u00e9"}' + b"\0x"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(HEADS, st.binary(max_size=50)), max_size=3), st.data())
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(messages, data):
    wire = b"".join(encode_frame(head, body) for head, body in messages)
    decoder, got = FrameDecoder(), []
    at = 0
    while at < len(wire):
        size = data.draw(st.integers(1, len(wire) - at))
        decoder.feed(wire[at : at + size])
        at += size
        while (frame := decoder.next_frame()) is not None:
            got.append(frame)
    assert got == messages
    assert decoder.held == 0


def test_bytes_of_the_system_cross_as_lone_surrogates():
    name = b"\xff\xfe/caf\xe9".decode("utf-8", "surrogateescape")
    frame = decode(encode_frame({"cwd": name}))
    assert frame is not None
    assert frame[0]["cwd"].encode("utf-8", "surrogateescape") == b"\xff\xfe/caf\xe9"


def test_a_frame_that_is_not_complete_is_waited_for():
    wire = encode_frame({"a": 1}, b"body")
    for size in range(len(wire)):
        decoder = FrameDecoder()
        decoder.feed(wire[:size])
        assert decoder.next_frame() is None
        assert decoder.held == size


@pytest.mark.parametrize("announced", [(frames.MAX_HEAD + 1, 0), (2, frames.MAX_BODY + 1), (2**32 - 1, 2**32 - 1)])
def test_a_frame_announced_larger_than_the_bound_is_refused_after_eight_bytes(announced):
    with pytest.raises(ProtocolError, match="more than"):
        decode(lengths(*announced))


@pytest.mark.parametrize(
    "text",
    [b"", b"nonsense", b"[1]", b"3", b"null", b'{"a":NaN}', b'{"a":Infinity}', b"\xff\xfe{}", b'{"a":"\xff"}',
     b"[" * 100_000, b'{"a":' + b"9" * 10_000 + b"}", '{"a":1}'.encode("utf-16")],
)  # fmt: skip
def test_a_head_that_is_no_json_object_ends_the_connection(text):
    with pytest.raises(ProtocolError, match="head is no JSON"):
        decode(frame_of(text))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for_but_never_breaks_anything(data):
    decoder = FrameDecoder()
    decoder.feed(data)
    try:
        while decoder.next_frame() is not None:
            pass
    except ProtocolError:
        pass


def test_the_largest_frame_passes_and_a_larger_one_is_not_sent():
    head = {"a": "x" * (frames.MAX_HEAD - len('{"a":""}'))}
    wire = encode_frame(head, bytes(frames.MAX_BODY))
    assert decode(wire) == (head, bytes(frames.MAX_BODY))
    with pytest.raises(PapaError) as caught:
        encode_frame({"a": head["a"] + "x"})
    assert caught.value.code == "limit"
    with pytest.raises(PapaError) as caught:
        encode_frame({}, bytes(frames.MAX_BODY + 1))
    assert caught.value.code == "limit"


def test_the_decoder_holds_no_more_than_what_is_incomplete():
    decoder = FrameDecoder()
    wire = encode_frame({"a": 1}, b"x" * 100)
    for _ in range(100):
        decoder.feed(wire + wire[:50])
        assert decoder.next_frame() is not None
        assert decoder.next_frame() is None
        decoder.feed(wire[50:])
        assert decoder.next_frame() is not None
        assert len(decoder._buffer) == 0


def test_a_head_is_pure_ascii_without_needless_space():
    head = {"a": ["é", "\ud800", 1.5]}
    wire = encode_frame(head)
    assert wire[8:].decode("ascii") == json.dumps(head, separators=(",", ":"))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"[1.5,2e308]"])
def test_a_number_beyond_all_floats_is_no_head_because_nobody_could_be_told_of_it(number):
    with pytest.raises(ProtocolError, match="too large a number"):
        decode(frame_of(b'{"op":"spawn","meta":{"k":' + number + b"}}"))
    assert decode(frame_of(b'{"k":-1.5e308}')) == ({"k": -1.5e308}, b"")
