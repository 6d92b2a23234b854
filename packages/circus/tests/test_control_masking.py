from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from circus.config import masking as words
from circus.control import schema
from circus.control.caller import ADMIN_VERBS, VIEWER_VERBS, Caller
from circus.control.ops import Ops
from circus.errors import CircusError
from circus.testing.circusd import FakeEngine, make_watcher

SHOWN = {
    "cmd": "app --url https://u:hush@host/?token=hush&page=2",
    "env": {"A": "hush", "B": "hush"},
    "env.C": "hush",
    "db_password": "hush",
    "api_key": "",
    "keys": 3,
    "colour": "red",
    "kill_mode": "group",
    "after": ["db"],
    "stdout_stream.filename": "/log/x",
    "stdout_stream.auth_token": "hush",
    "stderr_stream.address": "udp://u:hush@h:514",
    "uid": None,
}


class Knowing(FakeEngine):
    def options(self, name: str, /) -> Mapping[str, Any]:
        return SHOWN


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://u:hush@h/1", "redis://***@h/1"),
        ("https://h/x?page=2&access_token=hush#end", "https://h/x?page=2&access_token=***#end"),
        ("https://h/x?key=hush&sig=hush", "https://h/x?key=***&sig=***"),
        ("curl 'https://h/?apiKey=hush' -o x@y", "curl 'https://h/?apiKey=***' -o x@y"),
        ("see https://h/a@b?to=c@d", "see https://h/a@b?to=c@d"),
        ("a?token=x without an address", "a?token=x without an address"),
    ],
)
def test_what_an_address_hides_is_masked_and_nothing_else(text: str, shown: str) -> None:
    assert words.mask_addresses(text) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example/T0/hush", "https://hooks.example/***"),
        ("http://u:hush@h:8080", "http://***@h:8080"),
        ("http://h/", "http://h/"),
        ("http://h?hush", "http://h***"),
        ("hush", "***"),
    ],
)
def test_of_the_address_of_a_web_hook_only_the_host_is_told(url: str, shown: str) -> None:
    assert words.mask_behind_host(url) == shown


def test_options_are_masked_unless_somebody_who_may_asks_for_them() -> None:
    ops = Ops(Knowing(make_watcher("web")))
    shown = asyncio.run(ops.options("web")).options
    assert "hush" not in repr(shown)
    assert shown == SHOWN | {
        "cmd": "app --url https://***@host/?token=***&page=2",
        "env": {"A": "***", "B": "***"},
        "env.C": "***",
        "db_password": "***",
        "stdout_stream.auth_token": "***",
        "stderr_stream.address": "udp://***@h:514",
    }
    assert asyncio.run(ops.options("web", reveal=True)).options == SHOWN
    admin = ops.of(Caller("root", "unix", ADMIN_VERBS))
    assert asyncio.run(admin.options("web", reveal=True)).options == SHOWN
    viewer = ops.of(Caller("eve", "unix", VIEWER_VERBS))
    assert asyncio.run(viewer.options("web")).options == shown
    with pytest.raises(CircusError, match="eve may not reveal") as caught:
        asyncio.run(viewer.options("web", reveal=True))
    assert caught.value.code == "forbidden"


@pytest.mark.parametrize("options", [{"env": {"A": "***"}}, {"env.A": "***"}, {"db_password": "***"}])
def test_a_mask_that_is_given_back_is_no_value(options: dict[str, Any]) -> None:
    engine = FakeEngine(make_watcher("web"))
    for order in (
        Ops(engine).set_options("web", schema.SetRequest(options=options)),
        Ops(engine).add("new", schema.AddRequest(cmd="sleep 1", options=options)),
    ):
        with pytest.raises(CircusError, match="is what is shown in place of its value"):
            asyncio.run(order)
    assert not engine.changed
    asyncio.run(Ops(engine).set_options("web", schema.SetRequest(options={"colour": "***"})))
    assert engine.changed["web"] == {"colour": "***"}
