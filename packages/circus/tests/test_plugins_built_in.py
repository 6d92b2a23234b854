"""The built-in plugins: their rules, and the faults of the ancestors' that they have not."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest

from circus.errors import CircusError
from circus.plugins import CircusPlugin, command_reloader, redis_observer, settings
from circus.plugins import statsd as statsd_module
from circus.plugins.command_reloader import CommandReloader
from circus.plugins.http_observer import HttpObserver
from circus.plugins.limits import Limits, Patience, Use, broken
from circus.plugins.resource_watcher import ResourceWatcher
from circus.plugins.silence import Silence
from circus.plugins.statsd import BaseObserver, FullStats, StatsdClient, StatsdEmitter, figures_of, render
from circus.plugins.watchdog import WatchDog

P = TypeVar("P", bound=CircusPlugin)


class Circusd:
    """Answers what a plugin asks, and keeps what it orders."""

    def __init__(self) -> None:
        self.replies: dict[str, dict[str, Any]] = {}
        self.casts: list[tuple[str, dict[str, Any]]] = []

    def call(self, command: str, **props: Any) -> dict[str, Any]:
        key = f"{command} {props['name']}" if "name" in props else command
        return self.replies.get(key, {"status": "error", "reason": f"no {key}"})

    def cast(self, command: str, **props: Any) -> None:
        self.casts.append((command, props))


@pytest.fixture
def circusd() -> Circusd:
    return Circusd()


@pytest.fixture
def make(circusd: Circusd) -> Iterator[Callable[..., Any]]:
    made: list[CircusPlugin] = []

    def make(kind: type[P], **config: str) -> P:
        plugin = kind("nowhere", None, 5.0, None, **config)
        made.append(plugin)
        plugin.call = circusd.call  # type: ignore[method-assign]
        plugin.cast = circusd.cast  # type: ignore[method-assign]
        return plugin

    yield make
    for plugin in made:
        plugin.handle_stop()
        plugin.loop.close()


@pytest.fixture
def statsd() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        yield sock


def at(sock: socket.socket) -> dict[str, str]:
    host, port = sock.getsockname()
    return {"host": host, "port": str(port)}


def event(topic: str, **message: object) -> tuple[bytes, bytes]:
    return f"watcher.{topic}".encode(), json.dumps(message).encode()


def run(plugin: CircusPlugin, work: Any) -> None:
    plugin.loop.asyncio_loop.run_until_complete(work)


# statsd -----------------------------------------------------------------------------------------------------


def test_every_event_is_counted(make: Callable[..., Any], statsd: socket.socket) -> None:
    emitter = make(StatsdEmitter, application_name="shop", **at(statsd))
    emitter.handle_recv(event("web.spawn"))
    assert statsd.recv(1000) == b"circus.shop.watcher.web.spawn:1|c|@1.0"


def test_the_name_of_a_plugin_does_not_break_the_datagram() -> None:
    assert render("watcher.plugin:x.spawn", 1, "c", 0.5) == b"watcher.plugin_x.spawn:1|c|@0.5"
    assert render("a b|c@d", 2.5, "g", 0.5) == b"a_b_c_d:2.5|g"


def test_a_sample_of_the_counts_is_sent_and_every_gauge(statsd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0.4, 0.5])
    monkeypatch.setattr(statsd_module.random, "random", lambda: next(drawn))
    client = StatsdClient(*statsd.getsockname(), sample_rate=0.5)
    client.increment("a")
    client.increment("b")
    client.gauge("g", 7)
    client.timed("t", 1.5)
    client.send("d", -1, sample_rate=1.0)
    assert [statsd.recv(100) for _ in range(4)] == [b"a:1|c|@0.5", b"g:7|g", b"t:1.5|ms", b"d:-1|c|@1.0"]
    client.stop()


def test_a_statsd_that_is_not_there_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    unknown = StatsdClient("no.such.host.invalid", 8125)
    for _ in range(3):
        unknown.decrement("x")
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
    silent = StatsdClient(*address)
    for _ in range(3):
        silent.increment("x")
    silent.stop()


PROCESSES = {
    "1": {"cpu": 10.0, "mem": 1.0, "mem_info1": "1.00M"},
    "2": {"cpu": 30.0, "mem": 2.0, "mem_info1": "3.00K"},
    "3": {"cpu": "N/A", "mem": "N/A", "mem_info1": "N/A"},
    "4": "No such process (stopped?)",
}


def test_full_stats_measures_watchers_and_leaves_out_plugins_and_what_nobody_knows(
    make: Callable[..., Any], statsd: socket.socket, circusd: Circusd
) -> None:
    assert figures_of(PROCESSES) == {
        "watchers_num": 4,
        "cpu_max": 30.0,
        "cpu_sum": 40.0,
        "mem_pct_max": 2.0,
        "mem_pct_sum": 3.0,
        "mem_max": 1 << 20,
        "mem_sum": (1 << 20) + 3072,
    }
    circusd.replies["stats"] = {"status": "ok", "infos": {"plugin:x": PROCESSES, "web": {}}}
    full = make(FullStats, **at(statsd))
    full.look_after()
    assert statsd.recv(1000) == b"circus.app.watcher._stats.web.watchers_num:0|g"
    circusd.replies.clear()
    full.look_after()  # is only logged


def test_an_observer_of_ones_own_looks_again_and_again(make: Callable[..., Any]) -> None:
    class Mine(BaseObserver):
        looks = 0

        def look_after(self) -> None:
            self.looks += 1
            if self.looks == 2:
                self.period.stop()
                self.loop.stop()

    mine = make(Mine, loop_rate="0.01")
    mine.handle_init()
    mine.handle_recv(event("web.spawn"))
    mine.loop.start()
    assert (mine.looks, mine.loop_rate) == (2, 0.01)
    observer = make(BaseObserver)
    with pytest.raises(NotImplementedError):
        observer.look_after()


# resource_watcher -------------------------------------------------------------------------------------------

BYTES = (100.0, True)


@pytest.mark.parametrize(
    ("limits", "uses", "expected"),
    [
        (Limits(max_cpu=90), [Use(90, 0, 0)], set()),
        (Limits(max_cpu=90), [Use(10, 0, 0), Use(91, 0, 0)], {"over_cpu"}),
        (Limits(min_cpu=5), [Use(5, 0, 0)], set()),
        (Limits(min_cpu=5), [Use(50, 0, 0), Use(4, 0, 0)], {"under_cpu"}),
        (Limits(max_mem=(50, False)), [Use(0, 51, 1)], {"over_memory"}),
        (Limits(max_mem=BYTES), [Use(0, 51, 100)], set()),
        (Limits(max_mem=BYTES), [Use(0, 0.1, 101)], {"over_memory"}),
        (Limits(min_mem=(50, False)), [Use(0, 49, 10**9)], {"under_memory"}),
        (Limits(health_threshold=75), [Use(100, 50, 0)], set()),
        (Limits(health_threshold=75), [Use(100, 51, 0)], {"over_health"}),
        (Limits(max_cpu=0, max_mem=(0, False), min_cpu=1, min_mem=(1, False), health_threshold=0), [], set()),
    ],
)
def test_limits_are_broken_beyond_them(limits: Limits, uses: list[Use], expected: set[str]) -> None:
    assert broken(limits, uses) == expected


def test_a_least_memory_in_bytes_is_compared_with_bytes() -> None:
    assert broken(Limits(min_mem=BYTES), [Use(0, 0.001, 101)]) == set()
    assert broken(Limits(min_mem=BYTES), [Use(0, 99, 99)]) == {"under_memory"}


def test_what_nobody_knows_breaks_no_limit() -> None:
    limits = Limits(max_cpu=0, min_cpu=math.inf, max_mem=(0, False), min_mem=BYTES, health_threshold=0)
    assert broken(limits, [Use(None, None, None)]) == set()


def test_each_limit_has_a_count_of_its_own_that_ends_when_it_holds_again() -> None:
    patience = Patience(2)
    looks = ["a", "ab", "b", "ab", "ab", "a", "", "a"]
    told = [patience.is_over(frozenset(look)) for look in looks]
    assert told == [False, False, False, True, False, False, False, False]


def use(cpu: float, **more: object) -> dict[str, Any]:
    return {"cpu": cpu, "mem": 1.0, "mem_info1": "10.00M", **more}


def test_a_watcher_that_uses_too_much_for_too_long_is_restarted(
    make: Callable[..., Any], circusd: Circusd, statsd: socket.socket
) -> None:
    plugin = make(ResourceWatcher, service="web", max_cpu="50", max_count="1", max_mem="9M", **at(statsd))
    for cpu in (60.0, 10.0, 60.0):
        circusd.replies["stats web"] = {"status": "ok", "info": {"1": use(cpu, mem_info1="1.00M"), "2": "gone"}}
        plugin.look_after()
    assert circusd.casts == []
    circusd.replies["stats web"]["info"]["1"] = use(60.0)
    plugin.look_after()
    assert circusd.casts == [("restart", {"name": "web", "match": "simple"})]
    counted = [statsd.recv(1000).decode().partition(":")[0].rpartition(".")[2] for _ in range(5)]
    assert counted == ["over_cpu", "over_cpu", "over_cpu", "over_memory", "restarting"]
    circusd.replies.clear()
    plugin.look_after()
    assert statsd.recv(1000) == b"circus.app.watcher._resource_watcher.web.error:1|c|@1.0"


def test_only_the_child_that_uses_too_much_for_too_long_is_signalled(
    make: Callable[..., Any], circusd: Circusd
) -> None:
    plugin = make(
        ResourceWatcher, watcher="web", max_cpu="50", max_count="1", process_children="1", child_signal="USR1"
    )

    def look(*cpus: float, born: float = 1.0) -> None:
        children = [use(cpu, pid=pid, create_time=born) for pid, cpu in enumerate(cpus, 21)]
        circusd.replies["stats web"] = {"status": "ok", "info": {"1": use(90.0, children=children)}}
        plugin.look_after()

    look(60.0, 10.0)
    look(60.0, 60.0, born=2.0)  # others by now, with the same numbers
    assert circusd.casts == []
    look(60.0, 10.0, born=2.0)
    assert circusd.casts == [("signal", {"name": "web", "childpid": 21, "signum": signal.SIGUSR1})]
    look()
    assert plugin._of_children == {}


def test_an_option_that_is_wrong_is_said() -> None:
    with pytest.raises(CircusError, match="loop_rate = 'often' is not a number of seconds"):
        settings.read(statsd_module.FullStats.table, {"loop_rate": "often"})


# watchdog ---------------------------------------------------------------------------------------------------


def test_who_is_silent_for_too_long_is_taken_once_and_who_speaks_is_not() -> None:
    silence = Silence(30)
    for pid in (1, 2, 3, 4):
        silence.add(pid, f"w{pid}", 0)
    assert silence.hear(1, 20)
    assert not silence.hear(99, 20)
    silence.add(1, "w1", 0)  # known: it was heard at 20
    silence.remove(4)
    assert silence.take_silent(29) == []
    assert silence.take_silent(30) == [(2, "w2"), (3, "w3")]
    assert silence.take_silent(31) == []
    assert 1 in silence
    silence.keep({7})
    assert silence.take_silent(100) == []


@pytest.fixture
def watchdog(make: Callable[..., Any], circusd: Circusd) -> WatchDog:
    circusd.replies = {
        "list": {"watchers": ["my web", "plugin:x", "other"]},
        "list my web": {"pids": [11, 12]},
        "list plugin:x": {"pids": [13]},
        "list other": {"pids": [14]},
    }
    plugin: WatchDog = make(
        WatchDog,
        port="0",
        watchers_regex="My",
        loop_rate="10",
        watchers_stop_signal="INT",
        watchers_graceful_timeout="2",
    )
    plugin.handle_init()
    return plugin


def say(watchdog: WatchDog, *data: bytes) -> None:
    assert watchdog._sock is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for each in data:
            sock.sendto(each, watchdog._sock.getsockname())
    run(watchdog, asyncio.sleep(0.01))


def test_a_silent_process_is_killed_and_the_loop_over_them_goes_on(
    watchdog: WatchDog, circusd: Circusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("circus.plugins.watchdog.time.monotonic", lambda: now)
    watchdog.discover()
    watchdog._silence.keep(set())
    watchdog.discover()  # from now on
    watchdog.handle_recv(event("my_web.spawn", process_pid=15))
    watchdog.handle_recv(event("other.spawn", process_pid=16))
    watchdog.handle_recv(event("plugin:x.spawn", process_pid=17))
    watchdog.handle_recv(event("my_web.kill", process_pid=12))
    watchdog.handle_recv(event("my_web.reap", process_pid=12))
    now += 29
    watchdog.look_after()
    assert circusd.casts == []
    now += 1
    watchdog.look_after()
    order = {"name": "my web", "signum": 2, "graceful_timeout": 2.0}
    assert circusd.casts == [("kill", {**order, "pid": 11}), ("kill", {**order, "pid": 15})]


def test_a_watchdog_that_was_held_up_reads_what_came_meanwhile_before_it_kills(
    watchdog: WatchDog, circusd: Circusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watchdog._sock is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"11;5", watchdog._sock.getsockname())
    later = watchdog._silence._known[11].heard_at + 1000
    monkeypatch.setattr("circus.plugins.watchdog.time.monotonic", lambda: later)
    watchdog.look_after()
    assert [props["pid"] for _, props in circusd.casts] == [12]


def test_who_says_that_it_lives_is_spared_whatever_else_comes(watchdog: WatchDog, circusd: Circusd) -> None:
    heard_at = watchdog._silence._known[11].heard_at
    say(watchdog, b"11;5", b"", b"nonsense", b"x;y", b"\xff;", b"99;1", "²;1".encode(), b"9" * 60_000, b" 11 ;6")
    assert watchdog._silence._known[11].heard_at > heard_at
    assert watchdog._silence._known[12].heard_at < watchdog._silence._known[11].heard_at


def test_a_watcher_that_is_new_is_asked_for(watchdog: WatchDog, circusd: Circusd) -> None:
    circusd.replies["list"]["watchers"] = ["my web", "mynew one"]
    watchdog.handle_recv(event("mynew_one.spawn", process_pid=21))
    watchdog.handle_recv(event("unknown.spawn", process_pid=22))
    assert 21 in watchdog._silence
    assert 22 not in watchdog._silence
    circusd.replies["list mynew one"] = {"pids": [21]}
    circusd.replies["list my web"] = {"pids": [12]}
    watchdog.handle_gap(None)
    assert 11 not in watchdog._silence


def test_a_watchdog_that_cannot_listen_or_understand_says_so(make: Callable[..., Any], statsd: socket.socket) -> None:
    with pytest.raises(CircusError, match=r"cannot listen at 127\.0\.0\.1"):
        make(WatchDog, port=at(statsd)["port"]).handle_init()
    with pytest.raises(CircusError, match="no group"):
        make(WatchDog, msg_regex="(.*)")


# http_observer ----------------------------------------------------------------------------------------------


class _Page(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def page() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_that_does_not_answer_well_restarts_a_watcher(
    make: Callable[..., Any], circusd: Circusd, statsd: socket.socket, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = make(HttpObserver, check_url=page, restart_on_error="web", timeout="20", **at(statsd))
    run(observer, observer.look_after())
    assert statsd.recv(1000).startswith(b"circus.http_observer.watcher.http_stats.request_time:")
    assert circusd.casts == []
    monkeypatch.setattr(_Page, "status", 503)
    run(observer, observer.look_after())
    assert statsd.recv(1000) == b"circus.http_observer.watcher.http_stats.error:1|c|@1.0"
    assert circusd.casts == [("restart", {"name": "web", "match": "simple"})]


def test_a_page_that_hangs_counts_as_down_and_holds_up_nothing(
    make: Callable[..., Any], circusd: Circusd, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        observer = make(HttpObserver, check_url=url, timeout="0.05")

        async def twice() -> None:
            await asyncio.gather(observer.look_after(), observer.look_after())

        run(observer, twice())
    assert [record.getMessage() for record in caplog.records] == [f"{url}: no answer within 0.05 s"]
    assert circusd.casts == []


# redis_observer ---------------------------------------------------------------------------------------------


class FakeRedis(types.ModuleType):
    def __init__(self) -> None:
        super().__init__("redis")
        self.asked: list[tuple[str, dict[str, float]]] = []
        self.answer: Any = None

    def from_url(self, url: str, **timeouts: float) -> FakeRedis:
        if not url.startswith("redis://"):
            raise ValueError("it is no URL of redis")
        self.asked.append((url, timeouts))
        return self

    def info(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> FakeRedis:
    made = FakeRedis()
    monkeypatch.setitem(sys.modules, "redis", made)
    return made


def test_the_time_out_of_redis_is_a_time_out(redis: FakeRedis, make: Callable[..., Any]) -> None:
    make(redis_observer.RedisObserver, timeout="2", redis_url="redis://h/1")
    assert redis.asked == [("redis://h/1", {"socket_timeout": 2.0, "socket_connect_timeout": 2.0})]
    with pytest.raises(CircusError, match="it is no URL of redis"):
        make(redis_observer.RedisObserver, redis_url="http://x")


def test_what_redis_tells_in_numbers_is_measured_and_silence_restarts_a_watcher(
    redis: FakeRedis, make: Callable[..., Any], circusd: Circusd, statsd: socket.socket
) -> None:
    observer = make(redis_observer.RedisObserver, restart_on_timeout="redis", **at(statsd))
    redis.answer = {"used_memory": 5, "role": "master", "db0": {"keys": 7, "x": "y"}}
    run(observer, observer.look_after())
    assert [statsd.recv(1000) for _ in range(2)] == [
        b"circus.redis_observer.watcher.redis_stats.used_memory:5|g",
        b"circus.redis_observer.watcher.redis_stats.db0_keys:7|g",
    ]
    assert circusd.casts == []
    redis.answer = TimeoutError("too late")
    run(observer, observer.look_after())
    assert circusd.casts == [("restart", {"name": "redis", "match": "simple"})]


def test_without_the_package_redis_there_is_one_clear_line(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(CircusError, match="needs the package redis") as caught:
        make(redis_observer.RedisObserver)
    assert caught.value.hint.startswith("pip install redis")


# command_reloader -------------------------------------------------------------------------------------------


def test_a_program_or_a_script_that_changes_restarts_its_watcher(
    make: Callable[..., Any], circusd: Circusd, tmp_path: Path
) -> None:
    script, link = tmp_path / "app.py", tmp_path / "current"
    script.write_text("1")
    link.symlink_to(script)
    circusd.replies = {
        "list": {"watchers": ["plugin:x", "web", "linked", "gone"]},
        "options web": {"options": {"cmd": f"{sys.executable} 'app.py' --flag", "working_dir": str(tmp_path)}},
        "options linked": {"options": {"cmd": str(link)}},
    }
    reloader = make(CommandReloader)
    reloader.handle_init()
    reloader.look_after()
    assert circusd.casts == []
    script.unlink()
    reloader.look_after()
    assert circusd.casts == []  # until it is there again
    script.write_text("2")
    os.utime(script, ns=(5, 5))
    reloader.look_after()
    assert [props["name"] for _, props in circusd.casts] == ["web", "linked"]
    circusd.casts.clear()
    (tmp_path / "new.py").write_text("3")
    os.utime(tmp_path / "new.py", ns=(5, 5))
    link.unlink()
    link.symlink_to(tmp_path / "new.py")
    reloader.handle_recv(event("linked.updated"))  # asked anew, and compared with what was seen
    reloader.look_after()
    reloader.look_after()
    reloader.handle_gap(1)
    assert circusd.casts == [("restart", {"name": "linked", "match": "simple"})]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"cmd": "sh -c 'exit 0'"}, ["sh"]),
        ({"cmd": "python app.py", "executable": "/bin/sh"}, ["/bin/sh"]),
        ({"cmd": "no-such-program-at-all x"}, []),
        ({"cmd": "'"}, []),
        ({"cmd": ""}, []),
        ({}, []),
    ],
)
def test_what_a_command_names_is_found_and_a_command_is_no_path(options: dict[str, str], found: list[str]) -> None:
    assert [os.path.basename(path) for path in command_reloader.files_of(options)] == [
        os.path.basename(each) for each in found
    ]
