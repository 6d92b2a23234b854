"""The pulse: who hears it and how often, and what circusd may use itself."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from circus.config.model import CircusConfig
from circus.daemon.beats import Beats, policy_of
from circus.daemon.notify import Manager
from circus.daemon.ward import Ward


class Heard:
    """What a warden reads; it is this process's parent."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self.ward = Ward(f"{self._writing} {os.getppid()} -1 0 ")

    def lines(self) -> list[str]:
        os.set_blocking(self._reading, False)
        try:
            return os.read(self._reading, 1 << 16).decode().splitlines()
        except BlockingIOError:
            return []

    def close(self) -> None:
        os.close(self._reading)
        os.close(self._writing)


@pytest.fixture
def heard() -> object:
    heard = Heard()
    yield heard
    heard.close()


def never(_excess: str) -> None:
    raise AssertionError


def beats_of(ward: Ward, manager: Manager | None = None, **config: object) -> Beats:
    return Beats(CircusConfig(**config), ward, manager or Manager(), never)  # type: ignore[arg-type]


def test_the_warden_hears_it_twice_in_each_silence_that_it_bears(heard: Heard) -> None:
    async def beat() -> float:
        beats = beats_of(heard.ward, watchdog_s=30.0)
        beats.start()
        beats.close()
        return beats.interval_s

    assert asyncio.run(beat()) == 15.0
    (line,) = heard.lines()
    assert line.startswith("beat ")
    assert line.endswith(" 30.0")


def test_a_warden_that_shall_not_mind_silence_is_told_once(heard: Heard) -> None:
    async def beat() -> float:
        beats = beats_of(heard.ward, watchdog_s=0.0)
        beats.start()
        return beats.interval_s

    assert asyncio.run(beat()) == 0.0
    (line,) = heard.lines()
    assert line.endswith(" inf")


def test_with_nobody_to_hear_it_and_no_limits_nothing_wakes_up() -> None:
    assert beats_of(Ward(), watchdog_s=30.0).interval_s == 0.0


def test_a_service_manager_hears_it_twice_in_its_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))

        async def beat() -> float:
            manager = Manager(str(tmp_path / "notify"), 20.0)
            manager.ready("up")
            beats = beats_of(Ward(), manager, watchdog_s=0.0)
            beats.start()
            beats.close()
            return beats.interval_s

        assert asyncio.run(beat()) == 10.0
        assert [door.recv(999).decode().partition("\n")[0] for _ in range(2)] == ["READY=1", "WATCHDOG=1"]


def test_who_uses_too_much_for_too_long_begins_anew_once() -> None:
    async def look() -> list[str]:
        said: list[str] = []
        beats = Beats(CircusConfig(limits_memory=1 << 20, limits_grace_s=0.02), Ward(), Manager(), said.append)
        beats.start()
        async with asyncio.timeout(30):
            while not said:
                await asyncio.sleep(0.005)
        for _ in range(10):
            await asyncio.sleep(0.005)
        beats.close()
        return said

    (said,) = asyncio.run(look())
    assert said.startswith("memory ")
    assert " of 1.0M for " in said


@pytest.mark.parametrize(("renewals", "start_period_s"), [(0, 60.0), (1, 600.0), (2, 3600.0), (9, 3600.0)])
def test_the_grace_says_how_long_and_how_often(renewals: int, start_period_s: float) -> None:
    policy = policy_of(CircusConfig(limits_memory=1, limits_grace_s=60.0), renewals)
    assert (policy.grace_s, policy.start_period_s, policy.interval_s) == (60.0, start_period_s, 15.0)
