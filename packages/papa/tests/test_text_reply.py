from __future__ import annotations

from papa.errors import PapaError
from papa.wire import text_reply

PROCESS = {
    "id": 3, "name": "web", "pid": 12, "running": True, "started_at": 1.5, "argv": ["/bin/sh", "-c", "a\nb"],
    "meta": {}, "owner": None, "exit": None, "streams": {},
}  # fmt: skip


def test_a_list_is_sorted_lines_and_the_prompt():
    items = [{**PROCESS, "name": "b"}, {**PROCESS, "name": "a", "uid": 5, "gid": 6}]
    assert text_reply.render_reply("list", {"items": items}) == (
        b"a pid=12 running=True started=1.5 uid=5 gid=6 args=/bin/sh -c a b\n"
        b"b pid=12 running=True started=1.5 args=/bin/sh -c a b\n> "
    )


def test_of_a_shell_the_command_is_shown():
    row = {**PROCESS, "meta": {"shell": True}, "uid": 5}
    assert text_reply.render_reply("spawn", row) == (
        b"web pid=12 running=True started=1.5 uid=5 shell=True args=a b\n> "
    )


def test_an_empty_list_is_an_empty_line():
    assert text_reply.render_reply("list", {"items": []}) == b"\n> "


def test_processes_that_lost_their_name_are_not_shown():
    assert text_reply.render_reply("list", {"items": [{**PROCESS, "name": None}]}) == b"\n> "


def test_a_socket_shows_what_applies_in_its_order():
    row = {"id": 1, "name": "s", "fileno": 7, "port": 80, "host": "::1", "family": "inet6", "type": "stream",
           "backlog": 5, "reuseport": True, "meta": {}, "covered": True}  # fmt: skip
    assert text_reply.render_reply("listen", row) == (
        b"s family=inet6 type=stream backlog=5 host=::1 port=80 reuseport=1\n> "
    )
    row = {"id": 1, "name": "s", "fileno": 7, "path": "/x", "umask": 18, "family": "unix", "type": "dgram",
           "backlog": 5, "interface": None, "reuseport": False}  # fmt: skip
    assert text_reply.render_reply("listen", row) == (
        b"s family=unix type=dgram backlog=5 path=/x umask=18 fileno=7\n> "
    )


def test_values_are_shown_with_their_names():
    items = [{"name": "b", "value": "x y"}, {"name": "a", "value": "1\n2"}]
    assert text_reply.render_reply("list", {"items": items}) == b"a 1 2\nb x y\n> "


def test_a_value_is_shown_as_it_is():
    assert text_reply.render_reply("get", {"value": "a\nb"}) == b"a\nb\n> "
    assert text_reply.render_reply("get", {"value": "a\n"}) == b"a\n> "
    assert text_reply.render_reply("get", {"value": None}) == b"\n> "


def test_what_succeeds_without_an_answer_gives_the_prompt():
    assert text_reply.render_reply("set", {}) == b"\n> "
    assert text_reply.render_reply("remove", {"removed": 3}) == b"\n> "


def test_a_process_that_is_watched_at_once_comes_without_a_prompt():
    line = b"web pid=12 running=True started=1.5 args=/bin/sh -c a b\n"
    assert text_reply.render_reply("spawn", PROCESS, is_watched=True) == line
    assert text_reply.render_reply("spawn", PROCESS) == line + b"> "
    assert text_reply.render_watch_begin(3, is_for_eyes=False) == b"Watching 3\n"
    assert text_reply.render_watch_begin(3, is_for_eyes=True) == b"Watching 3. Press Enter to stop.\n"


def test_a_program_that_cannot_be_started_is_said_as_papa_1_said_it():
    def said(stage: str) -> bytes:
        error = PapaError("x: cannot start", code="spawn-failed", details={"stage": stage})
        return text_reply.render_error("spawn", error)

    assert said("exec") == b"Error: Bad command - x: cannot start\n> "
    assert said("chdir") == b"Error: Bad working_dir - x: cannot start\n> "
    assert said("fork") == b"Error: x: cannot start\n> "


def test_an_error_does_nothing_to_a_terminal():
    assert text_reply.render_error("", PapaError("a\x1b[2Jb\udcff")) == b"Error: a\\x1b[2Jb\\udcff\n> "


def test_an_error_is_one_line_of_bounded_length():
    assert len(text_reply.render_error("list", PapaError("x" * 10**6))) == len("Error: \n> ") + 4096
    assert text_reply.render_error("list", PapaError("a\nb", hint="c")) == b"Error: a b (c)\n> "


def test_exit_if_idle_says_whether_it_is():
    assert text_reply.render_reply("exit", {}) == b"Exiting papa!\n> "
    assert text_reply.render_error("exit", PapaError("3 processes", code="busy")) == b"not idle\n> "
    assert text_reply.render_error("exit", PapaError("broken", code="internal")) == b"Error: broken\n> "
    assert text_reply.render_error("set", PapaError("an upgrade", code="busy")) == b"Error: an upgrade\n> "


def test_output_and_exits_are_shown_as_clients_read_them():
    assert text_reply.render_output("out", "web", 1_500_000_000, b"a\nb\0") == b"out:web:1.5:4\na\nb\0\n"
    assert text_reply.render_closed("web", 3, -9) == b"closed:web:3.0:-9\n"
    assert text_reply.render_closed("web", 3.5, None) == b"closed:web:3.5:255\n"
    assert text_reply.render_watch_end(True) == b"Stopped watching\n> "
    assert text_reply.render_watch_end(False) == b"Nothing left to watch\n> "


def test_bytes_of_the_system_are_shown_unharmed():
    row = {**PROCESS, "argv": ["\udcff"]}
    assert b"args=\xff\n" in text_reply.render_reply("spawn", row)


def test_a_value_with_a_surrogate_that_stands_for_no_byte_is_shown_and_so_are_the_others():
    items = [{"name": "a", "value": "\ud800"}, {"name": "b", "value": "\udcff"}]
    shown = text_reply.render_reply("list", {"items": items})
    assert shown.decode("utf-8", "surrogatepass") == "a \ud800\nb \udcff\n> "
    assert text_reply.render_reply("get", {"value": "\ud800"}) == b"\xed\xa0\x80\n> "
