from __future__ import annotations

import re
from pathlib import Path

import pytest

from papa import errors, model
from papa.kernel import commands
from papa.wire import frames, messages

PAGE = (Path(__file__).parents[3] / "docs/reference/frames.md").read_text(encoding="utf-8")

#: What only a client can find out.
OF_THE_CLIENT = {"unreachable", "lost", "timeout"}
#: What only the text language has.
OF_THE_TEXT = {"watch", "watch-next"}


def headings() -> set[str]:
    return {name for line in re.findall(r"^### (.*)$", PAGE, re.MULTILINE) for name in line.split(", ")}


def test_the_bytes_shown_are_the_bytes_sent():
    (shown,) = re.findall(r"^    ((?:[0-9a-f]{2} +)+[0-9a-f]{2})$", PAGE, re.MULTILINE)
    decoder = frames.FrameDecoder()
    decoder.feed(bytes.fromhex(shown))
    assert decoder.next_frame() == ({"op": "ping", "rq": 1}, b"")


@pytest.mark.parametrize("number", [frames.MAX_HEAD, frames.MAX_BODY, model.MAX_VALUES, messages.MAX_ERROR_TEXT])
def test_bounds_are_those_of_the_code(number):
    assert str(number) in PAGE


def test_every_operation_has_its_section():
    assert set(commands._OPERATIONS) - OF_THE_TEXT <= headings()


def test_every_code_that_a_kernel_sends_is_explained():
    shown = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE))
    assert shown >= errors.CODES - OF_THE_CLIENT


@pytest.mark.parametrize("spec", [model.ProcessSpec, model.SocketSpec])
def test_every_field_of_a_specification_is_explained(spec):
    assert {field for field in spec.__slots__ if f"`{field}`" not in PAGE} == set()
