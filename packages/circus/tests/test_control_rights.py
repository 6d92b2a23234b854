"""Who may what: every operation, for every role, at the unix socket and over TCP, as the table here says it.

The table is written by hand and not made of the catalog: an operation that is new, or that asks for another verb, is
noticed here. A letter for each who may: viewer, operator, admin; the token that may only stop; the operator's token for
watchers called w* alone.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from circus.config.model import CircusConfig
from circus.control import auth, catalog
from circus.control.caller import OWNER
from circus.control.claim import claim
from circus.control.members import Members
from circus.control.ops import Ops
from circus.control.routes import make_app
from circus.control.server import ControlServer
from circus.control.tcp import TcpDoors
from circus.control.tokens import Wish
from circus.testing.circusd import FakeEngine, make_watcher

MAY = {
    "version": "voa w",
    "openapi": "voa w",
    "status": "voa w",
    "watchers.status": "voa w",
    "logs": "voa w",
    "options": "voa  ",
    "dstats": "voa  ",
    "sockets": "voa  ",
    "sockets.one": "voa  ",
    "config": "voa w",
    "plan": "voa  ",
    "operations": "voa w",
    "operations.one": "voa w",
    "operations.events": "voa w",
    "watchers.slots": "voa w",
    "watchers.slot": "voa w",
    "events": "voa w",
    "stats": "voa w",
    "stats.history": "voa w",
    "metrics": "voa w",
    "start": " oa w",
    "watchers.start": " oa w",
    "stop": " oasw",
    "watchers.stop": " oasw",
    "restart": " oa w",
    "watchers.restart": " oa w",
    "reload": " oa w",
    "watchers.reload": " oa w",
    "forget": "  a  ",
    "watchers.forget": "  a  ",
    "reloadconfig": "  a  ",
    "quit": "  a  ",
    "upgrade": "  a  ",
    "shutdown": "  a  ",
    "watchers.count": " oa w",
    "watchers.run": " oa w",
    "watchers.signal": " oa w",
    "watchers.kill": " oa w",
    "watchers.add": "  a  ",
    "watchers.remove": "  a  ",
    "watchers.set": "  a  ",
    "notifiers.test": "  a  ",
    "tokens": "  a  ",
    "tokens.create": "  a  ",
    "tokens.revoke": "  a  ",
    "watchers": "voa w",
    "watchers.logs": "voa w",
    "watchers.options": "voa w",
    "watchers.runs": "voa w",
    "watchers.why": "voa w",
    "watchers.exits": "voa w",
    "watchers.pids": "voa w",
}

TOKENS = {
    "v": Wish("viewer", "viewer"),
    "o": Wish("operator", "operator"),
    "a": Wish("admin", "admin"),
    "s": Wish("stops", "operator", verbs=["stop"]),
    "w": Wish("web", "operator", watchers=["w*"]),
}

#: Members of the host, by their uids.
UIDS = {"v": 61_001, "o": 61_002, "a": 61_003}
MEMBERS = {"viewer": ["user:61001"], "operator": ["user:61002"], "admin": ["user:61003"]}


def test_every_operation_is_in_the_table() -> None:
    assert MAY.keys() == catalog.BY_ID.keys(), "say in MAY who may do it"
    assert {len(who) for who in MAY.values()} == {5}


async def status_of(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], id: str, more: str) -> int:
    """The status of the answer to an operation, without what follows."""
    reader, writer = streams
    operation = catalog.BY_ID[id]
    target = operation.path.replace("{name}", "web").replace("{key}", "nobody")
    head = f"{operation.method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}"
    if operation.is_order:
        head += "Content-Type: application/json\r\nContent-Length: 2\r\n"
    writer.write(f"{head}\r\n".encode() + (b"{}" if operation.is_order else b""))
    try:
        return int((await reader.readline()).split()[1])
    finally:
        writer.transport.abort()


def test_everybody_may_what_the_table_says_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = 0
    monkeypatch.setattr(auth, "peer_uid", lambda _sock: uid)

    async def whole() -> list[str]:
        nonlocal uid
        engine = FakeEngine(make_watcher("web"), make_watcher("db"))
        engine.state_directory = str(tmp_path)
        ops = Ops(engine)
        app = make_app(ops)
        held = claim(str(tmp_path / "c.sock"))
        unix = ControlServer(app, held, members=Members(MEMBERS))
        config = CircusConfig(api_listen=("127.0.0.1:0",), api_tls=False, api_rate=0)
        tcp = TcpDoors(app, config, ops.keyring, ops.auditing, directory=tmp_path, troubles={})
        await unix.start()
        await tcp.start()
        port = int(tcp.addresses()[0].rpartition(":")[2])
        bearers = {
            who: f"Authorization: Bearer {(await ops.keyring.create(wish, OWNER))[1]}\r\n"
            for who, wish in TOKENS.items()
        }
        wrong = []

        def note(id: str, who: str, door: str, status: int) -> None:
            may = who == "owner" or who in MAY[id]
            if (status != 403) != may or status == 401:
                wrong.append(f"{id}: {who} at {door}: {status}")

        try:
            for id, who in itertools.product(MAY, TOKENS):
                streams = await asyncio.open_connection("127.0.0.1", port)
                note(id, who, "tcp", await status_of(streams, id, bearers[who]))
            for id in MAY:
                streams = await asyncio.open_connection("127.0.0.1", port)
                if (status := await status_of(streams, id, "")) not in (401, 429):
                    wrong.append(f"{id}: nobody at tcp: {status}")
            for id, who in itertools.product(MAY, (*UIDS, "owner")):
                uid = UIDS.get(who, 0)
                streams = await asyncio.open_unix_connection(str(tmp_path / "c.sock"))
                note(id, who, "unix", await status_of(streams, id, ""))
        finally:
            ops.close()
            await asyncio.gather(unix.close(), tcp.close())
            await ops.keyring.close()
            held.release()
        return wrong

    assert asyncio.run(asyncio.wait_for(whole(), 200)) == []


@pytest.mark.parametrize("id", ["watchers.status", "watchers.stop", "watchers.pids", "watchers.options"])
def test_a_watcher_that_a_token_does_not_see_is_not_there(tmp_path: Path, id: str) -> None:
    async def whole() -> int:
        engine = FakeEngine(make_watcher("mail"), make_watcher("db"))
        engine.state_directory = str(tmp_path)
        ops = Ops(engine)
        config = CircusConfig(api_listen=("127.0.0.1:0",), api_tls=False)
        tcp = TcpDoors(make_app(ops), config, ops.keyring, ops.auditing, directory=tmp_path, troubles={})
        await tcp.start()
        _, text = await ops.keyring.create(Wish("web", "operator", watchers=["w*", "[m]ale"]), OWNER)
        streams = await asyncio.open_connection("127.0.0.1", int(tcp.addresses()[0].rpartition(":")[2]))
        operation = catalog.BY_ID[id]
        try:
            return await status_of(streams, operation.id, f"Authorization: Bearer {text}\r\n")
        finally:
            ops.close()
            await tcp.close()
            await ops.keyring.close()

    assert asyncio.run(asyncio.wait_for(whole(), 100)) == 404
