from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import json
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.house import wait_for

from circus.bus import Bus, Event
from circus.config.model import NotifierConfig
from circus.errors import CircusError
from circus.notify import notifiers
from circus.notify.desk import Outcome
from circus.notify.messages import Sender
from circus.notify.notifiers import Notifiers
from circus.notify.ways import Place

Said = tuple[str, dict[str, str], dict[str, Any]]
BOUND_S = 30.0


class Receiver:
    """An HTTP server that answers as it is told to: a line of a script for each request, the last one for all more."""

    def __init__(self, *script: str) -> None:
        self.script = list(script) or ["204 No Content"]
        self.heard: list[Said] = []
        self.url = ""
        self.gate = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self, context: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{port}/hook?token=hush"

    async def close(self) -> None:
        self.gate.set()
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if line)
            body = await reader.readexactly(int(headers["Content-Length"]))
            self.heard.append((first, headers, json.loads(body)))
            answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if answer == "hang":
                await self.gate.wait()
            elif answer == "drip":
                while not self.gate.is_set():
                    writer.write(b"HTTP/1.1 200 OK\r\nX: "[:1])
                    await writer.drain()
                    await asyncio.sleep(0.01)
            elif answer == "garbage":
                writer.write(b"\0\1\2\r\n\r\n")
            elif answer == "nothing":
                writer.transport.abort()
            else:
                writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        writer.close()


class Bench:
    def __init__(self, folder: Path) -> None:
        self.bus = Bus()
        self.folder = folder
        place = Place({"PATH": os.environ["PATH"], "OWN": "yes"}, str(folder), 0o022)
        self.notifiers = Notifiers(self.bus, Sender("shop", "host1", "abc"), place, self.publish)

    def publish(self, watcher: str, name: str, fields: Any) -> None:
        self.bus.publish(Event(1.0, watcher, name, dict(fields)))

    def has(self, **options: Any) -> None:
        self.notifiers.configure([config(**options)])

    def shown(self) -> dict[str, object]:
        return self.notifiers.shown()["ops"]

    def events(self) -> list[str]:
        return [event.name for event in self.bus.recent]


def config(**options: Any) -> NotifierConfig:
    return NotifierConfig(**{"name": "ops", "every_s": 0.0, "backoff_s": 0.01, "timeout_s": 20.0, **options})


async def until(fact: Callable[[], Any], what: str) -> Any:
    async with asyncio.timeout(BOUND_S):
        while not (value := fact()):
            await asyncio.sleep(0.005)
    assert value, what
    return value


@contextlib.asynccontextmanager
async def bench_in(folder: Path) -> AsyncIterator[Bench]:
    bench = Bench(folder)
    try:
        yield bench
    finally:
        await bench.notifiers.close()


@contextlib.asynccontextmanager
async def receiver(*script: str, context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    found = Receiver(*script)
    await found.open(context)
    try:
        yield found
    finally:
        await found.close()


def run(work: Callable[[Bench], Awaitable[None]], folder: Path) -> None:
    async def whole() -> None:
        async with asyncio.timeout(2 * BOUND_S), bench_in(folder) as bench:
            await work(bench)

    asyncio.run(whole())
    wait_for(lambda: not any("notify-" in each.name for each in threading.enumerate()), "no thread is left")


# By HTTP ----------------------------------------------------------------------------------------------------


def test_an_event_is_posted(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        async with receiver() as server:
            bench.has(url=server.url, headers=(("Authorization", "Bearer hush"), ("user-agent", "me")))
            bench.publish("web", "fatal", {"reason": "gave up"})
            bench.publish("web", "spawn", {})
            await until(lambda: bench.shown()["sent"] == 1, "it got through")
            ((first, headers, said),) = server.heard
            assert first == "POST /hook?token=hush HTTP/1.1"
            assert headers["Authorization"] == "Bearer hush"
            assert headers["user-agent"] == "me" and "User-Agent" not in headers
            assert headers["Content-Type"] == "application/json"
            assert headers["Host"] == server.url.split("/")[2]
            assert (said["event"], said["watcher"], said["fields"]) == ("fatal", "web", {"reason": "gave up"})
            assert (said["id"], said["attempt"], said["missed"]) == ("abc-ops-1", 1, 0)
            assert "hush" not in repr(bench.notifiers.shown())

    run(work, tmp_path)


@pytest.mark.parametrize("bad", ["500 Oops", "503 No", "429 Slowly", "408 Late", "garbage", "nothing"])
def test_what_may_be_better_later_is_tried_again_with_the_same_id(tmp_path: Path, bad: str) -> None:
    async def work(bench: Bench) -> None:
        async with receiver(bad, bad, "200 OK") as server:
            bench.has(url=server.url)
            bench.publish("web", "fatal", {})
            await until(lambda: bench.shown()["sent"] == 1, "it got through")
            assert [said["attempt"] for _, _, said in server.heard] == [1, 2, 3]
            assert len({said["id"] for _, _, said in server.heard}) == 1
            assert bench.shown()["error"] == ""

    run(work, tmp_path)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("404 Not Found", "HTTP 404 Not Found"),
        ("302 Found", "HTTP 302 Found: what leads elsewhere is not followed"),
    ],
)
def test_what_will_not_be_better_is_given_up_and_said(tmp_path: Path, answer: str, error: str) -> None:
    async def work(bench: Bench) -> None:
        async with receiver(answer, "200 OK") as server:
            bench.has(url=server.url, events=("*",))
            bench.publish("web", "fatal", {})
            await until(lambda: bench.shown()["failed"] == 1, "it is given up")
            assert bench.events() == ["fatal", "notify_failed"], "and nobody is told of that"
            assert bench.bus.recent[-1].fields == {"notifier": "ops", "error": error}
            (trouble,) = bench.notifiers.troubles()
            assert error in trouble and "hush" not in trouble
            bench.publish("web", "spawn", {})
            await until(lambda: bench.shown()["sent"] == 1, "the next one got through")
            assert server.heard[-1][2]["missed"] == 1
            assert bench.notifiers.troubles() == []

    run(work, tmp_path)


@pytest.mark.parametrize("slow", ["hang", "drip"])
def test_a_server_that_hangs_or_drips_has_failed_in_time(tmp_path: Path, slow: str) -> None:
    async def work(bench: Bench) -> None:
        async with receiver(slow, "200 OK") as server:
            bench.has(url=server.url, timeout_s=0.3)
            bench.publish("web", "fatal", {})
            await until(lambda: bench.shown()["error"], "it is seen")
            assert bench.shown()["error"] == "no answer within 0.3 s"
            server.gate.set()
            bench.has(url=server.url)
            await until(lambda: bench.shown()["sent"] == 1, "it got through")

    run(work, tmp_path)


def test_nobody_there_is_an_error_that_names_no_secret(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))  # and does not listen
            bench.has(url=f"http://127.0.0.1:{bound.getsockname()[1]}/hook?token=hush", retries=0)
            bench.publish("web", "fatal", {})
            await until(lambda: bench.shown()["failed"], "it is given up")
        assert bench.shown()["error"] == "Connection refused"

    run(work, tmp_path)


def test_a_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    path = tmp_path / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    async def work(bench: Bench) -> None:
        async with receiver(context=context) as server:
            bench.has(url=server.url, retries=0)
            bench.publish("web", "fatal", {})
            await until(lambda: bench.shown()["failed"], "nobody knows it")
            assert "certificate verify failed" in str(bench.shown()["error"])
            monkeypatch.setenv("SSL_CERT_FILE", str(path))
            bench.publish("web", "fatal", {})
            await until(lambda: bench.shown()["sent"] == 1, "it is known now")

    run(work, tmp_path)


# By a command -----------------------------------------------------------------------------------------------


def test_a_command_gets_it_on_its_standard_input_and_in_variables(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        script = 'cat > told.json; echo "$CIRCUS_EVENT $CIRCUS_WATCHER $OWN" > said'
        bench.has(argv=("/bin/sh", "-c", script))
        bench.publish("web", "fatal", {"reason": "x" * 30_000})
        await until(lambda: bench.shown()["sent"] == 1, "it got through")

    run(work, tmp_path)
    assert json.loads((tmp_path / "told.json").read_text())["fields"]["reason"] == "x" * 30_000
    assert (tmp_path / "said").read_text() == "fatal web yes\n"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo no way; exit 3", "no way (sh: status 3)"),
        ("exec /nowhere/there", "/bin/sh: "),
        ("kill -9 $$", "sh: signal 9"),
    ],
)
def test_a_command_that_fails_is_tried_again_and_given_up(tmp_path: Path, script: str, error: str) -> None:
    async def work(bench: Bench) -> None:
        bench.has(argv=("/bin/sh", "-c", f"echo x >> tries; {script}"), retries=2)
        bench.publish("web", "fatal", {})
        await until(lambda: bench.shown()["failed"] == 1, "it is given up")
        assert error in str(bench.shown()["error"])

    run(work, tmp_path)
    assert (tmp_path / "tries").read_text() == "x\n" * 3


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.has(argv=("/nowhere/there",), retries=0)
        bench.publish("web", "fatal", {})
        await until(lambda: bench.shown()["failed"] == 1, "it is given up")
        assert bench.shown()["error"] == "/nowhere/there could not be started: No such file or directory"

    run(work, tmp_path)


def test_a_command_that_reads_nothing_and_floods_its_output_gets_through(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.has(argv=("/bin/sh", "-c", "exec 0<&-; head -c 10000000 /dev/zero"))
        bench.publish("web", "fatal", {"reason": "x" * 30_000})
        await until(lambda: bench.shown()["sent"] == 1, "it got through")

    run(work, tmp_path)


def test_a_command_that_hangs_is_ended_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifiers, "QUIT_S", 0.01)

    async def work(bench: Bench) -> None:
        script = "sleep 600 & echo $$ $! > pids.new; mv pids.new pids; wait"
        bench.has(argv=("/bin/sh", "-c", script), timeout_s=20.0, retries=0)
        bench.publish("web", "fatal", {})
        await until((tmp_path / "pids").exists, "it runs")

    run(work, tmp_path)  # circusd leaves
    for pid in (tmp_path / "pids").read_text().split():
        wait_for(lambda pid=pid: not os.path.exists(f"/proc/{pid}"), f"{pid} has gone")


# All of them ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["made", "awaited"])
def test_an_attempt_that_fails_by_a_fault_of_ours_is_followed_by_others(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(notifiers.CommandAttempt):
        attempts = 0

        def __init__(self, *given: Any) -> None:
            Faulty.attempts += 1
            if way == "made" and Faulty.attempts == 1:
                raise ImportError("no descriptor is left")
            super().__init__(*given)

        async def outcome(self) -> Outcome:
            found = await super().outcome()
            if way == "awaited" and Faulty.attempts == 1:
                raise OSError
            return found

    async def work(bench: Bench) -> None:
        monkeypatch.setattr(notifiers, "CommandAttempt", Faulty)
        bench.has(argv=("/bin/true",))
        bench.publish("web", "fatal", {})
        await until(lambda: bench.shown()["sent"] == 1, "the second attempt")
        assert Faulty.attempts == 2 and "a message could not be sent notifier=ops" in caplog.text

    run(work, tmp_path)


def test_one_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        async with receiver("hang") as slow, receiver() as quick:
            bench.notifiers.configure([config(url=slow.url, queue=2), config(name="quick", url=quick.url)])
            for number in range(5):
                bench.publish(f"w{number}", "fatal", {})
            await until(lambda: bench.notifiers.shown()["quick"]["sent"] == 5, "all got through")
            assert (bench.shown()["dropped"], bench.shown()["waiting"]) == (2, 3)
            assert bench.events().count("notify_dropped") == 1
            slow.script[0] = "200 OK"
            bench.notifiers.configure([config(url=slow.url), config(name="quick", url=quick.url)])
            slow.gate.set()
            await until(lambda: bench.shown()["sent"], "they get through")
            assert [said["missed"] for _, _, said in slow.heard if said["attempt"] > 1] == [2]

    run(work, tmp_path)


def test_a_change_keeps_what_waits_and_a_removal_ends_it(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        async with receiver("500 Oops") as bad, receiver() as good:
            bench.has(url=bad.url, retries=100)
            bench.publish("web", "fatal", {})
            await until(lambda: bench.shown()["error"], "it fails")
            bench.has(url=good.url, retries=100)
            await until(lambda: bench.shown()["sent"] == 1, "it got through elsewhere")
            bench.notifiers.configure([])
            bench.publish("web", "fatal", {})
            assert bench.notifiers.shown() == {}
            assert len(good.heard) == 1

    run(work, tmp_path)


def test_a_test_message_tells_whether_it_got_through(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        async with receiver("200 OK", "403 Forbidden") as server:
            bench.has(url=server.url)
            assert (await bench.notifiers.test("ops"))[0] == ""
            assert server.heard[0][2]["text"] == "shop on host1: a test"
            assert (await bench.notifiers.test("ops"))[0] == "HTTP 403 Forbidden"
            assert bench.notifiers.troubles() == [] and bench.events() == []
            with pytest.raises(CircusError, match="notifier 'nope' not found"):
                await bench.notifiers.test("nope")

    run(work, tmp_path)


def test_a_test_behind_one_that_hangs_is_answered_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifiers, "TEST_MORE_S", -19.9)

    async def work(bench: Bench) -> None:
        async with receiver("hang") as server:
            bench.has(url=server.url, timeout_s=20.0)
            bench.publish("web", "fatal", {})
            await until(lambda: server.heard, "it is under way")
            assert (await bench.notifiers.test("ops"))[0] == "no answer yet"
            assert bench.shown()["waiting"] == 1, "the test waits no more"
            server.gate.set()

    run(work, tmp_path)


def test_what_waits_is_told_when_circusd_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifiers, "QUIT_S", BOUND_S)

    async def work(bench: Bench) -> None:
        async with receiver() as server:
            bench.has(url=server.url, every_s=600.0)
            for _ in range(3):
                bench.publish("web", "fatal", {})
            bench.publish("db", "fatal", {})
            await bench.notifiers.close()
            told = [(said["watcher"], said["count"]) for _, _, said in server.heard]
            assert told == [("web", 1), ("db", 1), ("web", 2)]

    run(work, tmp_path)


def test_who_leaves_waits_only_so_long_and_says_what_was_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notifiers, "QUIT_S", 0.01)

    async def work(bench: Bench) -> None:
        async with receiver("hang") as server:
            bench.has(url=server.url)
            bench.publish("web", "fatal", {})
            bench.publish("db", "fatal", {})
            await bench.notifiers.close()

    run(work, tmp_path)
    assert "notifier ops has not told 2 messages: circusd leaves" in caplog.text


def test_nothing_is_timed_while_there_is_nothing_to_tell(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        async with receiver() as server:
            bench.has(url=server.url, every_s=60.0)
            bench.publish("web", "fatal", {})
            await until(lambda: bench.shown()["sent"] == 1, "it got through")
            assert bench.notifiers._by_name["ops"]._timer is None

    run(work, tmp_path)
