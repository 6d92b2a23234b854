from __future__ import annotations

import json
import logging
import re
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


def test_a_wrong_logging_configuration_is_said(tmp_path: Path) -> None:
    path = tmp_path / "logging.json"
    path.write_text("{")
    with pytest.raises(CircusError, match="logging configuration"):
        logs.configure("info", "-", str(path))
