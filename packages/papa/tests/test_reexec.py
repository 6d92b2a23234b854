from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from papa import places
from papa.core import journal
from papa.errors import PapaError
from papa.kernel import reexec
from papa.kernel.loop import Loop


@pytest.fixture
def loop():
    before = set(os.listdir("/proc/self/fd"))
    loop = Loop()
    yield loop
    loop.close()
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0


def preflight(loop, monkeypatch, code):
    """Runs a child that is this code; returns what the kernel is told."""
    monkeypatch.setattr(places, "program", lambda *_where: [sys.executable, "-I", "-S", "-c", code])
    answers = []

    def done(error):
        answers.append(error)
        loop.stop()

    reexec.Preflight(loop, reexec.Target("", "", None), {"directory": "/nowhere"}, done)
    deadline = loop.call_at(time.monotonic() + 30, loop.stop)
    loop.run()
    deadline.cancel()
    assert len(answers) == 1
    return answers[0]


def test_a_child_that_succeeds_is_good_news(loop, monkeypatch):
    assert preflight(loop, monkeypatch, "pass") is None


def test_a_childs_complaint_is_the_answer(loop, monkeypatch, capfd):
    error = preflight(loop, monkeypatch, "raise ImportError('papa is half installed')")
    assert error.code == "busy"
    assert "papa is half installed" in error.message
    assert "Traceback" not in error.message
    assert "Traceback" in capfd.readouterr().err


def test_a_child_that_fails_in_silence_is_told_by_its_status(loop, monkeypatch):
    assert "status 7" in preflight(loop, monkeypatch, "import os; os._exit(7)").message
    assert "killed by signal 9" in preflight(loop, monkeypatch, "import os; os.kill(os.getpid(), 9)").message


def test_a_long_complaint_is_cut_to_its_end(loop, monkeypatch, capfd):
    error = preflight(loop, monkeypatch, "import sys; sys.exit('x' * 300_000 + '\\nthe reason')")
    assert error.message.endswith("the reason")
    assert len(capfd.readouterr().err) < 3 * reexec.MAX_COMPLAINT_BYTES


def test_a_child_that_does_not_answer_is_killed(loop, monkeypatch):
    monkeypatch.setattr(reexec, "PATIENCE_S", 0.2)
    error = preflight(loop, monkeypatch, "import time; time.sleep(60)")
    assert "did not answer" in error.message
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_exec_that_fails_leaves_everything_as_it_was(capfd):
    reader, writer = os.pipe()
    reexec.replace(["/does/not/exist"], [reader, writer])
    assert not os.get_inheritable(reader)
    assert not os.get_inheritable(writer)
    assert "the old code carries on" in capfd.readouterr().err
    os.close(reader)
    os.close(writer)


def test_an_exec_keeps_the_descriptors_it_is_told_to():
    code = """
import os, sys
sys.path.insert(0, sys.argv[1])
from papa.kernel import reexec
kept, lost = os.pipe()
reexec.replace([sys.executable, "-I", "-S", "-c",
    f"import os; os.fstat({kept})\\ntry: os.fstat({lost})\\nexcept OSError: print('as told')"], [kept])
"""
    source = os.path.dirname(os.path.dirname(places.__file__))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, source], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("as told\n", "")


@pytest.fixture
def state(tmp_path):
    for name in ("processes", "sockets", "output"):
        (tmp_path / name).mkdir()
    (tmp_path / "journal").write_bytes(journal.encode({"next": 1000}))
    return tmp_path


def test_a_state_that_can_be_read_passes_the_rehearsal_unchanged(state):
    (state / "processes/3.json.new").write_text("{ half")
    before = sorted(os.listdir(state / "processes"))
    reexec.rehearse(str(state))
    assert sorted(os.listdir(state / "processes")) == before


@pytest.mark.parametrize("content", ["", "{", "[]", "null", *map(json.dumps, ({"version": 1}, {"version": 2}))])
@pytest.mark.parametrize("kind", ["processes", "sockets"])
def test_a_record_that_cannot_be_understood_fails_the_rehearsal(state, kind, content):
    (state / kind / "3.json").write_text(content)
    with pytest.raises(PapaError, match=f"{kind}/3.json"):
        reexec.rehearse(str(state))


@pytest.mark.parametrize(
    ("journal_bytes", "reason"),
    [
        (journal.encode({"next": 1}) + journal.encode({"version": 2, "values": "other"}), "journal: its format 2 is"),
        (journal.encode({"next": 1}) + bytes(16), "journal: it is damaged from byte 18 on"),
    ],
)
def test_a_journal_that_cannot_be_understood_fails_the_rehearsal(state, journal_bytes, reason):
    (state / "journal").write_bytes(journal_bytes)
    with pytest.raises(PapaError, match=reason):
        reexec.rehearse(str(state))


def test_a_journal_that_is_just_being_written_passes_the_rehearsal(state):
    (state / "journal").write_bytes(journal.encode({"next": 1}) + journal.encode({"next": 2})[:-1])
    reexec.rehearse(str(state))


def test_an_index_of_another_format_fails_the_rehearsal(state):
    (state / "output/7").mkdir()
    (state / "output/7/index").write_bytes(b"papaidx1" + bytes(56))
    reexec.rehearse(str(state))
    (state / "output/7/index").write_bytes(b"papaidx2" + bytes(56))
    with pytest.raises(PapaError, match="output/7/index"):
        reexec.rehearse(str(state))


def test_a_missing_journal_fails_the_rehearsal(state):
    (state / "journal").unlink()
    with pytest.raises(FileNotFoundError):
        reexec.rehearse(str(state))
