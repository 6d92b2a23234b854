"""A circus of 2022, unchanged, whose processes and sockets our papa hosts: a day in its life."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import machine

import papa
from papa.client.blocking import Connection
from papa.errors import PapaError
from tests import ancestors
from tests.ancestors.manager import Manager
from tests.house import wait_for

pytestmark = pytest.mark.needs(str(ancestors.PYTHON))


@pytest.fixture
def manager(root: Path) -> Iterator[Manager]:
    """Started, and with something in its files."""
    folder = root / "m"
    folder.mkdir()
    manager = Manager(folder, root)
    manager.start()
    wait_for(lambda: len(manager.counted()) > 5, "output")
    yield manager
    manager.kill()
    # Its plugins do not notice.
    machine.end(str(folder))


def hosted() -> dict[str, int]:
    with papa.Papa() as client:
        return {name: info["pid"] for name, info in client.list_processes("circus.*").items() if info["running"]}


def kernel_lives() -> bool:
    try:
        Connection(client="test", autostart=False).close()
    except PapaError:
        return False
    return True


def note_of(manager: Manager, hook: str) -> int:
    return (manager.folder / "hooks.log").read_text().split().count(hook)


def test_it_starts_and_its_processes_are_hosted_under_their_names(manager: Manager) -> None:
    assert manager.status() == {"logger": "active", "plugin:flapping": "active", "web_app": "active"}
    assert set(hosted()) == {"circus.logger.1", "circus.web_app.1", "circus.web_app.2"}
    with papa.Papa() as client:
        assert set(client.list_sockets()) == {"circus.web"}
    assert int(manager.ask()) in manager.pids("web_app")
    assert "number 1 is pid" in (manager.folder / "web_app.log").read_text()


def test_incr_decr_and_reload_change_what_is_hosted(manager: Manager) -> None:
    before = manager.pids("web_app")
    manager.ctl("incr", "web_app")
    wait_for(lambda: len(manager.pids("web_app")) == 3, "one more")
    manager.ctl("decr", "web_app")
    wait_for(lambda: len(manager.pids("web_app")) == 2, "one less")
    manager.ctl("reload", "web_app")
    wait_for(lambda: len(now := manager.pids("web_app")) == 2 and not {*now} & {*before}, "new ones")
    wait_for(lambda: {*hosted().values()} == {*manager.pids("web_app"), *manager.pids("logger")}, "nobody else")
    assert int(manager.ask()) in manager.pids("web_app")


def test_quit_leaves_all_as_it_is_and_the_next_one_goes_on_without_a_gap(manager: Manager) -> None:
    before = hosted()
    hooks = note_of(manager, "before_start"), note_of(manager, "after_spawn")
    manager.quit()
    assert hosted() == before
    assert int(manager.ask()) in before.values()
    written = len(manager.counted())
    with papa.Papa() as client:
        started = {name: info["started"] for name, info in client.list_processes().items()}
    assert len(manager.counted()) == written
    manager.start()
    assert hosted() == before
    assert manager.pids("logger") == [before["circus.logger.1"]]
    wait_for(lambda: len(manager.counted()) > written + 20, "output")
    counted = manager.counted()
    assert counted == list(range(len(counted)))
    with papa.Papa() as client:
        assert {name: info["started"] for name, info in client.list_processes().items()} == started
    assert (note_of(manager, "before_start"), note_of(manager, "after_spawn")) == (hooks[0], hooks[1] + 2)


def test_a_manager_that_is_killed_loses_no_output(manager: Manager) -> None:
    before = hosted()
    manager.kill()
    assert int(manager.ask()) in before.values()
    manager.start()
    assert hosted() == before
    written = len(manager.counted())
    wait_for(lambda: len(manager.counted()) > written + 20, "output")
    counted = manager.counted()
    # What was not acknowledged when it was killed comes a second time, and nothing is missing.
    assert sorted({*counted}) == list(range(max(counted) + 1))


def test_a_process_that_is_killed_is_replaced(manager: Manager) -> None:
    (old,) = manager.pids("logger")
    os.kill(old, 9)
    wait_for(lambda: (now := manager.pids("logger")) and now != [old], "another one")
    wait_for(lambda: hosted()["circus.logger.1"] == manager.pids("logger")[0], "its place")


def test_last_words_of_who_died_meanwhile_are_in_the_file(manager: Manager) -> None:
    pid = hosted()["circus.web_app.2"]
    manager.quit()
    os.kill(pid, 3)
    wait_for(lambda: "circus.web_app.2" not in hosted(), "its end")
    manager.start()
    wait_for(lambda: len({*manager.pids("web_app")} - {pid}) == 2, "another one")
    assert f"is pid {pid}" in (manager.folder / "web_app.log").read_text()
    wait_for(lambda: len(hosted()) == 3, "all of them")


def test_stop_ends_processes_and_the_last_one_takes_the_kernel_along(manager: Manager) -> None:
    pids = hosted().values()
    manager.ctl("stop")
    wait_for(lambda: not hosted(), "nobody")
    assert not any(machine.is_alive(pid) for pid in pids)
    wait_for(lambda: manager.status().get("web_app") == "stopped", "its word")
    manager.quit()
    wait_for(lambda: not kernel_lives(), "the end of the kernel")
