from __future__ import annotations

import pytest

from circus.daemon import arguments


def test_the_ancestors_options_are_understood() -> None:
    found = arguments.parse(
        ["--daemon", "--log-level", "DEBUG", "--log-output", "-", "--logger-config", "l", "--pidfile", "p", "c.ini"]
    )
    assert vars(found) == {
        "config": "c.ini",
        "daemon": True,
        "log_level": "debug",
        "log_output": "-",
        "logger_config": "l",
        "pidfile": "p",
    }


def test_nothing_chosen_leaves_the_choice_to_the_file() -> None:
    found = arguments.parse(["c.ini"])
    assert (found.daemon, found.log_level, found.log_output, found.pidfile) == (False, None, None, None)


def test_without_a_file_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        arguments.parse([])
    assert raised.value.code == 0
    assert "usage: circusd" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--log-level", "loud", "c.ini"], ["--no-such", "c.ini"], ["a", "b"]])
def test_wrong_usage_ends_with_2(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        arguments.parse(wrong)
    assert raised.value.code == 2
