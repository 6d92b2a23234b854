"""The kernel's lean JSON: it understands and says what the standard library does, and refuses the same."""

from __future__ import annotations

import json
from typing import Any

from papa import lean_json
from tests.fuzz import house

ROOMS = ("papa.lean_json",)
BOUNDS = ()
WORDS = [
    b"NaN", b"-Infinity", b"1e999", b"1E+2", b"-0.0", b"null", b"true", b"false", b"\\u00e9", b"\\ud800",
    b"\\ud83d\\ude00", b" \t\r\n", b"\xc2\xa0", b"[" * 1000, b"9" * (house.DIGITS + 1), b'{"a":', b"\xef\xbb\xbf",
    b"\\/", b"\0",
]  # fmt: skip


def seeds() -> list[bytes]:
    values: list[Any] = [
        None, True, [1, -2.5, 1e22, float("inf")], {"a": {"b": [[], {}, ""]}, "é\U0001f600\ud800\"\\\n\0": "x"}, "", 0,
    ]  # fmt: skip
    return [
        *(json.dumps(value).encode() for value in values),
        b" [1 , 2]\n",
        b"[1]x",
        b"",
        b"[" * 1100,
        b'{"a":1,"a":2}',
    ]


def check(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    said = _outcome(lean_json.loads, text)
    if said is None or _outcome(json.loads, text) is None:
        # Package json has less left of the stack.
        return
    assert _outcome(json.loads, text) == said
    assert _outcome(lean_json.loads, text, parse_float=str) == _outcome(json.loads, text, parse_float=str)
    if said is not ValueError:
        value = lean_json.loads(text)
        for options in (
            {},
            {"separators": (",", ":")},
            {"separators": (",", ":"), "allow_nan": False},
            {"sort_keys": True},
        ):
            lean = _outcome(lean_json.dumps, value, **options)
            assert lean == _outcome(json.dumps, value, **options)
        _outcome(lean_json.loads, data)


def _outcome(function: Any, *args: Any, **options: Any) -> object:
    """What it gives, comparable although NaN is not itself; that it refused; None when it is nested too deeply."""
    try:
        return repr(function(*args, **options))
    except ValueError:
        return ValueError
    except RecursionError:
        return None
