from __future__ import annotations

import asyncio

import pytest

from circus.control.requests import Requests
from circus.errors import CircusError


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (None, "ok"),
        (CircusError("not-found", "no"), "not-found"),
        (asyncio.CancelledError(), "left"),
        (ZeroDivisionError(), "internal"),
    ],
)
def test_a_request_is_counted_by_its_operation_and_how_it_ended(error: BaseException | None, result: str) -> None:
    requests = Requests()
    for _ in range(2):
        try:
            with requests.counted("stop"):
                if error is not None:
                    raise error
        except BaseException as raised:
            assert raised is error
    assert requests.results == {("stop", result): 2}
    assert sum(requests.durations["stop"].counts) == 2
