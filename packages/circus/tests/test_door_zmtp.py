from __future__ import annotations

import random

import pytest

from circus.legacy.door import zmtp
from circus.legacy.door.zmtp import GREETING, Message, NotSpoken, Parser, Ping, Ready, Said, Subscription, TooLarge

HELLO = GREETING + zmtp.ready("DEALER")
PING = b"\x04\x0d\x04PING\0\x0aproof!"


def frame(data: bytes, flags: int = 0, size: int | None = None) -> bytes:
    size = len(data) if size is None else size
    if size < 256:
        return bytes((flags, size)) + data
    return bytes((flags | 2,)) + size.to_bytes(8, "big") + data


def heard(*pieces: bytes) -> list[Said]:
    parser = Parser()
    return [said for piece in pieces for said in parser.feed(piece)]


#: What a peer says, and what is heard.
SPEECH = [
    (HELLO, [Ready("DEALER")]),
    (frame(b""), [Message((b"",))]),
    (frame(b"a" * 300), [Message((b"a" * 300,))]),
    (zmtp.message((b"", b"x", b"y" * 256)), [Message((b"", b"x", b"y" * 256))]),
    (PING, [Ping(b"proof!")]),
    (frame(b"a", 1) + PING + frame(b"b"), [Ping(b"proof!"), Message((b"a", b"b"))]),
    (frame(b"\x09SUBSCRIBEtopic", 4), [Subscription(b"topic", True)]),
    (frame(b"\x06CANCELtopic", 4), [Subscription(b"topic", False)]),
    (frame(b"\x05OTHERx", 4) + frame(b"", 4), []),
    (frame(b"", size=zmtp.MAX_MESSAGE + 1) + bytes(zmtp.MAX_MESSAGE + 1), [TooLarge(())]),
    (frame(b"env", 1) + frame(b"", 1) + frame(bytes(zmtp.MAX_MESSAGE)), [TooLarge((b"env", b""))]),
    (frame(b"", 1) * (zmtp.MAX_FRAMES + 5) + PING + frame(b"end"), [TooLarge((b"",) * zmtp.MAX_FRAMES)]),
    (frame(b"more"), [Message((b"more",))]),
]


def test_what_is_said_is_heard_however_it_is_cut() -> None:
    data = b"".join(said for said, _ in SPEECH)
    expected = [each for _, found in SPEECH for each in found]
    assert heard(data) == expected
    dice = random.Random(4)
    for _ in range(20):
        cuts = sorted(dice.randrange(len(data)) for _ in range(dice.randrange(200)))
        assert heard(*(data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True))) == expected
    small = b"".join(said for said, _ in SPEECH[:9])
    assert heard(*(bytes((byte,)) for byte in small)) == [each for _, found in SPEECH[:9] for each in found]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "does not speak ZMTP"),
        (b"\x01\x00", "does not speak ZMTP"),
        (b"\xff" + bytes(9), "does not speak ZMTP"),
        (GREETING[:10] + b"\x01\x05\0\0", "ZMTP 1 or 2"),
        (GREETING[:12] + b"PLAIN".ljust(20, b"\0") + bytes(32), "mechanism b'PLAIN'"),
        (GREETING + frame(b"hello"), "that it is ready"),
        (GREETING + frame(b"\x05HELLO", 4), "that it is ready"),
        (GREETING + frame(b"\x05READY", 4), "what kind of socket"),
        (GREETING + frame(b"\x05READY\x0bSocket-Type\0\0\xff\xffSUB", 4), "what kind of socket"),
        (GREETING + frame(b"\x05READY\x01", 4), "what kind of socket"),
        (GREETING + frame(b"", 4, 5000), "that it is ready"),
        (HELLO + b"\x08\x00", "flags 0x08"),
        (HELLO + b"\x05\x00", "flags 0x05"),
        (HELLO + frame(b"", 4, 5000), "a command of 5000 bytes"),
        (HELLO + frame(b"\x04PING\0\0" + bytes(17), 4), "a PING"),
    ],
)
def test_other_languages_are_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(NotSpoken, match=why):
        heard(data)


def test_what_is_too_large_is_told_at_once_and_never_kept() -> None:
    parser = Parser()
    parser.feed(HELLO)
    assert parser.feed(frame(b"", size=2**63 - 1)) == [TooLarge(())]
    for _ in range(100):
        assert parser.feed(bytes(100_000)) == []
        assert len(parser._pending) < 2 * 64 * 1024
    endless = Parser()
    endless.feed(HELLO)
    found = [said for _ in range(1000) for said in endless.feed(frame(bytes(1000), 1) * 100)]
    assert found == [TooLarge((bytes(1000),) * zmtp.MAX_FRAMES)]


def test_a_subscription_may_come_as_a_message() -> None:
    assert zmtp.subscription_of((b"\1watcher.",)) == Subscription(b"watcher.", True)
    assert zmtp.subscription_of((b"\0",)) == Subscription(b"", False)
    assert zmtp.subscription_of((b"hello",)) is None
    assert zmtp.subscription_of((b"\1a", b"b")) is None
