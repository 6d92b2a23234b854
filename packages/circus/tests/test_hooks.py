from __future__ import annotations

import asyncio
import os
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from circus import hooks
from circus.config import expand
from circus.config.model import ConfigInvalid, HookConfig, WatcherConfig
from circus.errors import CircusError


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    module = types.ModuleType("users_hooks")
    monkeypatch.setitem(sys.modules, "users_hooks", module)
    yield module


def run(name: str, *, ignore_errors: bool = False, **kwargs: object) -> tuple[bool, BaseException | None]:
    chosen = hooks.HookSet("web", {name: HookConfig(f"users_hooks.{name}", ignore_errors)})
    return asyncio.run(chosen.call(name, "the watcher", "the arbiter", **kwargs))


def test_a_hook_gets_the_ancestors_arguments(users: types.ModuleType) -> None:
    seen: dict[str, object] = {}

    def before_signal(**kwargs: object) -> bool:
        seen.update(kwargs)
        return True

    users.before_signal = before_signal  # type: ignore[attr-defined]
    assert run("before_signal", pid=7, signum=15) == (True, None)
    assert seen == {
        "watcher": "the watcher",
        "arbiter": "the arbiter",
        "hook_name": "before_signal",
        "pid": 7,
        "signum": 15,
    }


@pytest.mark.parametrize(("answer", "counts_as"), [(None, False), (0, False), (1, True), ("yes", True)])
def test_the_answer_counts_by_its_truth(users: types.ModuleType, answer: object, counts_as: bool) -> None:
    users.before_start = lambda **_: answer  # type: ignore[attr-defined]
    assert run("before_start") == (counts_as, None)


@pytest.mark.parametrize(
    ("name", "ignored", "counts_as"),
    [("before_start", False, False), ("before_start", True, True), ("before_signal", False, True)],
)
def test_an_exception_is_contained(users: types.ModuleType, name: str, ignored: bool, counts_as: bool) -> None:
    def fails(**_: object) -> None:
        raise ValueError("what now")

    setattr(users, name, fails)
    ok, error = run(name, ignore_errors=ignored)
    assert ok is counts_as
    assert isinstance(error, ValueError)


def test_a_hook_that_leaves_the_interpreter_does_not_take_circusd_along(users: types.ModuleType) -> None:
    users.before_start = lambda **_: sys.exit(1)  # type: ignore[attr-defined]
    ok, error = run("before_start")
    assert not ok
    assert "SystemExit" in str(error)


def test_a_hook_that_hangs_counts_as_failed(users: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "TIMEOUT_S", 0.05)
    release = threading.Event()
    users.before_start = lambda **_: release.wait(20)  # type: ignore[attr-defined]
    ok, error = run("before_start")
    release.set()
    assert not ok
    assert str(error) == "gave no answer within 0.05 s"


def test_a_hook_that_meets_a_time_out_of_its_own_has_answered(users: types.ModuleType) -> None:
    def connects(**_: object) -> None:
        raise TimeoutError("the database gave no answer")

    users.after_start = connects  # type: ignore[attr-defined]
    ok, error = run("after_start")
    assert (ok, str(error)) == (False, "the database gave no answer")


@pytest.mark.parametrize("path", ["os.path.join", "os.path:join"])
def test_both_forms_of_a_path_are_found(path: str) -> None:
    assert hooks.find(path)("a", "b") == "a/b"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("no_such_module.hook", "no_such_module"),
        ("os.no_such", "no_such"),
        ("os.sep", "not a function"),
        ("x", "x"),
    ],
)
def test_a_wrong_path_is_said(path: str, says: str) -> None:
    with pytest.raises(CircusError, match=says) as raised:
        hooks.find(path)
    assert raised.value.code == "config-invalid"


def test_a_module_that_leaves_the_interpreter_does_not_take_circusd_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving_module.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CircusError, match="SystemExit"):
        hooks.find("leaving_module.hook")


def test_the_watcher_and_the_kind_of_a_wrong_hook_are_named() -> None:
    with pytest.raises(CircusError, match=r"web: after_stop: hook os\.no_such: "):
        hooks.HookSet("web", {"after_stop": HookConfig("os.no_such", False)})


def test_every_hook_that_is_missing_is_said_at_once() -> None:
    wrong = {
        "web": {"before_start": HookConfig("no_such.one"), "after_start": HookConfig("os.getpid")},
        "db": {"before_stop": HookConfig("no_such.two"), "after_stop": HookConfig("os.sep", file="c.ini", line=9)},
    }
    with pytest.raises(ConfigInvalid) as raised:
        hooks.check(WatcherConfig(name=name, cmd="x", hooks=configured) for name, configured in wrong.items())
    assert [each.what.split(": ")[:2] for each in raised.value.findings] == [
        ["web", "before_start"],
        ["db", "before_stop"],
        ["db", "after_stop"],
    ]
    assert raised.value.message.splitlines()[-1] == (
        "c.ini:9: db: after_stop: hook os.sep is not a function (write it as module.function)"
    )
    hooks.check([WatcherConfig(name="web", cmd="x", hooks={"after_start": HookConfig("os.getpid")})])


def test_a_hook_is_found_through_the_watchers_own_pythonpath_and_never_in_place_of_a_module_of_circusd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "service_hooks.py").write_text("def ready(**_): return True\n")
    (tmp_path / "msgspec.py").write_text("raise AssertionError\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "msgspec", raising=False)
    config = WatcherConfig(
        name="web",
        cmd="x",
        hooks={"after_spawn": HookConfig("service_hooks.ready"), "after_start": HookConfig("msgspec.field")},
        env={"PYTHONPATH": f"/no/such{os.pathsep}{tmp_path}"},
    )
    assert hooks.HookSet.of(config).has("after_spawn")
    hooks.HookSet.of(config)
    assert sys.path.count(str(tmp_path)) == 1
    monkeypatch.delitem(sys.modules, "service_hooks")


def test_the_pythonpath_of_a_watcher_reaches_neither_circusd_without_hooks_nor_other_watchers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    env = {"PYTHONPATH": str(tmp_path)}
    hooks.HookSet.of(WatcherConfig(name="web", cmd="x", env=env))
    assert str(tmp_path) not in sys.path
    hooks.HookSet.of(WatcherConfig(name="web", cmd="x", env=env, hooks={"after_start": HookConfig("os.getpid")}))
    other = WatcherConfig(name="db", cmd="x", copy_path=True)
    assert str(tmp_path) not in expand.child_environment(other, {})["PYTHONPATH"]


def test_a_hook_logs_to_the_log_of_circusd() -> None:
    from circus import logger

    assert logger is hooks.log.parent
