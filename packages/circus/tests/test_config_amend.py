"""What was ordered by hand about a configuration, and how long it counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.config import amend, options
from circus.config.amend import Edits
from circus.config.load import amended, load
from circus.config.model import CircusConfig, ConfigInvalid
from circus.config.read import Document, Entry, Section
from circus.config.validate import Host
from circus.errors import CircusError

BASE = """\
[env]
A = from-file
[env:W*]
B = 2
[watcher:Web]
cmd = run --fast
env.B = 2
graceful_timeout = 5
stdout_stream.class = StdoutStream
colour = blue
[watcher:job]
cmd = job
"""


class AnyHost(Host):
    def _answer(self, question: str, subject: str) -> bool:
        return not subject.startswith("/nowhere")


class Sheet:
    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "c.ini"

    def load(self, text: str = BASE) -> CircusConfig:
        self.path.write_text(text)
        return load(str(self.path), {}, host=AnyHost())

    def ordered(self, edits: Edits = amend.NOTHING, watcher: str = "Web", **texts: str) -> Edits:
        document = self.load().document
        assert document is not None
        return amend.with_options(
            document, edits, watcher, {key.replace("__", "."): text for key, text in texts.items()}
        )

    def amended(self, edits: Edits, text: str = BASE) -> CircusConfig:
        return amended(self.load(text), edits, {}, [name.lower() for name in edits.watchers], host=AnyHost())

    def in_force(self, edits: Edits, text: str) -> Edits:
        document = self.load(text).document
        assert document is not None
        return amend.in_force(document, edits)


@pytest.fixture
def sheet(tmp_path: Path) -> Sheet:
    return Sheet(tmp_path)


def test_an_order_is_as_if_the_file_had_been_edited(sheet: Sheet) -> None:
    by_hand = sheet.amended(sheet.ordered(cmd="run --slow", priority="3", graceful_timeout="0.5", colour="red"))
    text = BASE.replace("--fast", "--slow").replace("timeout = 5", "timeout = 0.5\npriority = 3").replace("blue", "red")
    assert (
        by_hand.watchers == sheet.load(text).watchers
        or by_hand.watchers[0].digest == sheet.load(text).watchers[0].digest
    )
    web, job = by_hand.watchers
    assert (web.cmd, web.priority, web.graceful_timeout_s, web.extra) == ("run --slow", 3, 0.5, {"colour": "red"})
    assert job == sheet.load().watchers[1]


def test_the_file_itself_is_left_as_it_is(sheet: Sheet) -> None:
    config = sheet.load()
    assert config.document is not None
    amend.laid_over(config.document, sheet.ordered(cmd="x", env__A="1"))
    assert config.document.texts("watcher:Web")["cmd"] == "run --fast"
    assert "env.A" not in config.document.texts("watcher:Web")


def test_one_key_of_a_stream_leaves_its_class_as_it_was(sheet: Sheet) -> None:
    (web, _) = sheet.amended(sheet.ordered(stdout_stream__time_format="%H")).watchers
    assert web.stdout_stream is not None
    assert (web.stdout_stream.class_name, web.stdout_stream.time_format) == ("StdoutStream", "%H")


def test_variables_of_the_environment_go_over_those_of_the_file(sheet: Sheet) -> None:
    web, job = sheet.amended(sheet.ordered(env__B="3", env__C="4")).watchers
    assert web.env == {"A": "from-file", "B": "3", "C": "4"}
    assert job.env == {"A": "from-file"}


def test_what_the_file_says_as_well_is_no_order(sheet: Sheet) -> None:
    edits = sheet.ordered(graceful_timeout="7", env__B="1")
    assert sheet.ordered(edits, graceful_timeout="5", env__B="2") == amend.NOTHING
    assert sheet.ordered(graceful_timeout="5") == amend.NOTHING


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        ("timeout = 5", "timeout = 6", {"colour", "env.B", "env.C"}),
        ("graceful_timeout = 5\n", "", {"colour", "env.B", "env.C"}),
        ("blue", "green", {"graceful_timeout", "env.B", "env.C"}),
        ("env.B = 2", "env.B = 9", {"graceful_timeout", "colour", "env.C"}),
        ("[watcher:Web]", "[watcher:WEB]", {"graceful_timeout", "colour", "env.B", "env.C"}),
        ("cmd = job", "cmd = other", {"graceful_timeout", "colour", "env.B", "env.C"}),
        ("[watcher:Web]", "[watcher:gone]", set()),
    ],
)
def test_an_order_holds_until_the_file_says_something_else_there(
    sheet: Sheet, old: str, new: str, left: set[str]
) -> None:
    edits = sheet.ordered(graceful_timeout="7", colour="red", env__B="3", env__C="4")
    assert {*sheet.in_force(edits, BASE.replace(old, new)).options.get("web", ())} == left


def test_a_wrong_value_reads_as_the_file_would_say_it(sheet: Sheet) -> None:
    with pytest.raises(ConfigInvalid) as raised:
        sheet.amended(sheet.ordered(graceful_timeout="soon", uid="", working_dir="/nowhere"))
    said = [str(each) for each in raised.value.findings if each.severity == "error"]
    assert said == [
        "by hand: Web: graceful_timeout = 'soon' is not a number of seconds (write for example 5, 0.5, 250ms or 2h)",
        "by hand: Web: working directory /nowhere does not exist (make it, or correct working_dir)",
    ]


def test_what_has_become_wrong_about_another_watcher_is_not_blamed_on_the_order(sheet: Sheet) -> None:
    class Changed(AnyHost):
        def _answer(self, question: str, subject: str) -> bool:
            return "job" not in subject

    (web, _) = amended(sheet.load(), sheet.ordered(priority="4"), {}, ["web"], host=Changed()).watchers
    assert web.priority == 4


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ({"numprocesses": 3, "warmup_delay": 0.5}, {"numprocesses": "3", "warmup_delay": "0.5"}),
        ({"respawn": False, "send_hup": True}, {"respawn": "false", "send_hup": "true"}),
        ({"cmd": ["a b", "c"], "args": ["$x"]}, {"cmd": "'a b' c", "args": "'$x'"}),
        ({"env": {"A": "1", "N": 2}}, {"env.A": "1", "env.N": "2"}),
        ({"env": "A=1, B=x=y"}, {"env.A": "1", "env.B": "x=y"}),
        ({"hooks": "before_start:m.f,after_stop:n:g"}, {"hooks.before_start": "m.f", "hooks.after_stop": "n:g"}),
        ({"stderr_stream": {"class": "A", "size": 1}}, {"stderr_stream.class": "A", "stderr_stream.size": "1"}),
        ({"flapping": {"window": 10}}, {"flapping.window": "10"}),
    ],
)  # fmt: skip
def test_typed_values_become_the_text_of_a_file(given: dict[str, object], texts: dict[str, str]) -> None:
    assert amend.texts_of(given) == texts


@pytest.mark.parametrize(
    "given", [{"uid": None}, {"env": "A"}, {"priority": []}, {"cmd": ["a", 1]}, {"cmd": "a\0"}, {"env": {"A": {}}}]
)
def test_a_value_that_no_file_could_have_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(CircusError) as raised:
        amend.texts_of(given)
    assert raised.value.code == "bad-request"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("gracefull_timeout", "did you mean graceful_timeout?"),
        ("Numprocesses", "did you mean numprocesses?"),
        ("command", "did you mean cmd?"),
        ("hooks.before_strat", "did you mean hooks.before_start?"),
        ("hooks.nonsense", "write one of before_start, "),
        ("stdout_stream.filenam", "did you mean stdout_stream.filename?"),
        ("flapping.windw", "did you mean flapping.window?"),
        ("check_flapping", "write flapping.active = false"),
        ("__name__", "write the name of an option"),
        ("", "write the name of an option"),
        ("env.A\0", "write the name of an option"),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused_with_what_was_meant(key: str, hint: str) -> None:
    with pytest.raises(CircusError) as raised:
        amend.check_keys("web", ["cmd", key])
    assert raised.value.code == "config-invalid"
    assert raised.value.hint.startswith(hint)


def test_options_of_hooks_and_those_that_the_ancestors_refused_without_reason_are_accepted() -> None:
    ours = ["stats_base_port", "use_sockets", "on_demand", "priority", "autostart", "executable", "virtualenv"]
    amend.check_keys("web", [*ours, "rlimit_nofile", "env.A", "stdout_stream.own_key", "hooks.after_spawn"])


_LETTERS = st.characters(exclude_categories=["Cs"])
_KEYS = st.sampled_from(options.watcher_names()) | st.text(_LETTERS, max_size=12)
_VALUES = st.text(_LETTERS, max_size=20) | st.integers() | st.floats() | st.booleans() | st.none()


@given(st.dictionaries(_KEYS, _VALUES | st.dictionaries(_KEYS, _VALUES, max_size=2), min_size=1, max_size=3))
def test_whatever_is_ordered_is_understood_or_refused_in_words(ordered: dict[str, object]) -> None:
    document = Document(
        "/c.ini", {"watcher:web": Section("watcher:web", "/c.ini", 1, {"cmd": Entry("cmd", "x", "", 2)})}
    )
    config = CircusConfig(document=document)
    try:
        texts = amend.texts_of(ordered)
        amend.check_keys("web", texts)
        edits = amend.with_options(document, amend.NOTHING, "web", texts)
        assert amend.in_force(document, edits) == edits
        amended(config, edits, {}, ["web"])
    except CircusError as error:
        assert error.message


def test_what_is_ordered_by_hand_has_a_bound(sheet: Sheet) -> None:
    edits = sheet.ordered(colour="x" * (amend.MAX_BYTES - 200))
    with pytest.raises(CircusError) as raised:
        sheet.ordered(edits, shape="\N{SNOWMAN}" * 40)
    assert raised.value.code == "limit"
