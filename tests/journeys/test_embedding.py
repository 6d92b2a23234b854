"""circusd inside another program, with real processes: on a loop of its own, on a given one, and in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import circus
from circus.arbiter import Arbiter, ThreadedArbiter
from circus.client import AsyncCircusClient, CircusClient
from circus.consumer import CircusConsumer
from circus.errors import CircusError
from circus.exc import AlreadyExist, CallError
from circus.serving import Serving
from circus.sockets import CircusSocket
from circus.stats.client import StatsClient
from circus.supervise import events
from circus.watcher import Watcher
from tests.house import BIN, process, wait_for

SLEEPER = "/bin/sleep 1000"

pytestmark = pytest.mark.usefixtures("runtime_root")


@contextlib.contextmanager
def in_background(watchers: list[Any], **keywords: Any) -> Iterator[Arbiter]:
    arbiter = circus.get_arbiter(watchers, background=True, **keywords)
    arbiter.start()
    try:
        yield arbiter
    finally:
        arbiter.stop()


class Program:
    """A script, as somebody would write it who has circus inside; what it prints is JSON, line by line."""

    def __init__(self, folder: Path, text: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "program.py"
        path.write_text(text)
        environ = {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "error"}
        self.process = subprocess.Popen(
            [sys.executable, path], stdout=subprocess.PIPE, text=True, env=environ, cwd=folder
        )

    def said(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the program ended with {self.process.wait()}"
        return json.loads(line)

    def end(self, signum: int | None = None) -> int:
        if signum is not None:
            self.process.send_signal(signum)
        with self.process:
            return self.process.wait()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


FOREGROUND = f"""
import json, signal, sys
from circus import get_arbiter

def say(**told):
    print(json.dumps(told), flush=True)

signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGHUP, lambda *_: None)
before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
arbiter = get_arbiter([{{"cmd": "{SLEEPER}", "numprocesses": 2}}])
say(before=arbiter.running)
arbiter.start(lambda future: say(states=arbiter.statuses(), pids=arbiter.get_watcher("sleep").pids,
                                 done=future.done(), endpoint=arbiter.endpoint))
say(running=arbiter.running,
    kept=before == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)])
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_program_in_the_foreground_ends_its_processes_on_a_signal_and_goes_on(
    signum: signal.Signals, tmp_path: Path
) -> None:
    program = Program(tmp_path, FOREGROUND)
    assert program.said() == {"before": False}
    up = program.said()
    assert (up["states"], up["done"]) == ({"sleep": "active"}, True)
    assert CircusClient(endpoint=up["endpoint"]).send_message("numprocesses")["numprocesses"] == 2
    program.process.send_signal(signum)
    assert program.said() == {"running": False, "kept": True}
    assert program.end() == 0
    assert not any(is_alive(pid) for pid in up["pids"])


def test_a_client_may_end_it_too(tmp_path: Path) -> None:
    program = Program(tmp_path, FOREGROUND)
    program.said()
    CircusClient(endpoint=program.said()["endpoint"]).send_message("quit")
    assert program.said()["running"] is False
    assert program.end() == 0


def test_a_second_start_of_a_killed_program_takes_over_what_runs(tmp_path: Path) -> None:
    first = Program(tmp_path, FOREGROUND)
    first.said()
    before = first.said()
    first.end(signal.SIGKILL)
    assert all(is_alive(pid) for pid in before["pids"]), "papa is their parent"
    second = Program(tmp_path, FOREGROUND)
    second.said()
    after = second.said()
    assert (after["pids"], after["endpoint"]) == (before["pids"], before["endpoint"])
    assert second.end(signal.SIGTERM) == 0
    assert not any(is_alive(pid) for pid in before["pids"])


def test_two_programs_at_once_never_meet(tmp_path: Path) -> None:
    programs = [Program(tmp_path, FOREGROUND) for _ in range(2)]
    for program in programs:
        program.said()
    up = [program.said() for program in programs]
    assert up[0]["endpoint"] != up[1]["endpoint"]
    assert programs[0].end(signal.SIGTERM) == 0
    assert all(is_alive(pid) for pid in up[1]["pids"])
    assert programs[1].end(signal.SIGTERM) == 0


def test_in_a_thread_everything_can_be_steered_from_another() -> None:
    with in_background([{"cmd": SLEEPER, "name": "Web", "numprocesses": 2}, Watcher("db", SLEEPER)]) as arbiter:
        assert isinstance(arbiter, ThreadedArbiter)
        assert (arbiter.running, arbiter.numwatchers(), arbiter.numprocesses()) == (True, 2, 3)
        web = arbiter.get_watcher("web")
        assert (web.name, web.status(), web.is_active(), len(web.pids)) == ("Web", "active", True, 2)
        assert web.incr().result()["numprocesses"] == 3
        assert web.decr(2).result()["numprocesses"] == 1
        web.set_numprocesses(2).result()
        assert (web.numprocesses, len(web.get_active_processes())) == (2, 2)
        before = web.pids
        web.restart().result()
        assert not set(before) & set(web.pids)
        before = web.pids
        web.reload().result()
        assert not set(before) & set(web.pids)
        web.stop().result()
        assert arbiter.statuses() == {"Web": "stopped", "db": "active"}
        assert web.is_stopped()
        arbiter.start_watchers().result()
        assert arbiter.statuses()["Web"] == "active"
        arbiter.stop_watchers().result()
        assert set(arbiter.statuses().values()) == {"stopped"}
        arbiter.restart().result()
        assert arbiter.numprocesses() == 3
        arbiter.reload(sequential=True).result()
        assert [watcher.name for watcher in arbiter.iter_watchers()] == ["db", "Web"]
        assert arbiter.send_message("list").result() == {"watchers": ["db", "web"]}
        with pytest.raises(CircusError, match="unknown command"):
            arbiter.send_message("nope").result()
        with pytest.raises(KeyError):
            arbiter.get_watcher("nope")
        assert web.options()["graceful_timeout"] == 30
        web.set_opt("graceful_timeout", 5).result()
        assert web.options()["graceful_timeout"] == 5
        web.send_signal(web.pids[0], signal.SIGKILL)
        wait_for(lambda: len(web.pids) == 2, "the next process")
    assert not arbiter.running
    with pytest.raises(CallError, match="does not run"):
        arbiter.statuses()
    with pytest.raises(CircusError, match="started once"):
        arbiter.start()


def test_watchers_are_added_and_removed_before_the_start_and_after_it() -> None:
    arbiter = circus.get_arbiter([{"cmd": SLEEPER, "name": "a"}], background=True)
    arbiter.add_watcher("b", SLEEPER, numprocesses=2)
    arbiter.add_watcher("c", SLEEPER)
    arbiter.rm_watcher("c")
    with pytest.raises(AlreadyExist):
        arbiter.add_watcher("B", SLEEPER)
    with pytest.raises(CircusError, match="does not exist"):
        arbiter.add_watcher("d", "/no/such/program")
    assert arbiter.numwatchers() == 2
    arbiter.start()
    try:
        assert arbiter.numprocesses() == 3
        added = arbiter.add_watcher("d", SLEEPER, args=["7"], env={"A": "1"}, hooks={"before_start": _refuse})
        assert added.status() == "stopped"
        with pytest.raises(CircusError, match="before_start"):
            added.start().result()
        with pytest.raises(AlreadyExist):
            arbiter.add_watcher("D", SLEEPER)
        with pytest.raises(CircusError, match="does not exist"):
            arbiter.add_watcher("e", "/no/such/program")
        pids = arbiter.get_watcher("a").pids
        arbiter.rm_watcher("a").result()
        assert [watcher.name for watcher in arbiter.watchers] == ["b", "d"]
        assert not any(is_alive(pid) for pid in pids)
    finally:
        arbiter.stop()


def _refuse(**_told: object) -> bool:
    return False


def test_functions_are_hooks_and_objects_are_streams() -> None:
    called: list[tuple[str, str, dict[str, Any]]] = []
    heard: dict[str, list[dict[str, Any]]] = {"function": [], "object": [], "class": []}

    def hook(watcher: Any, arbiter: Any, hook_name: str, **told: Any) -> bool:
        called.append((watcher.name, hook_name, told))
        return True

    class Stream:
        def __init__(self, into: str, **more: Any) -> None:
            self.into, self.more = into, more

        def __call__(self, data: dict[str, Any]) -> None:
            heard[self.into].append({**data, **self.more})

        def close(self) -> None:
            heard[self.into].append({"data": b"closed"})

    def watcher(name: str, stream: Any) -> dict[str, Any]:
        shell = "/bin/sh -c 'echo out; echo err >&2; exec sleep 1000'"
        return {"name": name, "cmd": shell, "copy_env": True, "stdout_stream": stream}

    hooks = {"before_start": hook, "after_stop": (hook, True)}
    watchers = [
        watcher("one", {"stream": lambda data: heard["function"].append(data)}) | {"hooks": hooks},
        watcher("two", Stream("object")) | {"stderr_stream": {"stream": Stream("object")}},
        watcher("three", {"class": Stream, "into": "class", "number": 7}),
    ]
    with in_background(watchers) as arbiter:
        pids = {name: arbiter.get_watcher(name).pids[0] for name in ("one", "two", "three")}
        wait_for(lambda: heard["function"] and len(heard["object"]) >= 2 and heard["class"], "what they wrote")
    assert [(name, hook_name) for name, hook_name, _ in called] == [("one", "before_start"), ("one", "after_stop")]
    first = heard["function"][0]
    assert (first["data"], first["pid"], first["name"]) == (b"out\n", pids["one"], "stdout")
    assert {(each["name"], each["data"]) for each in heard["object"] if "name" in each} == {
        ("stdout", b"out\n"),
        ("stderr", b"err\n"),
    }
    assert heard["class"][0]["number"] == 7
    assert heard["class"][-1] == {"data": b"closed"}


def test_coroutines_steer_the_arbiter_of_their_own_loop() -> None:
    async def program() -> None:
        arbiter = circus.get_arbiter([{"cmd": SLEEPER, "name": "web"}], loop=asyncio.get_running_loop())
        started: list[Any] = []
        before = signal.getsignal(signal.SIGTERM)
        starting = arbiter.start(started.append)
        assert starting is not None
        await starting
        assert signal.getsignal(signal.SIGTERM) is before, "signals are the program's"
        assert started[0].done()
        assert arbiter.statuses() == {"web": "active"}
        added = await arbiter.add_watcher("db", SLEEPER)
        await added.start()
        assert arbiter.numprocesses() == 2
        with pytest.raises(CircusError, match="does not exist"):
            await arbiter.add_watcher("x", "/no/such/program")
        with pytest.raises(RuntimeError, match="await"):
            added.stop().result()
        await arbiter.rm_watcher("db")
        with pytest.raises(CircusError, match="a loop runs in this thread"):
            circus.get_arbiter([{"cmd": SLEEPER}]).start()
        reply = await AsyncCircusClient(endpoint=arbiter.endpoint).send_message("list")
        assert reply["watchers"] == ["web"]
        await arbiter.stop()
        assert not arbiter.running
        assert arbiter.loop is asyncio.get_running_loop()
        await arbiter.stop()

    asyncio.run(program())


def test_a_loop_of_tornado_is_the_loop_of_asyncio_below_it() -> None:
    class IOLoop:
        def __init__(self) -> None:
            self.asyncio_loop = asyncio.get_running_loop()

    async def program() -> None:
        arbiter = circus.get_arbiter([{"cmd": SLEEPER}], loop=IOLoop())
        await arbiter.start()  # type: ignore[misc]
        assert arbiter.statuses() == {"sleep": "active"}
        await arbiter.stop()

    asyncio.run(program())


def test_a_callback_may_end_it_and_one_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []
    first = circus.get_arbiter([{"cmd": SLEEPER}])

    def end() -> None:
        ended.append("by a function")
        first.stop()

    first.start(end)
    second = circus.get_arbiter([{"cmd": SLEEPER}])

    async def wait() -> None:
        ended.append("by a coroutine")
        await second.stop()

    second.start(wait)
    third = circus.get_arbiter([{"cmd": SLEEPER}])

    def fail() -> None:
        threading.Thread(target=third.stop).start()
        raise ValueError("as it happens")

    third.start(fail)
    assert ended == ["by a function", "by a coroutine"]
    assert "the callback of the arbiter's start failed" in caplog.text
    assert not any(arbiter.running for arbiter in (first, second, third))


def test_what_is_stopped_while_it_starts_leaves_nothing() -> None:
    async def program() -> None:
        arbiter = circus.get_arbiter([{"cmd": SLEEPER}], loop=asyncio.get_running_loop())
        starting = asyncio.ensure_future(arbiter.start())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        arbiter.stop()
        await asyncio.wait([starting])
        await asyncio.to_thread(wait_for, lambda: not arbiter.running, "the end")

    asyncio.run(program())
    never = circus.get_arbiter([{"cmd": SLEEPER}])
    never.stop().result()


def test_what_comes_while_it_starts_is_refused_and_not_lost() -> None:
    async def program() -> None:
        arbiter = circus.get_arbiter([{"name": "one", "cmd": SLEEPER}], loop=asyncio.get_running_loop())
        starting = asyncio.ensure_future(arbiter.start())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        with pytest.raises(CallError, match="the arbiter is starting, and takes no orders yet"):
            arbiter.add_watcher("two", SLEEPER)
        with pytest.raises(CallError, match="the arbiter is starting"):
            arbiter.rm_watcher("one")
        with pytest.raises(CallError, match="the arbiter is starting"):
            await arbiter.reload()
        await starting
        await arbiter.add_watcher("two", SLEEPER)
        assert arbiter.statuses() == {"one": "active", "two": "stopped"}
        await arbiter.stop()

    asyncio.run(program())


def test_what_was_started_by_one_that_cannot_come_up_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    async def start(serving: Serving) -> None:
        await serving.engine.start()
        await serving.engine.order(lambda op: events.Start(op), is_by_hand=False)
        pids.extend(slot.pid or 0 for view in serving.engine.fleet.snapshot() for slot in view.slots)
        raise OSError("no door")

    monkeypatch.setattr(Serving, "start", start)
    with pytest.raises(OSError, match="no door"):
        circus.get_arbiter([{"cmd": SLEEPER}], background=True).start()
    assert len(pids) == 1
    assert not is_alive(pids[0])


def test_the_program_keeps_its_logging_and_its_umask() -> None:
    root = logging.getLogger()
    before, mask = list(root.handlers), os.umask(0o027)
    try:
        with in_background([{"cmd": SLEEPER}]):
            assert root.handlers == before
            assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)


def test_a_controller_is_a_name_that_clients_know_and_only_one_has(tmp_path: Path) -> None:
    controller = f"ipc://{tmp_path}/endpoint"
    with in_background([{"cmd": SLEEPER, "name": "web"}], controller=controller) as arbiter:
        assert arbiter.endpoint == controller
        assert CircusClient(endpoint=controller).send_message("list")["watchers"] == ["web"]
        with pytest.raises(CircusError, match="runs already"):
            circus.get_arbiter([{"cmd": SLEEPER}], controller=controller, background=True).start()
    with in_background([{"cmd": SLEEPER}], name="mine") as arbiter:
        assert CircusClient(endpoint="mine").send_message("numwatchers")["numwatchers"] == 1
        assert arbiter.name == "mine"


def test_others_may_be_let_in_at_a_control_socket_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o711)
    control = tmp_path / "open" / "circus.sock"
    told = {"api.viewers": f"user:{pwd.getpwuid(os.geteuid()).pw_name}", "control": f"unix://{control}"}
    with in_background([{"cmd": SLEEPER}], circus=told) as arbiter:
        assert arbiter.endpoint == str(control)
        assert control.stat().st_mode & 0o777 == 0o666, "who may speak is decided then"
        assert CircusClient(endpoint=arbiter.endpoint).send_message("numwatchers")["numwatchers"] == 1


def test_what_was_added_by_hand_is_forgotten_by_the_next_start() -> None:
    with in_background([{"cmd": SLEEPER, "name": "a"}], name="mine") as arbiter:
        arbiter.add_watcher("b", SLEEPER)
        arbiter.get_watcher("a").incr().result()
    with in_background([{"cmd": SLEEPER, "name": "a"}], name="mine") as arbiter:
        assert (arbiter.numwatchers(), arbiter.numprocesses()) == (1, 1)
        arbiter.add_watcher("b", SLEEPER)
        arbiter.reload_from_config().result()
        assert arbiter.numwatchers() == 2, "the program has added it"


def test_what_uses_papa_outlives_the_program_and_is_taken_over(runtime_root: Path) -> None:
    watchers = [{"cmd": SLEEPER, "name": "stays", "use_papa": True}, {"cmd": SLEEPER, "name": "goes"}]
    with in_background(watchers, name="mine") as arbiter:
        stays, goes = arbiter.get_watcher("stays").pids, arbiter.get_watcher("goes").pids
    assert is_alive(stays[0])
    assert not is_alive(goes[0])
    with in_background(watchers, name="mine") as arbiter:
        assert arbiter.get_watcher("stays").pids == stays
        arbiter.stop_watchers().result()


def test_sockets_are_open_and_their_addresses_told(tmp_path: Path) -> None:
    python = "import socket,sys,os; s=socket.socket(fileno=int(sys.argv[1])); c=s.accept()[0]; c.send(b'hello')"
    watcher = {"name": "web", "cmd": f'{sys.executable} -c "{python}" $(circus.sockets.web)', "use_sockets": True}
    described = [
        CircusSocket("web", host="127.0.0.1", port=0, family=socket.AF_INET),
        {"name": "un", "path": str(tmp_path / "un.sock"), "umask": 0o77},
    ]
    with in_background([watcher], sockets=described) as arbiter:
        port = arbiter.sockets["web"].port
        with socket.create_connection(("127.0.0.1", port)) as asking:
            assert asking.recv(5) == b"hello"
        assert (tmp_path / "un.sock").is_socket()
        assert (tmp_path / "un.sock").stat().st_mode & 0o777 == 0o700


PLUGIN = """
from circus.plugins import CircusPlugin

class Said(CircusPlugin):
    def handle_init(self):
        with open(self.config["file"], "a") as file:
            file.write(f"{self.call('numwatchers')['numwatchers']}\\n")
    def handle_recv(self, data):
        pass
"""


def test_plugins_are_clients_of_the_arbiter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "said.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = [{"use": "said.Said", "file": str(tmp_path / "said")}]
    with in_background([{"cmd": SLEEPER}], plugins=plugins) as arbiter:
        wait_for(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text() == "2\n", "the plugin")
        assert arbiter.statuses()["plugin:said.Said"] == "active"


BY_HAND = """
import json
from circus.plugins import CircusPlugin

class Telling(CircusPlugin):
    def tell(self, *told):
        print(json.dumps(told), flush=True)
    def handle_init(self):
        self.tell("init", self.call("list")["watchers"], self.config["key"])
    def handle_recv(self, data):
        watcher, event, message = self.split_data(data)
        self.tell(watcher, event)
        if event == "stop":
            self.cast("incr", name=watcher)
    def handle_stop(self):
        self.tell("end")
"""


def test_programs_of_the_ancestors_reach_it_without_a_control_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another machine: there is another runtime root, and only the addresses are known."""
    told = {name: f"ipc://{tmp_path}/{name}" for name in ("controller", "pubsub_endpoint", "stats_endpoint")}
    (tmp_path / "telling.py").write_text(BY_HAND)
    elsewhere = {"PAPA_RUNTIME_DIR": str(tmp_path / "elsewhere"), "PYTHONPATH": str(tmp_path)}
    with in_background([{"cmd": SLEEPER, "name": "web"}], **told) as arbiter:
        plugin = [BIN / "circus-plugin", "--endpoint", told["controller"], "--config", "key:value", "telling.Telling"]
        with process(*plugin, **elsewhere) as running:
            assert running.stdout is not None
            assert json.loads(running.stdout.readline()) == ["init", ["web"], "value"]
            while arbiter.numprocesses() < 2:  # what was published before he had come is lost
                arbiter.get_watcher("web").restart().result()
            running.send_signal(signal.SIGTERM)
            said = [json.loads(line) for line in running.stdout]
            assert ["web", "stop"] in said
            assert said[-1] == ["end"]
            assert running.wait() == 0
        monkeypatch.setenv("PAPA_RUNTIME_DIR", elsewhere["PAPA_RUNTIME_DIR"])
        asking = CircusClient(endpoint=told["controller"])
        assert asking.send_message("status")["statuses"].keys() == {"web"}
        with StatsClient(told["stats_endpoint"]) as feed:
            pid = next(subtopic for watcher, subtopic, _ in feed if watcher == "web" and subtopic)
            assert int(pid) in arbiter.get_watcher("web").pids
        heard: list[bytes] = []

        def listen() -> None:
            with CircusConsumer(["watcher.web.start"], endpoint=told["pubsub_endpoint"]) as consumer:
                heard.append(next(iter(consumer))[0])

        thread = threading.Thread(target=listen)
        thread.start()
        while not heard:  # what was published before he had come is lost
            asking.send_message("restart", name="web", waiting=True)
        thread.join()


def test_events_and_statistics_come_from_the_arbiters_endpoint() -> None:
    with in_background([{"cmd": SLEEPER, "name": "web"}]) as arbiter:
        with StatsClient(arbiter.stats_endpoint) as feed:
            assert next(iter(feed))[0] == "web"
        heard: list[bytes] = []

        def listen() -> None:
            with CircusConsumer(["watcher.web.stop"], endpoint=arbiter.pubsub_endpoint) as consumer:
                heard.append(next(iter(consumer))[0])

        thread = threading.Thread(target=listen)
        thread.start()
        ops = arbiter._life.circusd.ops  # type: ignore[union-attr]
        wait_for(lambda: ops.listeners, "the consumer")
        arbiter.get_watcher("web").stop().result()
        thread.join()
    assert heard == [b"watcher.web.stop"]


def test_a_file_may_be_what_it_is_made_of(tmp_path: Path) -> None:
    config = tmp_path / "circus.ini"
    config.write_text(f"[circus]\nname = filed\n[watcher:web]\ncmd = {SLEEPER}\n")
    arbiter = ThreadedArbiter.load_from_config(str(config))
    arbiter.start()
    try:
        assert CircusClient(endpoint="filed").send_message("list")["watchers"] == ["web"]
        config.write_text(config.read_text() + f"[watcher:db]\ncmd = {SLEEPER}\n")
        arbiter.reload_from_config().result()
        assert arbiter.statuses() == {"web": "active", "db": "active"}
        with pytest.raises(CircusError, match="was not made of"):
            arbiter.reload_from_config("/other.ini")
    finally:
        arbiter.stop()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: circus.get_arbiter([{"name": "x"}]), "x: cmd is missing"),
        (lambda: circus.get_arbiter([{"cmd": "/no/such"}]), "program /no/such does not exist"),
        (lambda: circus.get_arbiter([{"cmd": SLEEPER, "numprocesses": "x"}]), "numprocesses"),
        (lambda: circus.get_arbiter([{"cmd": SLEEPER, "stdout_stream": {"stream": 7}}]), "int cannot be"),
        (lambda: circus.get_arbiter([{"cmd": SLEEPER, "hooks": {"before_start": "no.such"}}], background=True).start(),
         "no.such"),
        (lambda: circus.get_arbiter([{"cmd": SLEEPER}], plugins=[{"x": 1}]), "no `use`"),
        (lambda: circus.get_arbiter([{"cmd": SLEEPER}], papa_endpoint="nonsense"), "papa_endpoint"),
        (lambda: circus.get_arbiter([{"cmd": SLEEPER}], circus={"store_size": "many"}), "store_size"),
        (lambda: circus.get_arbiter([], background=True, loop=object()), "loop of its own"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_clear_error(make: Callable[[], object], why: str) -> None:
    with pytest.raises(CircusError, match=why):
        make()
