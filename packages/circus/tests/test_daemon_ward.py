"""What circusd and its warden tell each other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from circus import warden
from circus.daemon.ward import Ward


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)


def test_it_is_taken_out_of_the_environment_and_no_program_inherits_the_pipe(pipe: tuple[int, int]) -> None:
    os.set_inheritable(pipe[1], True)
    told = f"{pipe[1]} {os.getppid()} -1 2 (pid 8) was killed by signal 9"
    environ = {warden.VARIABLE: told, warden.KEPT: '{"a": 1}', "OTHER": "1"}
    ward = Ward.of(environ)
    assert environ == {"OTHER": "1"}
    assert (ward.pid, ward.starter, ward.replaced, ward.kept) == (os.getppid(), None, 2, {"a": 1})
    assert ward.reason == "(pid 8) was killed by signal 9"
    assert ward.has_warden
    assert not os.get_inheritable(pipe[1])
    ward.dismiss()


def test_each_word_is_one_the_warden_knows(pipe: tuple[int, int]) -> None:
    ward = Ward(f"{pipe[1]} {os.getppid()} -1 0 ")
    ward.up()
    ward.beat(30.0)
    ward.end_with(3)
    ward.leaving()
    ward.keep(log="x")
    ward.renew()
    ward.dismiss()
    lines = os.read(pipe[0], 999).splitlines()
    assert {line.partition(b" ")[0] for line in lines} == warden.WORDS
    assert not ward.has_warden


def test_what_begins_anew_in_place_has_the_same_warden_and_counts_its_reasons(pipe: tuple[int, int]) -> None:
    ward = Ward(f"{pipe[1]} {os.getppid()} -1 1 before", '{"a": 1}')
    ward.keep(b=2)
    again = ward.renew("used too much")
    assert os.get_inheritable(pipe[1])
    new = Ward.of(dict(again))
    assert (new.pid, new.replaced, new.reason, new.kept) == (os.getppid(), 2, "used too much", {"a": 1, "b": 2})
    upgraded = Ward.of(new.renew())
    assert (upgraded.replaced, upgraded.reason) == (2, "used too much")
    upgraded.dismiss()


def test_one_without_a_warden_says_nothing_and_knows_that_it_began_anew() -> None:
    ward = Ward.of({})
    ward.up()
    assert not ward.has_warden
    assert not ward.is_contained
    new = Ward.of(ward.renew("used too much"))
    assert (new.has_warden, new.replaced, new.reason) == (False, 1, "used too much")


def test_a_warden_that_is_gone_is_noticed_at_once_and_hurts_nobody() -> None:
    reading, writing = os.pipe()

    async def wait() -> None:
        ward = Ward(f"{writing} {os.getppid()} -1 0 ")
        lost = asyncio.Event()
        ward.on_loss(asyncio.get_running_loop(), lost.set)
        os.close(reading)
        async with asyncio.timeout(30):
            await lost.wait()
        ward.beat(1.0)
        assert not ward.has_warden

    asyncio.run(wait())


def test_a_warden_that_does_not_listen_holds_nobody_up(pipe: tuple[int, int]) -> None:
    ward = Ward(f"{pipe[1]} {os.getppid()} -1 0 ")
    for _ in range(100):
        ward.keep(much="x" * 4000)
    ward.dismiss()


@pytest.mark.parametrize("kept", ["", "{", "[]", "7"])
def test_what_is_kept_and_cannot_be_read_is_nothing(kept: str) -> None:
    assert Ward("-1 0 -1 0 ", kept).kept == {}
