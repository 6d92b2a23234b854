"""The language of env_files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.config.dotenv import parse


def values(text: str) -> dict[str, str]:
    found, fault = parse(text)
    assert fault is None
    return {name: value for name, (value, _) in found.items()}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("A=", ""),
        ("  export\tA = 1  ", "1"),
        ("A=a b\tc", "a b\tc"),
        ("A=1 # note", "1"),
        ("A=# note", "# note"),
        ("A= # note", "# note"),
        ("A=p#ss;w'or\"d$HOME", "p#ss;w'or\"d$HOME"),
        ("A=a=b", "a=b"),
        ("A='a # $B \\n \"x\"' # note", 'a # $B \\n "x"'),
        ('A="a # $B"', "a # $B"),
        (r'A="\n\t\r\"\\\$\x"', '\n\t\r"\\$\\x'),
        ("A='one\ntwo'", "one\ntwo"),
        ('A="one\ntwo"', "one\ntwo"),
        ("A=''", ""),
        ("A=1\r", "1"),
    ],
)
def test_a_value_is_what_shells_and_containers_take_it_for(line: str, value: str) -> None:
    assert values(f"# first\n\n{line}\n   # more\nB=2") == {"A": value, "B": "2"}


def test_of_a_name_that_is_given_twice_the_last_counts() -> None:
    assert values("A=1\nA=2\n") == {"A": "2"}


def test_every_value_knows_its_line() -> None:
    found, _ = parse("\nA='x\ny'\n\nB=1\r\nC=2")
    assert {name: line for name, (_, line) in found.items()} == {"A": 2, "B": 5, "C": 6}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("A=1\nwords\n", 2, "this line is not NAME=VALUE"),
        ("1A=1", 1, "this line is not NAME=VALUE"),
        ("A B=1", 1, "this line is not NAME=VALUE"),
        ("=1", 1, "this line is not NAME=VALUE"),
        ("A='secret\n\n", 1, "the quote of A is not closed"),
        ('A="secret\\"\n', 1, "the quote of A is not closed"),
        ("\nA='secret' more\n", 2, "something stands behind the quotes of A"),
    ],
)
def test_a_fault_has_its_line_and_never_quotes_the_value(text: str, line: int, what: str) -> None:
    _, fault = parse(text)
    assert fault is not None
    assert (fault.line, fault.what) == (line, what)
    assert "secret" not in f"{fault.what} {fault.hint}"


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,3}", fullmatch=True), st.text(max_size=12)))
def test_what_is_written_in_double_quotes_comes_back(variables: dict[str, str]) -> None:
    variables = {name: value.replace("\r\n", "\n") for name, value in variables.items()}
    lines = []
    for name, value in variables.items():
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'{name}="{quoted}"')
    assert values("\n".join(lines)) == variables


@given(st.text(max_size=60))
def test_any_text_is_read_to_its_end_or_to_its_fault(text: str) -> None:
    found, fault = parse(text)
    assert all(1 <= line <= text.count("\n") + 1 for _, line in found.values())
    assert fault is None or fault.line <= text.count("\n") + 1
