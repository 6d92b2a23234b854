from __future__ import annotations

import asyncio
from typing import Any

from papa.client.aio import AsyncPapa
from papa.client.asking import Asking
from papa.client.reply import Reply
from papa.testing import FakePapa


class Recorder(Asking):
    def __init__(self, *answers: dict[str, Any]) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._answers = list(answers)

    async def request(self, op: str, *, timeout_s: float | None = None, **args: Any) -> Reply:
        self.asked.append((op, args))
        return Reply(self._answers.pop(0) if self._answers else {}, b"", {})


def test_the_real_client_and_the_fake_ask_with_the_same_words() -> None:
    words = {name for name in vars(Asking) if not name.startswith("_")}
    for face in (AsyncPapa, FakePapa):
        assert issubclass(face, Asking)
        assert words & set(vars(face)) == {"request"}


def test_a_list_is_asked_for_until_it_is_whole() -> None:
    recorder = Recorder(
        {"items": [{"name": "a", "id": 1}], "more": True}, {"items": [{"name": "b", "id": 2}], "more": False}
    )
    rows = asyncio.run(recorder.list("processes", "a*"))
    assert [row["id"] for row in rows] == [1, 2]
    assert recorder.asked[0] == ("list", {"what": "processes", "patterns": ("a*",)})
    assert "after" in recorder.asked[1][1]


def test_an_owner_is_only_said_where_there_is_one() -> None:
    recorder = Recorder()
    asyncio.run(recorder.attach(3))
    asyncio.run(recorder.attach(3, owner="me", fds=True))
    assert recorder.asked == [
        ("attach", {"id": 3, "fds": False}),
        ("attach", {"id": 3, "fds": True, "owner": "me"}),
    ]
