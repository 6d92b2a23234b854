"""One section while it is turned into values."""

from __future__ import annotations

from circus.config import options, sheet
from circus.config.expand import Names
from circus.config.model import Finding
from circus.config.read import parse_ini
from circus.config.sheet import Sheet


def _sheet(text: str, *, env: dict[str, str] | None = None, defaults: str = "") -> tuple[Sheet, list[Finding]]:
    sections, _ = parse_ini(f"[watcher:web]\n{text}", "f.ini")
    others, _ = parse_ini(f"[DEFAULT]\n{defaults}", "f.ini")
    findings: list[Finding] = []
    made = Sheet(sections[0], title="web", names=Names(env or {}), defaults=others[0].entries, findings=findings)
    return made, findings


def test_only_what_is_written_is_taken_by_the_names_of_the_model() -> None:
    made, findings = _sheet("numprocesses = 3\nwarmup_delay = 0.5\nuid =\n")
    assert made.take(options.WATCHER) == {"numprocesses": 3, "warmup_delay_s": 0.5}
    assert findings == []


def test_variables_are_replaced_before_a_value_is_parsed() -> None:
    made, _ = _sheet("numprocesses = $(circus.env.n)\n", env={"N": "3"})
    assert made.take(options.WATCHER) == {"numprocesses": 3}


def test_a_bad_value_costs_one_finding_and_only_its_own_value() -> None:
    made, findings = _sheet("numprocesses = many\npriority = 2\n")
    assert made.take(options.WATCHER) == {"priority": 2}
    assert [str(each) for each in findings] == [
        "f.ini:2: web: numprocesses = 'many' is not a number of processes (write digits only)"
    ]


def test_a_long_text_is_not_quoted_as_a_whole() -> None:
    made, findings = _sheet(f"numprocesses = {'9' * 1000}x\n")
    made.take(options.WATCHER)
    assert len(findings[0].what) < sheet.MAX_QUOTED + 60


def test_defaults_stand_in_and_are_overruled() -> None:
    made, findings = _sheet("priority = 2\n", defaults="priority = 1\nsingleton = yes\nfoo = 1\n")
    assert made.take(options.WATCHER) == {"priority": 2, "singleton": True}
    assert made.tell_unknown(options.WATCHER, options.WATCHER.__contains__, is_free=False) == []
    assert findings == []


def test_an_option_without_effect_is_told_of_unless_it_says_the_default() -> None:
    made, findings = _sheet("check_flapping = true\nvirtualenv_py_ver = 3\n")
    assert made.take(options.WATCHER) == {}
    assert [(each.line, each.severity) for each in findings] == [(3, "warning")]
    assert "virtualenv_py_ver has no effect" in findings[0].what


def test_an_unknown_variable_is_told_of_where_nothing_else_will_replace_it() -> None:
    _, findings = _sheet("cmd = x $(circus.env.later)\nworking_dir = /$(circus.env.nowhere)\n")
    assert [str(each) for each in findings] == [
        "f.ini:3: web: working_dir refers to circus.env.nowhere, which is not known (define it in [env])"
    ]


def test_unknown_options_are_told_of_where_a_section_has_none_of_its_own() -> None:
    made, findings = _sheet("prioritty = 1\nfoo = 1\n")
    assert made.tell_unknown(options.SOCKET, options.SOCKET.__contains__, is_free=False) == ["prioritty", "foo"]
    assert [each.hint for each in findings] == ["it has no effect; remove it"] * 2


def test_where_options_may_be_free_only_slips_are_told_of() -> None:
    made, findings = _sheet("prioritty = 1\nfoo = 1\ncommand = x\nenvironment = A=1\n")
    unknown = made.tell_unknown(options.WATCHER, options.WATCHER.__contains__, is_free=True)
    assert unknown == ["prioritty", "foo", "command", "environment"]
    hints = ["did you mean priority?", "did you mean cmd?", "did you mean a section [env:NAME]?"]
    assert [each.hint for each in findings] == hints
    assert {each.severity for each in findings} == {"warning"}


def test_an_indented_option_is_told_of_because_it_became_part_of_the_value_above() -> None:
    made, findings = _sheet("cmd = run\n  numprocesses = 3\n  --port=3\n")
    made.tell_unknown(options.WATCHER, options.WATCHER.__contains__, is_free=True)
    assert [str(each) for each in findings] == [
        "f.ini:3: web: this line continues cmd, but it looks like an option (if it is one, begin it in column 1)"
    ]
