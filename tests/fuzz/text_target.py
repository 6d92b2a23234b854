"""Text of a stranger, telnet's bytes among it: nothing but PapaErrors, however it is cut, and over an upgrade too."""

from __future__ import annotations

from papa.wire import session, text
from tests.fuzz import house, talk

ROOMS = ("papa.wire.session", "papa.wire.text", "papa.wire.text_reply", "papa.wire.text_help", "papa.kernel.commands")
BOUNDS = ((session, "MAX_LINE", 900), (session, "MAX_TELNET", 24))
WORDS = [
    *(f"{word} ".encode() for word in (*text.COMMANDS, "frames 1", "lines", "processes", "sockets", "values", "*")),
    *(f" {key}=".encode() for options in text.OPTIONS.values() for key in options),
    b"\xff\xf4", b"\xff\xfd\x06", b"\xff\xfa", b"\xff\xf0", b"\xff\xff", b"\r\0", b"\r\n", b"\\ ", b"GET / HTTP/1.1\n",
    b"9" * (house.DIGITS + 1), "é\u2028\u0661".encode(), b"q\n", b"\n",
]  # fmt: skip


def seeds() -> list[bytes]:
    return [
        house.whole(b"help\n", b"help make process\r\n", b"l p\nlist sockets\nlist values v*\n"),
        house.whole(b"make process a env.A=1 rlimit.nofile=5 ", b"bufsize=2m watch=1 /bin/echo a\\ b\n\nq\n"),
        house.whole(b"make process b uid=3 gid=4 working_dir=/ shell=1 stdout=0 stderr=stdout x\n"),
        house.whole(b"make process c bufsize=0 true\nmake process web true\nrem p *\n"),
        house.whole(b"make socket s port=0 host=localhost backlog=5 umask=022 reuseport=1\n"),
        house.whole(b"make socket u family=unix type=stream path=/a umask=0o22\nmake socket front port=0\n"),
        house.whole(b"set v a b\nget v\nset v\nget v\nremove value v\nremove socket front\n"),
        house.whole(b"watch process web done\n", b"\n\nq\n", b"watch lines *\n", b"\xff\xf4", b"list p\n"),
        house.whole(b"l\xff\xfd\x06", b"ist p\xff\xfa\x18\xff\xf0\n\xff\xf6\xff\xff\xff\xf3", b"\xff\xfbaquit\n"),
        house.whole(b"exit-if-idle\nGET / HTTP/1.1\n"),
        house.whole(b"frames 1\nxx", b"yy"),
        house.whole(*[b"a" * 250] * 4, b"c\nlist p\n"),
        house.whole(b"make process n bufsize=" + b"9" * 220, b"9" * 220, b"9" * 200 + b"g true\n"),
        house.whole(b"make process n uid=" + b"9" * 220, b"9" * 220, b"9" * 220 + b" true\n"),
    ]


def check(data: bytes) -> None:
    pieces = house.cut(data)
    heard = talk.talk([b"".join(pieces)])
    assert talk.talk(pieces) == heard
    assert talk.talk(pieces, hands_over=True) == heard
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        words = text.split_words(line)
        assert all(word == word.strip() for word in words)
