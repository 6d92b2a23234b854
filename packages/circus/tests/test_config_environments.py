"""Which variables a process gets, of all sections and files that give it some."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.config.amend import Amendment, Edits
from circus.config.build import Builder
from circus.config.diff import diff
from circus.config.environments import MAX_ENV_FILE_BYTES
from circus.config.load import amended, examine, load
from circus.config.model import CircusConfig, WatcherConfig
from circus.config.read import read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "all.env").write_text("A=all.env\nB=all.env\nC=all.env\nD=all.env\nE=all.env\n")
    (tmp_path / "web.env").write_text("E=web.env\nSECRET=$HOME $(circus.env.A) 'x'\n")
    return tmp_path


def built(folder: Path, text: str, **environ: str) -> tuple[CircusConfig, list[str]]:
    path = folder / "c.ini"
    path.write_text(text)
    draft = Builder(read(str(path), environ), environ).build()
    return draft.config, [str(each).replace(f"{folder}/", "") for each in draft.findings]


LAYERS = """\
[circus]
env_file = all.env
[env]
A = env
B = env
[env:w*]
C = pattern
D = pattern
[watcher:web]
cmd = x
env.D = own
env.E = own
env_file = web.env
[watcher:other]
cmd = x
"""


def test_what_is_nearer_wins_and_of_two_that_are_equally_near_the_file(folder: Path) -> None:
    config, told = built(folder, LAYERS, HOME="/h")
    assert told == []
    web, other = config.watchers
    assert web.env == {
        "A": "all.env",
        "B": "all.env",
        "C": "pattern",
        "D": "own",
        "E": "web.env",
        "SECRET": "$HOME $(circus.env.A) 'x'",
    }
    assert other.env == config.env == dict.fromkeys("ABCDE", "all.env")
    assert (web.env_file, config.env_file, web.extra) == (("web.env",), ("all.env",), {})


def test_options_and_sections_can_refer_to_what_files_say(folder: Path) -> None:
    text = (
        "[circus]\nenv_file = all.env\npidfile = /run/$(circus.env.A).pid\n[env:w]\nX = $(circus.env.B)\n"
        "[watcher:w]\ncmd = x $(circus.env.SECRET)\nenv_file = $(circus.env.NAME).env\nargs = $(circus.env.X)\n"
    )
    config, told = built(folder, text, NAME="web")
    assert told == []
    assert config.pidfile == "/run/all.env.pid"
    assert config.watchers[0].cmd == "x $HOME $(circus.env.A) 'x'"
    assert config.watchers[0].args == "all.env"


def test_of_several_files_the_later_one_wins(folder: Path) -> None:
    config, _ = built(folder, "[watcher:w]\ncmd = x\nenv_file = all.env\n  web.env\n")
    assert (config.watchers[0].env["A"], config.watchers[0].env["E"]) == ("all.env", "web.env")


def test_defaults_have_files_and_variables_too(folder: Path) -> None:
    config, _ = built(folder, "[DEFAULT]\nenv_file = web.env\nenv.A = default\n[watcher:w]\ncmd = x\n")
    assert (config.watchers[0].env["A"], config.watchers[0].env["E"]) == ("default", "web.env")


def test_a_file_that_is_missing_is_one_finding_unless_it_may_be(folder: Path) -> None:
    text = "[watcher:v]\ncmd = x\nenv_file = no.env\n[watcher:w]\ncmd = x\nenv_file = no.env -maybe.env\n"
    _, told = built(folder, text)
    assert told == ["c.ini:3: v: env_file: no.env does not exist (make it, or write -no.env if it may be missing)"]
    (folder / "maybe.env").write_text("A=there")
    assert built(folder, text)[0].watchers[1].env == {"A": "there"}


def test_a_file_that_is_wrong_is_one_finding_without_its_values(folder: Path) -> None:
    text = "[watcher:v]\ncmd = x\nenv_file = bad.env\n[watcher:w]\ncmd = x\nenv_file = bad.env\n"
    (folder / "bad.env").write_text("A=1\npass word\nmore words\n")
    assert built(folder, text)[1] == [
        "bad.env:2: env_file: this line is not NAME=VALUE (a comment begins with #)",
    ]
    (folder / "bad.env").write_bytes(b"A=1\nB=\xff\n")
    assert built(folder, text)[1] == ["bad.env:2: this line is not UTF-8 (save the file as UTF-8)"]
    (folder / "bad.env").write_bytes(b"A=" + b"x" * MAX_ENV_FILE_BYTES)
    assert built(folder, text)[1][0].startswith("c.ini:3: v: env_file: bad.env is larger than 1 MiB")
    (folder / "bad.env").unlink()
    (folder / "bad.env").mkdir()
    assert built(folder, text)[1][0].startswith("c.ini:3: v: env_file: bad.env cannot be read: Is a directory (give ")


def test_a_name_that_no_variable_can_have_is_an_error(folder: Path) -> None:
    _, told = built(folder, "[watcher:w]\ncmd = x\nenv. = 1\n")
    assert told[0].startswith("c.ini:3: w: '' cannot be the name of a variable")


def test_a_file_that_changed_restarts_the_watchers_that_it_is_for(folder: Path) -> None:
    path = folder / "c.ini"
    path.write_text(LAYERS.replace("cmd = x", "cmd = sleep 1\nenv.PATH = /bin"))

    def changed() -> list[tuple[str, bool, tuple[str, ...]]]:
        after = examine(str(path), {})[0].config
        return [(config.name, restart, reasons) for config, restart, reasons in diff(before, after).change]

    before = examine(str(path), {})[0].config
    assert changed() == []
    (folder / "web.env").write_text("E=new\nSECRET=x\n")
    assert changed() == [("web", True, ("env (E, SECRET)",))]
    (folder / "all.env").write_text("A=new\n")
    assert [(name, restart) for name, restart, _ in changed()] == [("web", True), ("other", True)]


def test_another_path_with_the_same_content_restarts_nothing(folder: Path) -> None:
    (folder / "copy.env").write_text((folder / "web.env").read_text())
    before, after = (built(folder, LAYERS.replace("web.env", name))[0] for name in ("web.env", "copy.env"))
    (change,) = diff(before, after).change
    assert (change.restart, change.reasons) == (False, ("env_file",))
    assert isinstance(change.new, WatcherConfig)


def test_an_order_by_hand_does_not_read_the_files_again(folder: Path) -> None:
    path = folder / "c.ini"
    path.write_text(LAYERS.replace("cmd = x", "cmd = sleep 1\nenv.PATH = /bin"))
    before = load(str(path), {})
    (folder / "web.env").write_text("SECRET=new\n")
    (folder / "all.env").unlink()
    edits = Edits({"web": {"priority": Amendment("5", None)}})
    after = amended(before, edits, {}, ["web"])
    (change,) = diff(before, after).change
    assert change.reasons == ("priority 0 -> 5",)
