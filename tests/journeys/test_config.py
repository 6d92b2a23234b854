"""A configuration is looked at before anything is touched."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house import BIN, opened, ticker, wait_for

TEN_MISTAKES = """\
[watcher:one]
cmd = /no/such/program
[watcher:two]
cmd = sleep 60
numprocesses = many
[watcher:three]
cmd = sleep 60
stop_signal = NOPE
[watcher:four]
cmd = sleep 60 $(circus.sockets.missing)
[watcher:five]
cmd = sleep 60
singleton = perhaps
[watcher:six]
cmd = sleep 60
working_dir = /no/such/directory
[watcher:seven]
cmd = sleep 60
uid = no-such-user
[watcher:eight]
cmd = sleep 60
stdout_stream.class = FileStrem
[watcher:nine]
cmd = sleep "60
[socket:ten]
port = 70000
"""


def test_ten_mistakes_are_ten_findings_and_nothing_is_started_or_changed(tmp_path: Path) -> None:
    lines = [2, 5, 8, 10, 13, 16, 19, 22, 24, 26]
    with opened(tmp_path / "house", TEN_MISTAKES) as house:
        checked = house.ctl("config", "check", str(house.config))
        assert checked.returncode == 1
        *found, last = checked.stdout.splitlines()
        assert last == f"error: {house.config}: {len(lines)} errors"
        assert [re.match(rf"{house.config}:(\d+): error: .+ \(.+\)$", line)[1] for line in found] == [  # type: ignore[index]
            str(line) for line in lines
        ]
        assert (checked.stderr, set(house.folder.iterdir())) == ("", {house.truth, house.config})

        refused = house.run(BIN / "circusd", house.config)
        assert refused.returncode == 1
        assert all(f"{house.config}:{line}: " in refused.stderr for line in lines)
        assert house.kernel() is None

        house.config.write_text(ticker("web"))
        house.start()
        before = house.pids("web")
        house.config.write_text(ticker("web", count=3) + TEN_MISTAKES)
        assert house.ctl("reloadconfig").returncode == 3
        assert (house.pids("web"), house.status()) == (before, {"web": "active"})


def test_an_env_file_that_changed_is_a_change_at_reloadconfig(tmp_path: Path) -> None:
    config = "[watcher:web]\ncmd = /bin/sh -c 'echo $TOKEN-$(circus.env.TOKEN); exec sleep 60'\nenv_file = web.env\n"
    config += "env.PATH = /bin\nstdout_stream.filename = web.log\n" + ticker("other")
    with opened(tmp_path / "house", config) as house:
        file = house.folder / "web.env"
        file.write_text("export TOKEN='one two'\n")
        house.start()
        wait_for(lambda: house.log("web.log") == "one two-one two\n", "what the file says")
        other = house.pids("other")
        assert house.asked("reloadconfig") == "nothing changed\nok"
        file.write_text("TOKEN=three\n")
        assert "env TOKEN: changed (web.env:1)" in house.asked("reloadconfig")
        wait_for(lambda: house.log("web.log").endswith("\nthree-three\n"), "the new value")
        file.write_text("TOKEN\n")
        refused = house.ctl("reloadconfig")
        assert (refused.returncode, f"{file}:1: env_file: this line is not NAME=VALUE" in refused.stderr) == (3, True)
        assert house.pids("other") == other


def test_a_circusd_obeys_a_toml_file(tmp_path: Path) -> None:
    with opened(tmp_path / "house", "") as house:
        house.config = house.folder / "circus.toml"
        text = """
            [watcher.web]
            cmd = "/bin/sh -c 'echo $GREETING; exec sleep 60'"
            numprocesses = 2
            stdout_stream.filename = "web.log"
            env = {GREETING = "good day", PATH = "/bin"}
        """
        house.config.write_text(text)
        house.start()
        wait_for(lambda: house.log("web.log") == "good day\ngood day\n", "what the file says")
        before = house.pids("web")
        assert house.asked("config", "show", "web").splitlines()[1].endswith(f" {house.config}:3")
        house.config.write_text(text.replace("= 2", "= 'few'"))
        refused = house.ctl("reloadconfig")
        assert refused.returncode == 3
        assert f"{house.config}:4: web: numprocesses = 'few' is not a number" in refused.stderr
        house.config.write_text(text.replace("= 2", "= 3"))
        assert "changed live  web\n                numprocesses: 2 -> 3 (circus.toml:4)" in house.asked("reloadconfig")
        assert before < house.pids("web")
