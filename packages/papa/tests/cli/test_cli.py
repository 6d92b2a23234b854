from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest
from tests.house import wait_for

from papa import cli, places
from papa.cli import serve, shell, status
from papa.client import launch
from papa.client.blocking import Connection
from papa.errors import PapaError

PAPA = [sys.executable, "-m", "papa.cli"]


@pytest.fixture
def kernel(runtime_root):
    Connection(client="test").close()
    yield
    try:
        with Connection(client="test", autostart=False) as connection:
            connection.request("exit", force=True)
    except PapaError:
        pass
    wait_for(lambda: not os.listdir(runtime_root), "the end of the kernel")


def run(*words, **options):
    return subprocess.run([*PAPA, *words], capture_output=True, text=True, timeout=30, **options)


# --- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "endpoint"),
    [
        (["status"], None),
        (["-p", "30303", "status"], 30303),
        (["status", "-p", "30303"], 30303),
        (["-u", "/x/y", "status"], "/x/y"),
        (["status", "--unix-socket", "/x/y"], "/x/y"),
        (["-p", "30303", "-u", "/x/y"], "/x/y"),
        (["-p", "30303", "-d"], 30303),
        (["--daemonize"], None),
        (["serve", "-p", "30303"], 30303),
        (["upgrade", "--check", "-u", "/x/y"], "/x/y"),
        (["exit", "--force", "--port", "30303"], 30303),
        (["shell"], None),
    ],
)
def test_the_instance_may_be_named_before_and_after_the_command(monkeypatch, words, endpoint):
    asked = []
    for module in (cli.serve, cli.status, cli.shell, cli.upgrade, cli.exit_):
        monkeypatch.setattr(module, "run", lambda args: asked.append(args.endpoint) or 0)
    assert cli.main(words) == 0
    assert asked == [endpoint]


@pytest.mark.parametrize("words", [["nonsense"], ["-p", "x"], ["status", "extra"]])
def test_wrong_words_are_usage(words, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("code", "expected"),
    [("unreachable", 1), ("lost", 1), ("timeout", 1), ("internal", 1), ("bad-request", 2), ("busy", 3), ("refused", 3)],
)
def test_a_code_becomes_an_exit_status_and_is_in_the_json(monkeypatch, capsys, code, expected):
    def fail(args):
        raise PapaError("it did not work", code=code, hint="try again", details={"errno": 5})

    monkeypatch.setattr(cli.status, "run", fail)
    assert cli.main(["status"]) == expected
    assert capsys.readouterr().err == "papa: it did not work\n  try again\n"
    assert cli.main(["status", "--json"]) == expected
    assert json.loads(capsys.readouterr().out) == {
        "error": {"code": code, "message": "it did not work", "hint": "try again", "details": {"errno": 5}}
    }


@pytest.mark.parametrize("words", [["status"], ["upgrade"], ["exit"], ["shell"]])
def test_an_absent_kernel_is_said_and_none_is_started(runtime_root, words, capsys):
    assert cli.main(words) == 1
    assert "none runs" in capsys.readouterr().err
    assert os.listdir(runtime_root) == []


def test_ctrl_c_and_a_reader_that_has_gone_are_no_tracebacks(monkeypatch):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.status, "run", interrupt)
    assert cli.main(["status"]) == 130


# --- status --------------------------------------------------------------------------------------------------

FACTS = {
    "papa": "2.0", "pid": 12, "holder": 11, "instance": "default", "directory": "/run/papa/kernel-default",
    "tier": "full", "uptime_s": 4000.5, "started_at": 1_700_000_000.0, "rss_bytes": 12_000_000, "processes": 3,
    "running": 2, "sockets": 1, "values": 5, "connections": 2, "clients": ["circusd", "", "circusd"],
    "held_bytes": 1_234_567, "budget_bytes": 256_000_000, "dropped_bytes": 0, "journal_bytes": 10,
    "vault": {"live": 5, "dead": 1, "refused": 0}, "faults": 0, "not_covered": 0, "not_covered_reasons": [],
    "warnings": [],
}  # fmt: skip


def test_the_page_tells_the_facts():
    page = status.render(FACTS)
    for part in ("papa 2.0", "pid 12", "holder 11", "1 h 6 min", "3, of which 2 run", "2 connected: circusd", "1.2 MB"):
        assert part in page
    assert "not covered" not in page and "warning" not in page and "faults" not in page
    assert max(map(len, page.splitlines())) < 100


def test_the_page_tells_what_is_wrong():
    page = status.render(
        {**FACTS, "not_covered": 2, "not_covered_reasons": ["the vault is full"], "faults": 3, "holder": None,
         "warnings": ["tcp 127.0.0.1:20202: cannot listen"]}
    )  # fmt: skip
    for part in ("2 would be lost", "- the vault is full", "3 contained", "cannot listen", "a replacement"):
        assert part in page


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123_456, "123 kB"), (5e12, "5000 GB")]
)
def test_bytes_are_three_digits_and_a_unit(count, text):
    assert status.render_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (90_061, "1 d 1 h"),
        (86_400 * 3 + 5, "3 d 0 h"),
    ],
)
def test_a_time_is_its_two_largest_units(seconds, text):
    assert status.render_time(seconds) == text


def test_status_of_a_real_kernel(kernel):
    done = run("status", "--json")
    assert json.loads(done.stdout)["pid"] > 0
    assert run("status").stdout.startswith("papa ")


# --- serve ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["serve", "--daemonize"], ["--daemonize"]])
def test_a_daemonized_kernel_serves_when_the_command_returns(runtime_root, words):
    assert run(*words).returncode == 0
    assert run("status").returncode == 0
    again = run(*words)
    assert again.returncode == 3
    assert "already" in again.stderr
    assert run("exit").returncode == 0


def test_who_only_looks_for_a_kernel_keeps_none_from_being_started(runtime_root, monkeypatch):
    looking = [launch.try_lock(places.resolve(), make=True)]
    monkeypatch.setattr(serve.time, "sleep", lambda _seconds: looking and os.close(looking.pop()))
    os.close(serve._lock(places.resolve()))
    assert not looking


def test_serve_stays_until_the_kernel_leaves(runtime_root):
    process = subprocess.Popen([*PAPA, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert "papa serves default" in process.stdout.readline()
        assert run("exit").returncode == 0
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_signal_to_serve_is_none_to_the_kernel(runtime_root):
    process = subprocess.Popen([*PAPA, "-d"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the kernel goes on" in errors
    assert run("exit").returncode == 0


def test_the_log_is_shown_as_it_grows_and_when_it_was_cut(tmp_path, capsysbinary, monkeypatch):
    class Errors:
        buffer = open(tmp_path / "shown", "wb", buffering=0)  # noqa: SIM115

        @staticmethod
        def flush():
            pass

    monkeypatch.setattr(sys, "stderr", Errors)
    log = tmp_path / "log"
    log.write_bytes(b"old\nnew\n")
    position = serve._show(str(log), 4)
    log.write_bytes(b"cut\n")
    assert serve._show(str(log), position) == 4
    log.unlink()
    assert serve._show(str(log), position) == 0
    Errors.buffer.close()
    assert (tmp_path / "shown").read_bytes() == b"new\ncut\n"


# --- upgrade and exit: see also test_survival ----------------------------------------------------------------


def test_upgrade_says_what_became_of_it(kernel):
    assert "can take over" in run("upgrade", "--check").stdout
    assert json.loads(run("upgrade", "--check", "--json").stdout) == {"can_upgrade": True}
    assert "went on as papa" in run("upgrade").stdout


def test_exit_says_who_left(kernel):
    with Connection(client="test") as connection:
        pid = connection.hello["pid"]
        connection.request("set", name="x", value="y")
    refused = run("exit", "--json")
    assert refused.returncode == 3
    assert json.loads(refused.stdout)["error"]["code"] == "busy"
    assert json.loads(run("exit", "--force", "--json").stdout)["pid"] == pid


# --- shell ---------------------------------------------------------------------------------------------------


def test_a_script_can_be_piped_into_the_shell(kernel):
    done = run("shell", input="set a one\nget a\nnonsense\n")
    assert done.returncode == 0
    assert "Papa is home" in done.stdout
    assert "one\n" in done.stdout
    assert 'Unknown command "nonsense"' in done.stdout
    assert "> " not in done.stdout


def test_the_shell_ends_when_the_kernel_says_so(kernel):
    done = run("shell", input="quit\nget a\n")
    assert done.returncode == 0
    assert done.stdout.endswith("ok\n")


def test_a_watch_is_shown_frame_by_frame(kernel):
    with Connection(client="test") as connection:
        connection.request(
            "spawn", name="w", argv=["/bin/sh", "-c", "echo hello"], env={}, stdin="null", stdout="capture",
            stderr="null",
        )  # fmt: skip
    done = run("shell", input="watch processes w\n\n\n\n")
    assert "hello\n" in done.stdout
    assert "closed:w:" in done.stdout


class Terminal:
    """`papa shell` on a terminal of its own."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="dumb", INPUTRC="/dev/null")
            os.execv(sys.executable, [*PAPA, "shell"])
        self.shown = b""

    def types(self, keys):
        os.write(self.fd, keys)

    def interrupts(self, text):
        """Ctrl-C, as often as it takes until this comes: Python sees one between two keys only at the next key."""
        for _ in range(10):
            self.types(b"\x03")
            try:
                return self.shows(text, 1)
            except AssertionError:
                continue
        raise AssertionError((text, self.shown))

    def shows(self, text, within_s=30):
        """Waits until this comes, behind what was shown before."""
        deadline = time.monotonic() + within_s
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], (text, self.shown)
            try:
                self.shown += os.read(self.fd, 4096)
            except OSError:
                # The shell has ended, and the terminal with it.
                assert text == END, (text, self.shown)
                break
        before, _, self.shown = self.shown.partition(text)
        return before

    def close(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        os.close(self.fd)


#: What no terminal shows: its end.
END = b"\0end\0"


@pytest.fixture
def terminal(kernel):
    terminal = Terminal()
    yield terminal
    terminal.close()


def spawn(name, script):
    with Connection(client="test") as connection:
        return connection.request("spawn", name=name, argv=["/bin/sh", "-c", script], env={}).ok["pid"]


def test_the_shell_edits_lines_on_a_terminal(terminal):
    """Typed with a slip that is rubbed out, a word that is completed, and a line that is called back."""
    terminal.shows(b"> ")
    terminal.types(b"set b twx\x7fo\n")
    terminal.shows(b"> ")
    terminal.types(b"get b\n")
    terminal.shows(b"two\r\n> ")
    terminal.types(b"li\tv\t\n")
    terminal.shows(b"list values")
    terminal.shows(b"b two\r\n> ")
    terminal.types(b"\x10\x10\n")
    terminal.shows(b"get b")
    terminal.shows(b"two\r\n> ")
    terminal.types(b"quit\n")
    terminal.shows(b"ok\r\n")


def test_tab_completes_options_and_names_that_the_kernel_has(terminal):
    terminal.shows(b"> ")
    terminal.types(b"set greeting hello\n")
    terminal.shows(b"> ")
    terminal.types(b"g\tgr\t\n")
    terminal.shows(b"get greeting")
    terminal.shows(b"hello\r\n> ")
    terminal.types(b"m\tp\tx rlimit.nof\t400 work\t/ /bin/echo\n")
    terminal.shows(b"make process x rlimit.nofile=400 working_dir=/ /bin/echo")
    terminal.shows(b"x pid=")


def test_names_are_not_completed_when_the_kernel_does_not_answer(runtime_root):
    assert shell._ask_names(None, "processes", "") == []
    assert os.listdir(runtime_root) == []


@pytest.mark.parametrize("key", [b"\x03", b"\n", b"list processes\n"])
def test_a_watch_of_lines_goes_on_by_itself_until_a_key_ends_it(terminal, tmp_path, key):
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    pid = spawn("talker", f"while read x; do echo $x; done <{tmp_path}/gate")
    terminal.shows(b"> ")
    terminal.types(b"w l talker\n")
    terminal.shows(b"Press Enter to stop.\r\n")
    for word in ("one", "two"):
        os.write(gate, word.encode() + b"\n")
        terminal.shows(f" talker out| {word}\r\n".encode())
    terminal.types(key)
    terminal.shows(b"Stopped watching\r\n> ")
    terminal.types(b"get a\n")
    terminal.shows(b"\r\n> ")
    os.kill(pid, signal.SIGKILL)
    os.close(gate)


def test_ctrl_c_at_a_prompt_gives_a_new_one_and_in_a_watch_ends_it(terminal):
    pid = spawn("talker", "echo hi; exec sleep 1000")
    terminal.shows(b"> ")
    terminal.types(b"exit-if-idle")
    terminal.shows(b"exit-if-idle")
    terminal.interrupts(b"\r\n> ")
    terminal.types(b"w p talker\n")
    terminal.shows(b"hi\r\n\r\n] ")
    terminal.interrupts(b"Stopped watching\r\n> ")
    os.kill(pid, signal.SIGKILL)


def test_ctrl_d_leaves_at_a_prompt_and_in_a_watch(kernel):
    pid = spawn("talker", "exec sleep 1000")
    for line in (b"", b"w l talker\n"):
        terminal = Terminal()
        terminal.shows(b"> ")
        terminal.types(line)
        if line:
            terminal.shows(b"Press Enter to stop.\r\n")
        terminal.types(b"\x04")
        terminal.shows(END)
        terminal.close()
    os.kill(pid, signal.SIGKILL)


def test_ctrl_c_ends_a_watch_and_not_the_shell(kernel):
    with Connection(client="test") as connection:
        row = connection.request(
            "spawn", name="w", argv=["/bin/sleep", "1000"], env={}, stdin="null", stdout="capture", stderr="null"
        ).ok
    process = subprocess.Popen([*PAPA, "shell"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdin.write(b"watch processes w\n")
        process.stdin.flush()
        while b"Watching" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        while b"Stopped watching" not in process.stdout.readline():
            pass
        process.stdin.write(b"quit\n")
        process.stdin.flush()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        os.kill(row["pid"], signal.SIGKILL)


def test_a_kernel_that_went_away_is_said(monkeypatch):
    class Gone:
        def sendall(self, data):
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(PapaError) as caught:
        shell._send(Gone(), b"x")
    assert caught.value.code == "lost"


def test_the_command_is_installed_as_papa():
    assert places.program("papa.cli")[0] == sys.executable
    assert run("--version").stdout.startswith("papa ")
