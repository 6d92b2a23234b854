"""Options that are remembered: what differs is found, where it is written is told, and what may be secret is not."""

from __future__ import annotations

import os
from pathlib import Path

from circus.config import load
from circus.config.amend import NOTHING
from circus.config.causes import Cause, Source
from circus.config.model import WatcherConfig
from circus.config.sheets import MAX_OPTIONS, MAX_TEXT, differences, sheet_of

BEFORE = """\
[watcher:web]
cmd = /bin/cat --of $(circus.env.PLACE)
db_password = hunter1
warmup_delay = 3
[env:web]
TOKEN = hunter2
SAME = 1
"""


def read(folder: Path, text: str, **environ: str) -> tuple[WatcherConfig, Source]:
    (folder / "circus.ini").write_text(text)
    config = load.load(str(folder / "circus.ini"), {**os.environ, "PLACE": "here", **environ})
    return config.watchers[0], Source(config.document, NOTHING, os.environ)


def digest(text: str) -> str:
    return str(hash(text))


def compared(folder: Path, before: str, after: str, **environ: str) -> list[Cause]:
    old = sheet_of(*read(folder, before), digest)
    config, source = read(folder, after, **environ)
    return differences(old, sheet_of(config, source, digest), config, source)


def test_what_is_the_same_differs_in_nothing(tmp_path: Path) -> None:
    assert compared(tmp_path, BEFORE, BEFORE) == []


def test_options_are_told_with_both_values_and_their_line(tmp_path: Path) -> None:
    after = BEFORE.replace("warmup_delay = 3", "stop_signal = INT").replace("/bin/cat", "/bin/echo")
    path = str(tmp_path / "circus.ini")
    assert compared(tmp_path, BEFORE, after) == [
        Cause("cmd", "/bin/cat --of $(circus.env.PLACE)", "/bin/echo --of $(circus.env.PLACE)", path, 2),
        Cause("stop_signal", None, "INT", path, 4),
        Cause("warmup_delay", "3", None),
    ]


def test_secrets_are_compared_and_never_kept(tmp_path: Path) -> None:
    after = BEFORE.replace("hunter1", "hunter3").replace("hunter2", "hunter4")
    sheet = sheet_of(*read(tmp_path, BEFORE), digest)
    assert "hunter" not in str([shown for shown, _ in sheet.values()])
    path = str(tmp_path / "circus.ini")
    assert compared(tmp_path, BEFORE, after) == [
        Cause("db_password", "", "", path, 3, is_hidden=True),
        Cause("env TOKEN", "", "", path, 6, is_hidden=True),
    ]


def test_a_variable_that_an_option_names_is_another_one(tmp_path: Path) -> None:
    (cause,) = compared(tmp_path, BEFORE, BEFORE, PLACE="there")
    assert (cause.option, cause.is_hidden) == ("cmd", True)
    assert "there" not in str(cause)


def test_a_sheet_is_bounded(tmp_path: Path) -> None:
    many = "".join(f"V{number} = 1\n" for number in range(MAX_OPTIONS + 10))
    sheet = sheet_of(*read(tmp_path, BEFORE.replace("/bin/cat", "/bin/cat " + "x" * 999) + many), digest)
    assert len(sheet) == MAX_OPTIONS
    assert len(sheet["cmd"][0]) == MAX_TEXT
