"""What is wrong beyond the text: between options, between sections, and on this machine."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from circus.config.build import Builder
from circus.config.model import Finding
from circus.config.read import read
from circus.config.validate import Host, validate


class FakeHost(Host):
    """A machine that has just what it is said to have."""

    def __init__(self, *, directories: str = "", programs: str = "", users: str = "", groups: str = "") -> None:
        super().__init__()
        self.has = {"directory": directories, "program": programs, "user": users, "group": groups}
        self.asked: list[tuple[str, str]] = []

    def _answer(self, question: str, subject: str) -> bool:
        self.asked.append((question, subject))
        return subject in self.has[question].split()


def _findings(tmp_path: Path, text: str, host: Host, **environ: str) -> list[Finding]:
    path = tmp_path / "c.ini"
    path.write_text(text)
    draft = Builder(read(str(path), environ), environ).build()
    assert [each for each in draft.findings if each.severity == "error"] == []
    return validate(draft, environ, host)


def _told(tmp_path: Path, text: str, host: Host | None = None, **environ: str) -> list[str]:
    """The findings; without a host of its own a text is tried where only /bin/run exists."""
    findings = _findings(tmp_path, text, host or FakeHost(programs="/bin/run"), **environ)
    assert all(each.hint for each in findings)
    return [f"{each.line} {each.severity}: {each.what}" for each in findings]


def test_a_sound_watcher_has_no_findings(tmp_path: Path) -> None:
    host = FakeHost(directories="/srv /venv /log", programs="/bin/run /venv/bin/python", users="www", groups="adm")
    text = (
        "[watcher:web]\ncmd = run $(circus.wid)\nworking_dir = /srv\nuid = www\ngid = adm\nvirtualenv = /venv\n"
        "rlimit_nofile = 9\nstdout_stream.filename = /log/x\n"
    )
    assert _told(tmp_path, text, host) == []


def test_a_program_is_looked_for_on_the_path_of_the_process(tmp_path: Path) -> None:
    host = FakeHost(programs="/opt/bin/run /usr/bin/run")
    assert _told(tmp_path, "[env]\nPATH = /opt/bin\n[watcher:w]\ncmd = run\n", host) == []
    assert _told(tmp_path, "[watcher:w]\ncmd = run\n", host) == []
    assert ("program", "/bin/run") in host.asked
    text = "[watcher:w]\ncopy_env = yes\ncmd = run\n"
    assert _told(tmp_path, text, host, PATH="/opt/bin") == []
    assert _told(tmp_path, text, host, PATH="/none") == ["3 error: w: program run is not on the PATH /none"]


def test_who_forgets_that_an_environment_is_empty_is_told(tmp_path: Path) -> None:
    text = "[watcher:a]\ncmd = none\n[watcher:b]\ncmd = none\ncopy_env = yes\n"
    hints = [each.hint for each in _findings(tmp_path, text, FakeHost())]
    assert ["copy_env = true" in hint for hint in hints] == [True, False]


def test_a_virtual_environment_is_looked_into_first(tmp_path: Path) -> None:
    host = FakeHost(directories="/venv", programs="/venv/bin/run /venv/bin/python")
    assert _told(tmp_path, "[watcher:w]\ncmd = run\nvirtualenv = /venv\n", host) == []


def test_a_relative_program_is_looked_for_in_the_working_directory(tmp_path: Path) -> None:
    host = FakeHost(directories="/srv", programs="/srv/./run")
    assert _told(tmp_path, "[watcher:w]\ncmd = ./run\nworking_dir = /srv\n", host) == []
    assert _told(tmp_path, "[watcher:w]\ncmd = ./run\n", host) == [
        "2 error: w: program ./run does not exist or is not executable"
    ]


def test_the_executable_is_what_must_exist(tmp_path: Path) -> None:
    host = FakeHost(programs="/bin/real")
    assert _told(tmp_path, "[watcher:w]\ncmd = shown -x\nexecutable = real\n", host) == []
    told = _told(tmp_path, "[watcher:w]\ncmd = shown -x\nexecutable = /bin/none\n", host)
    assert told == ["3 error: w: program /bin/none does not exist or is not executable"]


def test_a_shell_looks_for_programs_itself(tmp_path: Path) -> None:
    host = FakeHost()
    assert _told(tmp_path, "[watcher:w]\ncmd = it's $HOME && none\nshell = true\n", host) == []


def test_a_program_whose_name_is_known_at_spawn_only_is_not_looked_for(tmp_path: Path) -> None:
    text = "[socket:a]\nport = 0\n[watcher:w]\ncmd = $(circus.nothing)\n"
    assert _told(tmp_path, text, FakeHost()) == [
        "4 warning: w: the command refers to circus.nothing, which is not known"
    ]


def test_a_command_that_is_missing_or_cannot_be_split_is_an_error(tmp_path: Path) -> None:
    text = "[watcher:a]\nargs = x\n[watcher:b]\ncmd = run 'x\n[watcher:c]\ncmd = run\nargs = \"\n"
    assert _told(tmp_path, text) == [
        "1 error: a: cmd is missing",
        "4 error: b: cmd cannot be split into words: no closing quotation",
        "7 error: c: args cannot be split into words: no closing quotation",
    ]


def test_an_unknown_variable_in_the_command_is_a_warning(tmp_path: Path) -> None:
    text = "[env]\nA = 1\n[watcher:w]\ncmd = run $(circus.env.A) $(circus.env.B) $(circus.wid)\n"
    assert _told(tmp_path, text) == ["4 warning: w: the command refers to circus.env.B, which is not known"]


def test_users_groups_and_directories_must_exist(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = run\nuid = nouser\ngid = nogroup\nworking_dir = /none\nvirtualenv = /venv\n"
    assert _told(tmp_path, text) == [
        "3 error: w: there is no user nouser",
        "4 error: w: there is no group nogroup",
        "6 error: w: virtual environment /venv does not exist",
        "5 error: w: working directory /none does not exist",
    ]


def test_the_directory_of_a_log_is_only_a_warning_because_output_waits(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = run\nstderr_stream.filename = /none/x.log\nstdout_stream.filename = x.log\n"
    assert _told(tmp_path, text) == ["3 warning: w: the directory /none of stderr_stream.filename does not exist"]


def test_fault_5_an_unknown_limit_is_an_error_of_its_watcher(tmp_path: Path) -> None:
    findings = _findings(
        tmp_path, "[watcher:w]\ncmd = run\nrlimit_NOFILES = 3\nrlimit_x = 1\n", FakeHost(programs="/bin/run")
    )
    assert [(each.line, each.hint) for each in findings] == [
        (3, "did you mean rlimit_nofile?"),
        (4, "rlimit_nofile and rlimit_core are two"),
    ]


def test_a_singleton_has_one_process(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = run\nsingleton = true\nnumprocesses = 2\n"
    assert _told(tmp_path, text) == ["4 error: w: a singleton cannot have 2 processes"]
    assert _told(tmp_path, text.replace("= 2", "= 1")) == []


def test_a_watcher_without_processes_is_a_warning(tmp_path: Path) -> None:
    assert _told(tmp_path, "[watcher:w]\ncmd = run\nnumprocesses = 0\n") == ["3 warning: w: no process will run"]


def test_shell_args_without_a_shell_are_a_warning(tmp_path: Path) -> None:
    assert _told(tmp_path, "[watcher:w]\ncmd = run\nshell_args = x\n") == ["3 warning: w: shell_args has no effect"]


def test_a_socket_that_is_referred_to_must_be_defined(tmp_path: Path) -> None:
    text = (
        "[socket:web]\nport = 0\n[watcher:w]\ncmd = run $(circus.sockets.WEB) $(circus.sockets.wbe)\n"
        "args = ((circus.sockets.other))\nstdin_socket = third\n"
    )
    findings = _findings(tmp_path, text, FakeHost(programs="/bin/run"))
    assert [f"{each.line}: {each.what}" for each in findings] == [
        "4: w: cmd refers to socket wbe, which is not defined",
        "5: w: args refers to socket other, which is not defined",
        "6: w: stdin_socket refers to socket third, which is not defined",
    ]
    assert findings[1].hint == "write a section [socket:other]"


def test_sockets_for_services_of_systemd_must_be_used(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = run\nlisten_fds = true\n"
    assert _told(tmp_path, text) == ["3 warning: w: listen_fds has no effect, as the processes use no socket"]
    for used in ("use_sockets = true\n", "args = $(circus.sockets.a)\n"):
        assert _told(tmp_path, f"{text}{used}[socket:a]\nport = 0\n") == []


def test_names_must_differ_in_more_than_letter_case(tmp_path: Path) -> None:
    text = "[watcher:web]\ncmd = run\n[watcher:Web]\ncmd = run\n[socket:a]\nport = 0\n[socket:A]\nport = 0\n"
    assert _told(tmp_path, text) == [
        "3 error: two watchers are named Web",
        "7 error: two sockets are named a",
    ]
    assert _told(tmp_path, "[watcher:web]\ncmd = run\n[watcher: web]\ncmd = run\n") == [
        "3 error: two watchers are named web"
    ]


@pytest.mark.parametrize("name", ["a/b", "a\x07b", "a" * 129])
def test_names_that_would_break_others_are_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be the name of a watcher" in _told(tmp_path, f"[watcher:{name}]\ncmd = run\n")[0]


def test_names_of_the_ancestors_are_accepted(tmp_path: Path) -> None:
    assert _told(tmp_path, "[watcher:my web: 1.2-x_y]\ncmd = run\n") == []
    assert "cannot be the name of a socket" in _told(tmp_path, "[socket:a b]\nport = 0\n")[0]


def test_two_sockets_cannot_listen_at_one_address(tmp_path: Path) -> None:
    host = FakeHost(directories="/", programs="/bin/run")

    def told(one: str, two: str) -> list[str]:
        return _told(tmp_path, f"[watcher:w]\ncmd = /bin/run\n[socket:a]\n{one}\n[socket:b]\n{two}\n", host)

    assert told("host = h\nport = 80", "host = h\nport = 80") == ["8 error: socket b: h:80 is socket a's"]
    assert told("path = /x", "path = /./x") == ["6 error: socket b: /x is socket a's"]
    assert told("port = 80\nso_reuseport = 1", "port = 80") != []
    for one, two in (
        ("port = 0", "port = 0"),
        ("port = 80", "port = 81"),
        ("port = 80", "port = 80\ntype = SOCK_DGRAM"),
        ("port = 80\nso_reuseport = 1", "port = 80\nso_reuseport = 1"),
        ("port = 80\ninterface = lo", "port = 80\ninterface = eth0"),
    ):
        assert told(one, two) == []


def test_a_unix_socket_needs_its_directory(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = run\n[socket:a]\nport = 0\npath = /none/x.sock\n"
    assert _told(tmp_path, text) == ["5 error: socket a: the directory /none does not exist"]


def test_a_file_without_watchers_is_a_warning(tmp_path: Path) -> None:
    assert _told(tmp_path, "[circus]\nname = x\n") == ["0 warning: there is no watcher in this file"]


def test_the_machine_is_asked_for_each_fact_once(tmp_path: Path) -> None:
    host = FakeHost(programs="/bin/run", directories="/srv")
    _told(tmp_path, "".join(f"[watcher:w{n}]\ncmd = run\nworking_dir = /srv\n" for n in range(5)), host)
    assert len(host.asked) == len(set(host.asked)) == 2


def test_this_machine_answers(tmp_path: Path) -> None:
    host = Host()
    (tmp_path / "run").write_text("")
    assert not host.is_program(str(tmp_path / "run"))
    (tmp_path / "run2").write_text("")
    os.chmod(tmp_path / "run2", 0o755)
    assert host.is_program(str(tmp_path / "run2"))
    assert not host.is_program(str(tmp_path)) and host.is_directory(str(tmp_path))
    me = pwd.getpwuid(os.getuid()).pw_name
    assert host.has_user(me) and host.has_user("12345") and not host.has_user("no such user")
    assert host.has_group("0") and not host.has_group("no such group") and not host.has_user("4294967295")
    assert host.has_limit("nofile") and not host.has_limit("files")


def test_a_directory_without_a_python_is_no_virtual_environment(tmp_path: Path) -> None:
    host = FakeHost(directories="/venv")
    assert _told(tmp_path, "[watcher:w]\ncmd = run\nvirtualenv = /venv\n", host) == [
        "3 error: w: /venv is no virtual environment: it has no bin/python"
    ]


def test_an_import_path_before_that_of_a_virtual_environment_is_a_warning(tmp_path: Path) -> None:
    host = FakeHost(directories="/venv", programs="/venv/bin/python")
    text = "[watcher:w]\ncmd = python\nvirtualenv = /venv\ncopy_path = true\n"
    assert _told(tmp_path, text, host) == [
        "4 warning: w: circusd's own import path goes before the packages of the virtual environment"
    ]
