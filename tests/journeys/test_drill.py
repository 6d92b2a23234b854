"""`circusctl drill` on a real house: what it says when all goes well, and when a promise does not hold."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import machine

from tests.house import ANSWER_S, BIN, ROOT, House, opened, own_uid, ticker, wait_for
from tests.stack import ordinary

KEPT = "use_papa = true\n"
WEB = f"""
[watcher:web]
cmd = {sys.executable} -u {ROOT / "examples" / "web.py"} $(circus.sockets.web)
use_sockets = true
copy_env = true
use_papa = true
graceful_timeout = 5
stdout_stream.class = FileStream
stdout_stream.filename = web.log
stderr_stream.class = FileStream
stderr_stream.filename = web.log

[socket:web]
host = 127.0.0.1
port = 0
use_papa = true
"""

#: Runs on while the first circusd does, which it finds by its pidfile; a zombie has no program.
BOUND_TO_CIRCUSD = "until [ -s circusd.pid ]; do sleep 0.05; done; read P < circusd.pid; "
BOUND_TO_CIRCUSD += "while [ -e /proc/$P/exe ]; do sleep 0.05; done; exit 3"


#: Imported by each circusd that starts, before it holds anything: it runs what the test wrote into ``gate``. Who only
#: tries whether it could start passes by.
GATE = """
import os, time
if os.path.exists("gate") and b"CIRCUS_REHEARSAL=" not in open("/proc/self/environ", "rb").read():
    exec(open("gate").read())
def pass_by(**_):
    return True
"""
#: At the gate, at most so long for what comes before the test's own bounds.
WAIT = """
deadline = time.monotonic() + 40
while time.monotonic() < deadline and {fact}:
    time.sleep(0.01)
"""
HOOKED = "hooks.after_start = gate.pass_by\n"


@contextlib.contextmanager
def drilled(folder: Path, config: str, *options: str, **environ: str) -> Iterator[House]:
    """A house in which circusd runs, which will be killed and have a successor."""
    with opened(folder / "house", config, **environ) as house:
        (house.folder / "gate.py").write_text(GATE)
        house.start(*options)
        try:
            yield house
        finally:
            if house.manager is not None and house.manager.poll() is not None:
                house.gone()


def drill(house: House, *words: str, status: int = 0) -> dict[str, Any]:
    """What a drill says as JSON; it ends with ``status``."""
    done = house.ctl("drill", "--json", *words, timeout_s=300)
    assert done.returncode == status, f"{done.stdout} {done.stderr} {house.said()}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def at_gate(house: House, code: str) -> None:
    """What the next circusd does before it holds anything."""
    (house.folder / "gate.new").write_text(code)
    os.replace(house.folder / "gate.new", house.folder / "gate")


def totals(result: dict[str, Any], what: str) -> int:
    return sum(each[what] for each in result["outputs"])


def test_a_hundred_processes_under_load_do_not_notice_that_both_are_killed(tmp_path: Path) -> None:
    stamps = "stdout_stream.time_format = %H:%M:%S.%f\n"
    config = WEB + ticker("plain", count=66, extra=KEPT) + ticker("dated", count=33, extra=KEPT + stamps)
    with drilled(tmp_path, config, TICKER_INTERVAL_S="0.2") as house:
        before = {row["pid"] for row in house.rows().values()}
        assert len(before) == 100
        answer = drill(house, "--yes", "--kernel", "--connections", "4")
        result = answer["result"]
        assert result["held"] and result["problems"] == []
        assert result["fates"] == {"total": 100, "affected": [], "ended": []}
        assert [turn["what"] for turn in result["rounds"]] == ["circusd", "papa", "papa upgrade"]
        circusd, papa, upgrade = result["rounds"]
        assert circusd["by"] == "the drill" and circusd["successor"] != circusd["pid"]
        assert papa["successor"] != papa["pid"] and upgrade["successor"] == upgrade["pid"] == papa["successor"]
        (web,) = result["connections"]
        assert (web["held"], web["dropped"], web["failed"]) == (4, 0, 0) and web["tried"] > 0
        assert (totals(result, "lost"), totals(result, "doubled")) == (0, 0)
        logs = {os.path.basename(each["name"]): each for each in result["outputs"]}
        assert logs["plain.log"]["compared"] > 0 and logs["dated.log"]["compared"] > 0
        assert (logs["plain.log"]["why"], logs["dated.log"]["why"]) == ("", "")
        assert {row["pid"] for row in house.rows().values()} == before
        assert house.is_up()


def test_a_circusd_in_the_background_is_brought_back_as_often_as_it_is_killed(tmp_path: Path) -> None:
    with opened(tmp_path / "house", ticker("kept", extra=KEPT)) as house:
        house.run(BIN / "circusd", "--daemon", house.config)
        try:
            wait_for(house.is_up, "circusd up")
            before = house.pids("kept")
            answer = drill(house, "--yes", "--rounds", "2")
            first, second = answer["result"]["rounds"]
            assert first["successor"] == second["pid"] != second["successor"]
            assert first["by"] == second["by"] and first["by"].startswith("its warden")
            assert answer["result"]["held"]
            assert house.pids("kept") == before
            assert json.loads(house.asked("version", "--json"))["pid"] == second["successor"]
        finally:
            house.asked("shutdown")


def test_who_ends_because_circusd_did_is_told(tmp_path: Path) -> None:
    bound = f"[watcher:bound]\ncmd = /bin/sh -c '{BOUND_TO_CIRCUSD}'\n{KEPT}{HOOKED}"
    with drilled(
        tmp_path, bound + ticker("kept", extra=KEPT), "--pidfile", str(tmp_path / "house/circusd.pid")
    ) as house:
        (pid,) = house.pids("bound")
        at_gate(house, WAIT.format(fact=f"os.path.exists('/proc/{pid}/exe')"))
        answer = drill(house, "--yes", status=1)
        (gone,) = answer["result"]["fates"]["affected"]
        assert (gone["name"], gone["pid"]) == ("circus.bound.1", pid)
        assert gone["why"] == "ended with status 3"
        assert answer["result"]["fates"]["total"] == 2
        assert not answer["result"]["held"]
        assert answer["result"]["problems"] == [f"circus.bound.1 (pid {pid}) ended with status 3"]


def test_lines_of_a_second_writer_are_told_as_doubled(tmp_path: Path) -> None:
    config = ticker("kept", extra=KEPT + HOOKED)
    with drilled(tmp_path, config, TICKER_INTERVAL_S="0.2") as house:
        at_gate(house, "open('kept.log', 'a').write('\\n' + 'stranger\\n' * 3)")
        answer = drill(house, "--yes", status=1)
        (log,) = [each for each in answer["result"]["outputs"] if each["name"].endswith("kept.log")]
        assert log["why"] == "" and log["compared"] > 0
        # One line may have been in the middle of being written, and then follows again.
        assert log["doubled"] >= len("stranger\n" * 3)
        assert log["lost"] == 0
        assert any("kept.log" in problem for problem in answer["result"]["problems"])


def test_what_did_not_fit_while_nobody_was_there_is_told_as_lost(tmp_path: Path) -> None:
    small = "stdout_stream.buffer = 64k\nstdout_stream.overflow = drop-oldest\n"
    config = ticker("flood", extra=KEPT + HOOKED + small)
    with drilled(tmp_path, config, TICKER_INTERVAL_S="0.001") as house:
        (truth,) = house.truth.iterdir()
        count = f"int.from_bytes(open({str(truth)!r}, 'rb').read(8), 'little')"
        at_gate(house, f"start = {count}" + WAIT.format(fact=f"{count} < start + 12000"))
        answer = drill(house, "--yes", status=1)
        (log,) = [each for each in answer["result"]["outputs"] if each["name"].endswith("flood.log")]
        assert log["dropped"] > 0
        assert log["lost"] >= log["dropped"]
        assert log["said"] > 0
        assert log["doubled"] == 0


def test_a_kernel_that_nobody_starts_again_is_told(tmp_path: Path) -> None:
    with drilled(tmp_path, ticker("kept", extra=KEPT)) as house:
        before = house.pids("kept")
        kernel = house.kernel()
        assert kernel is not None
        os.kill(kernel["holder"], signal.SIGSTOP)
        try:
            done = house.run(BIN / "circusctl", "--timeout", "5", "drill", "--yes", "--kernel", "--json", timeout_s=300)
        finally:
            os.kill(kernel["holder"], signal.SIGCONT)
        assert done.returncode == 1, done.stdout + done.stderr
        result = json.loads(done.stdout)["result"]
        assert f"papa {kernel['pid']}: nobody took its place in time" in result["problems"]
        assert result["fates"] == {"total": 1, "affected": [], "ended": []}
        assert totals(result, "lost") == totals(result, "doubled") == 0
        wait_for(lambda: (now := house.kernel()) and now["pid"] != kernel["pid"], "the kernel is back")
        wait_for(lambda: house.pids("kept") == before, "the same process")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP])
def test_who_is_interrupted_brings_circusd_back_first(tmp_path: Path, signum: signal.Signals) -> None:
    with drilled(tmp_path, ticker("kept", extra=KEPT + HOOKED)) as house:
        before = house.pids("kept")
        at_gate(house, "open('waits', 'w').close()" + WAIT.format(fact="not os.path.exists('go')"))
        argv = [BIN / "circusctl", "--timeout", str(ANSWER_S), "drill", "--yes", "--rounds", "9"]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            argv, env=house.environ, cwd=house.folder, stdout=pipe, stderr=pipe, text=True
        ) as running:
            try:
                wait_for((house.folder / "waits").exists, "the next circusd at the gate")
                running.send_signal(signum)
                (house.folder / "go").touch()
                _, told = running.communicate(timeout=120)
            finally:
                running.kill()
        assert running.returncode == 1
        assert f"the drill was ended by {signum.name} before it was over" in told
        assert told.count("kill -9") == 1
        pid = json.loads(house.asked("version", "--json"))["pid"]
        assert f"circusd runs as pid {pid}" in told
        assert house.pids("kept") == before


def test_nothing_is_done_without_a_yes(tmp_path: Path) -> None:
    with drilled(tmp_path, ticker("kept", extra=KEPT)) as house:
        pid = json.loads(house.asked("version", "--json"))["pid"]
        unasked = house.ctl("drill")
        assert (unasked.returncode, unasked.stderr.splitlines()[0]) == (
            2,
            "error: nothing was done: nobody is there to be asked",
        )
        shown = house.ctl("drill", "--dry-run")
        assert shown.returncode == 0
        assert f"kill -9 {pid} (circusd); the drill starts it again" in shown.stdout
        assert "circus.kept.1" in shown.stdout and str(house.folder / "kept.log") in shown.stdout
        assert drill(house, "--dry-run").keys() == {"plan"}
        for said in (b"no\n", b"y\n", b"\n", b"\x04"):
            assert answered(house, said) == 2
        assert json.loads(house.asked("version", "--json"))["pid"] == pid
        assert answered(house, b"yes\n") == 0
        assert json.loads(house.asked("version", "--json"))["pid"] != pid


def answered(house: House, said: bytes) -> int:
    """The exit status of a drill at a terminal, at which somebody says that."""
    leader, follower = pty.openpty()
    argv = [BIN / "circusctl", "--timeout", str(ANSWER_S), "drill"]
    try:
        null = subprocess.DEVNULL
        with subprocess.Popen(
            argv, env=house.environ, cwd=house.folder, stdin=follower, stdout=null, stderr=null
        ) as running:
            os.write(leader, said)
            try:
                return running.wait(120)
            finally:
                running.kill()
    finally:
        os.close(leader)
        os.close(follower)


def test_papa_is_not_killed_where_that_would_cost_something(tmp_path: Path) -> None:
    with drilled(tmp_path, ticker("kept", extra=KEPT), PAPA_FORCE_TIER="portable") as house:
        before, kernel = house.pids("kept"), house.kernel()
        for words in (["--kernel"], ["--kernel", "--force"]):
            refused = house.ctl("drill", "--yes", *words)
            assert refused.returncode == 3
            assert "error: no drill: papa runs in its portable tier, which survives no kill" in refused.stderr
        now = house.kernel()
        assert kernel is not None and now is not None and now["pid"] == kernel["pid"]
        assert house.pids("kept") == before
        assert drill(house, "--yes")["result"]["held"]


def test_what_is_under_way_is_not_cut_in_two(tmp_path: Path) -> None:
    stubborn = "[watcher:stubborn]\ncmd = /bin/sh -c \"trap '' TERM; echo up; while :; do sleep 1; done\"\n"
    stubborn += (
        f"graceful_timeout = 600\n{KEPT}stdout_stream.class = FileStream\nstdout_stream.filename = stubborn.log\n"
    )
    with drilled(tmp_path, stubborn) as house:
        wait_for(lambda: house.log("stubborn.log"), "its trap")
        house.asked("stop", "--no-wait", "stubborn")
        refused = house.ctl("drill", "--yes")
        assert refused.returncode == 3
        assert "error: no drill: something is under way: stubborn is stopping" in refused.stderr
        house.asked("kill", "--signum", "9", "stubborn")


def test_a_circusd_whose_successor_would_be_another_is_left_alone(tmp_path: Path) -> None:
    with drilled(tmp_path, ticker("kept", extra=KEPT)) as house:
        pid, before = json.loads(house.asked("version", "--json"))["pid"], house.pids("kept")
        config = house.folder / "circus.ini"
        good = config.read_text()
        for bad, why in (
            (
                good.replace("[watcher:kept]", "[watcher:kept]\nwarmup_delay = 1"),
                "was edited since circusd has read it",
            ),
            (good + "[watcher:bad\n", "this header is not closed"),
        ):
            config.write_text(bad)
            refused = house.ctl("drill", "--yes", "--force")
            assert refused.returncode == 3
            assert "error: no drill: the next circusd would not be as this one" in refused.stderr
            assert why in refused.stderr
        assert json.loads(house.asked("version", "--json"))["pid"] == pid
        assert house.pids("kept") == before
        config.write_text(good)
        assert drill(house, "--dry-run")["plan"]["refused"] == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Any user may pass through it; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="papa-drill-"))
    try:
        folder.chmod(0o755)
        yield folder
        wait_for(lambda: not machine.marked(str(folder)), "nothing of it left")
    finally:
        machine.end(str(folder))
        shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
@pytest.mark.skipif(bool(ordinary.problem()), reason=ordinary.problem())
@pytest.mark.needs("setpriv")
@pytest.mark.parametrize("who", ["that user", "root"])
def test_the_circusd_of_an_ordinary_user_is_his_again(open_folder: Path, who: str) -> None:
    uid = own_uid()
    as_user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    programs = ordinary.install(open_folder)
    words = f"[watcher:words]\ncmd = /bin/sh -c 'while :; do echo word; sleep 0.1; done'\nnumprocesses = 3\n{KEPT}"
    to_file = "stdout_stream.class = FileStream\nstdout_stream.filename = words.log\n"
    with opened(open_folder / "house", words + to_file) as house:
        for each in (house.folder, house.truth, house.config):
            os.chown(each, uid, uid)
        house.runner = [*as_user, "/bin/sh", "-c", f'shift; exec {programs}/circusd "$@"', "sh"]
        house.start()
        try:
            before = house.pids("words")
            prefix = as_user if who == "that user" else []
            argv = [*prefix, str(programs / "circusctl"), "--timeout", str(ANSWER_S)]
            done = house.run(*argv, "drill", "--yes", "--kernel", "--json", timeout_s=300)
            assert done.returncode == 0, done.stdout + done.stderr
            result = json.loads(done.stdout)["result"]
            assert result["fates"]["total"] == 3
            assert totals(result, "compared") > 0
            assert Path(f"/proc/{result['rounds'][0]['successor']}").stat().st_uid == uid
            assert house.pids("words") == before
        finally:
            house.ctl("shutdown")
            house.gone()
