from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest

from circus import clock
from circus.control import keyring as keyring_module
from circus.control.caller import OWNER
from circus.control.keyring import NAME, Keyring
from circus.control.tokens import COARSE_S, Wish
from circus.engine import files
from circus.errors import CircusError

WISH = Wish("deploy", "operator")


def opened(folder: Path) -> Keyring:
    keyring = Keyring(folder)
    keyring.load()
    return keyring


def test_tokens_outlive_circusd_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    token, text = asyncio.run(keyring.create(WISH, OWNER))
    assert os.stat(tmp_path / NAME).st_mode & 0o777 == 0o600
    assert text.rpartition("_")[2] not in (tmp_path / NAME).read_text()

    async def later() -> None:
        again = opened(tmp_path)
        assert again.proven(text) == token
        await again.close()
        await again.revoke("deploy", OWNER)
        assert again.proven(text) is None
        assert not again.counts(token.id)

    asyncio.run(later())
    assert opened(tmp_path).listed() == []


def test_whoever_must_know_is_told_that_a_token_has_ended(tmp_path: Path) -> None:
    keyring, ended = opened(tmp_path), []
    keyring.on_end = ended.append
    token, _ = asyncio.run(keyring.create(WISH, OWNER))
    asyncio.run(keyring.revoke(token.id, OWNER))
    assert ended == [token.id]


def test_the_last_use_is_written_once_an_hour_and_known_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, writes, replace = 1_000_000.0, [], files.replace_whole
    monkeypatch.setattr(clock, "wall", lambda: now)
    monkeypatch.setattr(files, "replace_whole", lambda path, data: (writes.append(now), replace(path, data)))

    async def scenario() -> None:
        nonlocal now
        keyring = opened(tmp_path)
        _, text = await keyring.create(WISH, OWNER)
        for _ in range(100):
            now += 1
            assert keyring.proven(text)
        await keyring.close()
        assert keyring.listed()[0][1] == now
        now += COARSE_S
        keyring.proven(text)
        await keyring.close()

    asyncio.run(scenario())
    assert len(writes) == 3
    assert opened(tmp_path).listed()[0][1] == now


@pytest.mark.parametrize("content", [b"nonsense", b'{"version": 99}'])
def test_a_file_that_cannot_be_read_is_said_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    keyring = opened(tmp_path)
    assert "no token counts" in keyring.trouble
    with pytest.raises(CircusError) as caught:
        asyncio.run(keyring.create(WISH, OWNER))
    assert caught.value.code == "unavailable"
    assert (tmp_path / NAME).read_bytes() == content


def test_what_is_not_on_the_disk_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    async def scenario() -> None:
        keyring = opened(tmp_path)
        token, text = await keyring.create(WISH, OWNER)
        monkeypatch.setattr(files, "replace_whole", full)
        for change in (keyring.create(Wish("other", "viewer"), OWNER), keyring.revoke("deploy", OWNER)):
            with pytest.raises(CircusError) as caught:
                await change
            assert "No space left" in caught.value.message
        assert [each.id for each, _ in keyring.listed()] == [token.id]
        assert keyring.proven(text) == token  # its use cannot be noted, and that harms nobody
        await keyring.close()

    asyncio.run(scenario())
    assert json.loads((tmp_path / NAME).read_text())["tokens"][0]["last_used"] is None


def test_a_disk_that_hangs_refuses_changes_and_is_not_overtaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, replace = threading.Event(), files.replace_whole
    monkeypatch.setattr(keyring_module, "WRITE_S", 0.05)

    def hanging(path: Path, data: bytes) -> None:
        released.wait(50)
        replace(path, data)

    async def scenario() -> None:
        keyring = opened(tmp_path)
        monkeypatch.setattr(files, "replace_whole", hanging)
        for name, why in (("first", "the disk has not answered"), ("second", "its disk hangs")):
            with pytest.raises(CircusError) as caught:
                await keyring.create(Wish(name, "viewer"), OWNER)
            assert caught.value.code == "unavailable"
            assert why in caught.value.message
        released.set()
        while keyring._is_written:
            await asyncio.sleep(0.01)
        await keyring.create(Wish("third", "viewer"), OWNER)

    asyncio.run(scenario())
    assert [token.name for token, _ in opened(tmp_path).listed()] == ["third"]


def test_a_token_that_is_revoked_meanwhile_makes_no_other_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        keyring = opened(tmp_path)
        leaked, _ = await keyring.create(Wish("leaked", "admin", expires_in=60), OWNER)
        revoking = asyncio.create_task(keyring.revoke("leaked", OWNER))
        making = asyncio.create_task(keyring.create(Wish("back", "admin"), leaked.caller("192.0.2.7")))
        await revoking
        with pytest.raises(CircusError) as caught:
            await making
        assert caught.value.code == "unauthorized"
        assert keyring.listed() == []

    asyncio.run(scenario())


def test_the_uses_of_tokens_that_are_gone_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(clock, "wall", lambda: now)

    async def scenario() -> None:
        nonlocal now
        keyring = opened(tmp_path)
        for _ in range(3):
            _, text = await keyring.create(Wish("job", "viewer", expires_in=10), OWNER)
            assert keyring.proven(text)
            await keyring.close()
            now += 11
        assert len(keyring._used) == 1

    asyncio.run(scenario())
