from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from circus.control import selfsigned, tls
from circus.errors import CircusError


def test_an_own_certificate_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first = asyncio.run(tls.own(tmp_path, "shop", ["shop.example.org", "10.0.0.7"]))
    before = Path(first).read_bytes()
    assert asyncio.run(tls.own(tmp_path, "shop", [])) == first
    assert Path(first).read_bytes() == before
    assert os.stat(first).st_mode & 0o777 == 0o600
    assert len(tls.fingerprint_of(first)) == 64
    context = ssl.create_default_context(cafile=first)
    assert context.cert_store_stats()["x509"] == 1


def test_what_makes_it_is_not_carried_by_circusd(tmp_path: Path) -> None:
    code = "import sys; import circus.control.tcp; print('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_without_the_extra_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cryptography.py").write_text("raise ImportError('No module named cryptography')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(CircusError) as caught:
        asyncio.run(tls.own(tmp_path / "state", "shop", []))
    assert caught.value.message == "no certificate can be made: No module named cryptography"
    assert "papa-circus[tls]" in caught.value.hint


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CircusError) as caught:
        asyncio.run(tls.own(tmp_path / "file", "shop", []))
    assert "certificate.pem" in caught.value.message


def test_a_key_with_a_passphrase_asks_nobody(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    pem = selfsigned.make("shop", [])
    key = serialization.load_pem_private_key(pem, None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    certificate, path = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate.write_bytes(pem)
    path.write_bytes(locked)
    told: list[str] = []
    with pytest.raises(CircusError) as caught:
        asyncio.run(tls.Certificate(str(certificate), str(path), told.append).load())
    assert "passphrase" in caught.value.message


def test_files_that_cannot_be_looked_at_for_a_while_are_told_of_until_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.0)
    path = tmp_path / "c.pem"
    path.write_bytes(selfsigned.make("shop", []))
    told: list[str] = []

    def refuse(_path: str) -> None:
        raise PermissionError(13, "Permission denied")

    async def scenario() -> None:
        certificate = tls.Certificate(str(path), str(path), told.append)
        await certificate.load()
        with monkeypatch.context() as patch:
            patch.setattr(tls.os, "stat", refuse)
            for _ in range(2):
                await certificate.context()
        await certificate.context()

    asyncio.run(scenario())
    assert [bool(each) for each in told] == [True, False]
    assert "Permission denied; the one before goes on" in told[0]


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.pem"
    path.write_text(content)
    with pytest.raises(CircusError) as caught:
        asyncio.run(tls.Certificate(str(path), str(path), print).load())
    assert caught.value.code == "failed"
    with pytest.raises(ValueError):
        tls.fingerprint_of(str(path))
