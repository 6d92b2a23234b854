from __future__ import annotations

import math
from typing import Any

import pytest

from circus.config.model import StreamConfig
from circus.streams import pressure
from papa import model

DEFAULT = {"bound": 2 << 20, "overflow": "block", "stall_s": 1.0}


def stream(**options: Any) -> StreamConfig:
    return StreamConfig(class_name="FileStream", filename="log", **options)


def test_a_stream_without_options_is_left_to_the_kernel_whose_default_is_ours() -> None:
    assert pressure.bounds_of({"out": stream(), "err": None}) is None
    config = stream()
    assert (config.buffer_bytes, config.overflow, config.stall_s) == (
        model.DEFAULT_BOUND,
        model.BLOCK,
        model.DEFAULT_STALL_S,
    )


@pytest.mark.parametrize(
    ("options", "bounds"),
    [
        ({"buffer_bytes": 8192}, {**DEFAULT, "bound": 8192}),
        ({"overflow": "drop-oldest"}, {**DEFAULT, "overflow": "drop-oldest"}),
        ({"stall_s": 0.0}, {**DEFAULT, "stall_s": 0.0}),
        ({"stall_s": math.inf}, {**DEFAULT, "overflow": "hold"}),
        ({"overflow": "drop-oldest", "stall_s": math.inf}, {**DEFAULT, "overflow": "drop-oldest", "stall_s": 3600.0}),
    ],
)
def test_options_of_one_stream_are_said_of_both(options: dict[str, Any], bounds: dict[str, object]) -> None:
    said = pressure.bounds_of({"out": stream(**options), "err": None})
    assert said == {"out": bounds, "err": DEFAULT}
    assert said is not None
    model.check_bounds(said)


def test_a_process_is_told_what_it_does_not_do_yet() -> None:
    streams = {"out": stream(buffer_bytes=8192), "err": None}
    wanted = pressure.bounds_of(streams)
    assert pressure.news(streams, None) == wanted
    assert pressure.news(streams, wanted) is None
    assert pressure.news({"out": None, "err": None}, None) is None
    assert pressure.news({"out": None, "err": None}, wanted) == {"out": DEFAULT, "err": DEFAULT}
