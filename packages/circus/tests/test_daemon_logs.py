from __future__ import annotations

import json
import logging
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from circus.daemon import logs
from circus.errors import CircusError


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers.clear()
    yield root
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_has_the_ancestors_format(tmp_path: Path) -> None:
    path = tmp_path / "circusd.log"
    logs.configure("info", str(path))
    logging.getLogger("circus").info("Arbiter now waiting for commands")
    logging.getLogger("circus").debug("not this")
    line = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d circus\[\d+\] \[INFO\] Arbiter now waiting for commands\n"
    assert re.fullmatch(line, path.read_text())


def test_a_log_that_was_moved_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "circusd.log"
    logs.configure("info", str(path))
    logging.getLogger("circus").info("one")
    path.rename(tmp_path / "old.log")
    logging.getLogger("circus").info("two")
    assert "two" in path.read_text()


def test_no_output_means_standard_error(root_logger: logging.Logger) -> None:
    logs.configure("warning", "-")
    assert root_logger.handlers[0].stream is sys.stderr  # type: ignore[attr-defined]
    assert logs.goes_to_terminal()


def test_an_output_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(CircusError, match="missing") as raised:
        logs.configure("info", str(tmp_path / "missing" / "circusd.log"))
    assert raised.value.code == "config-invalid"


def test_a_logging_configuration_is_read(tmp_path: Path, root_logger: logging.Logger) -> None:
    target = tmp_path / "out.log"
    path = tmp_path / "logging.json"
    handler = {"class": "logging.FileHandler", "filename": str(target)}
    path.write_text(json.dumps({"version": 1, "handlers": {"f": handler}, "root": {"handlers": ["f"], "level": 20}}))
    logs.configure("info", "-", str(path))
    logging.getLogger("circus").info("hello")
    assert target.read_text() == "hello\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("logging.json", "{"),
        ("logging.json", "[]"),
        ("logging.ini", ""),
        ("logging.ini", "no section"),
        ("logging.ini", "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=\n[handler_h]\nclass=Nothing\n"),
    ],
)
def test_a_wrong_logging_configuration_is_said(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(CircusError, match=f"logging configuration {path}: .+"):
        logs.configure("info", "-", str(path))


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("syslog://h:port", "port"),
        ("syslog://127.0.0.1?nosuch", "nosuch"),
    ],
)
def test_a_syslog_that_cannot_be_is_said(output: str, says: str) -> None:
    with pytest.raises(CircusError, match=says) as raised:
        logs.configure("info", output)
    assert "--log-output" in raised.value.hint


def test_a_syslog_gets_the_ancestors_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "log"))
        logs.configure("info", f"syslog://{tmp_path}/log?daemon")
        logging.getLogger("circus").info("hello")
        line = receiver.recv(1000).decode()
    assert re.search(r"[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d circus\[\d+\] \[INFO\] hello", line)
