from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from tests.house import wait_for

from papa import places
from papa.kernel import recorder

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(places.__file__)))


def hold(place, kernel, *, standby="", pipe=None):
    """The recorder, its kernel being a shell script ($0 the JSON, $1 its holder's pid), its sleep a note."""
    code = (
        f"import sys; sys.path.insert(0, {SOURCE!r}); from papa import places; from papa.kernel import recorder\n"
        f"places.program = lambda module: ['/bin/sh', '-c', {kernel!r}]\n"
        "recorder.time.sleep = lambda s: s and print('sleep', s, flush=True)\n"
        "recorder.main()"
    )
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, json.dumps({"directory": str(place)}), standby],
        cwd=place,
        stdout=(place / "events").open("a"),
        pass_fds=[] if pipe is None else [6],
        preexec_fn=None if pipe is None else lambda: os.dup2(pipe, 6),
    )


def events(place):
    return (place / "events").read_text().splitlines()


def test_a_kernel_that_leaves_in_order_ends_its_holder(tmp_path):
    process = hold(tmp_path, "echo ran $1 $PPID")
    assert process.wait(30) == 0
    assert events(tmp_path) == [f"ran {process.pid} {process.pid}"]


def test_a_kernel_that_never_served_is_given_up_after_a_few_attempts(tmp_path):
    assert hold(tmp_path, "echo ran; exit 3").wait(30) == 1
    assert events(tmp_path) == ["ran", "ran", "sleep 0.1", "ran", "sleep 1.0", "ran"]


def test_a_kernel_that_served_is_started_again_for_ever(tmp_path):
    kernel = """
    echo ran
    n=$(grep -c ran events)
    [ $n = 2 ] && echo 1 >served
    [ $n = 8 ] && exit 0
    kill -9 $$
    """
    assert hold(tmp_path, kernel).wait(30) == 0
    pauses = [event for event in events(tmp_path) if event != "ran"]
    assert pauses == ["sleep 0.1", "sleep 1.0", "sleep 10.0", "sleep 10.0", "sleep 10.0"]
    assert (tmp_path / "served").read_text() == ""


def test_on_a_disk_that_fails_a_kernel_that_served_is_never_given_up(tmp_path):
    """Its mark is there and cannot be emptied: the pauses grow as for one that does not serve."""
    (tmp_path / "served").mkdir()
    assert hold(tmp_path, "echo ran; [ $(grep -c ran events) = 7 ] && exit 0; exit 75").wait(30) == 0
    pauses = [event for event in events(tmp_path) if event != "ran"]
    assert pauses == ["sleep 0.1", "sleep 1.0", "sleep 10.0", "sleep 10.0", "sleep 10.0"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_no_polite_signal_ends_the_holder(tmp_path, number):
    process = hold(tmp_path, "echo ran; while [ ! -e go ]; do sleep 0.01; done")
    wait_for(lambda: events(tmp_path), "the kernel's start")
    process.send_signal(number)
    (tmp_path / "go").touch()
    assert process.wait(30) == 0


def test_a_program_that_cannot_be_started_is_a_failure_like_any_other(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(recorder.time, "sleep", lambda seconds: None)
    assert recorder.hold(str(tmp_path), ["/does/not/exist"], has_served=False) == 1
    assert "cannot be started" in capfd.readouterr().err


def test_a_replacement_waits_until_the_kernel_is_gone_or_tells_it_to_leave(tmp_path):
    for farewell, expected in ((b"", ["ran"]), (b"exit\n", [])):
        (tmp_path / "events").write_text("")
        reader, writer = os.pipe()
        process = hold(tmp_path, "echo ran", standby="standby", pipe=reader)
        os.close(reader)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.15)
        assert events(tmp_path) == []
        os.write(writer, farewell)
        os.close(writer)
        assert process.wait(30) == 0
        assert events(tmp_path) == expected


def test_whoever_is_reaped_is_recorded_first(tmp_path, monkeypatch):
    """Children other than the kernel are what it left behind."""
    orphans = [subprocess.Popen(["/bin/sh", "-c", line]) for line in ("exit 7", "kill -9 $$")]
    ticks = []
    for orphan in orphans:
        with open(f"/proc/{orphan.pid}/stat") as file:
            ticks.append(int(file.read().rpartition(")")[2].split()[19]))
        os.waitid(os.P_PID, orphan.pid, os.WEXITED | os.WNOWAIT)
    assert recorder.hold(str(tmp_path), ["/bin/sleep", "0.1"], has_served=False) == 0
    found = [recorder.recorded_status(str(tmp_path), o.pid, t) for o, t in zip(orphans, ticks, strict=True)]
    assert found == [7, -9]
    assert recorder.recorded_status(str(tmp_path), orphans[0].pid, ticks[0] + 1) is None
    for orphan in orphans:
        with pytest.raises(ChildProcessError):
            os.waitpid(orphan.pid, 0)
        orphan.returncode = 0


def test_only_the_newest_records_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "MAX_REAPED_BYTES", 300)
    own = os.getpid()
    for status in range(200):
        recorder._record(str(tmp_path), own, status)
        assert os.stat(tmp_path / "reaped").st_size <= 300
    ticks = int((tmp_path / "reaped").read_text().split()[1])
    assert recorder.recorded_status(str(tmp_path), own, ticks) == 199
    for line in (tmp_path / "reaped").read_text().splitlines():
        assert line.split()[:2] == [str(own), str(ticks)] and len(line.split()) == 3


def test_what_cannot_be_recorded_ends_nothing(tmp_path, capfd):
    recorder._record(str(tmp_path / "gone"), os.getpid(), 0)
    recorder._record(str(tmp_path), 999_999_999, 0)
    assert capfd.readouterr().err.count("was not recorded") == 2
    assert recorder.recorded_status(str(tmp_path), 1, 1) is None


def test_a_torn_record_is_no_status(tmp_path):
    (tmp_path / "reaped").write_text("5 6\n5 6 1\n5 6 1 1\n\nx")
    assert recorder.recorded_status(str(tmp_path), 5, 6) == 1
    (tmp_path / "reaped").write_text("5 6 -9\n5 6 -\n5 6 1")
    assert recorder.recorded_status(str(tmp_path), 5, 6) == -9
