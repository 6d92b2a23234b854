"""From text to values: what each type of option accepts, and what it says of the rest."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.config.values import PARSERS


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("text", "a b", "a b"),
        ("text", "", None),
        ("words", " a\n b ", ("a", "b")),
        ("flag", "yes", True),
        ("flag", " ON ", True),
        ("flag", "1", True),
        ("flag", "True", True),
        ("flag", "no", False),
        ("flag", "Off", False),
        ("flag", "0", False),
        ("flag", "false", False),
        ("integer", "-3", -3),
        ("count", "0", 0),
        ("positive", "1", 1),
        ("processes", "10000", 10000),
        ("retries", "-1", -1),
        ("port", "65535", 65535),
        ("period", "-1", -1.0),
        ("seconds", "0.5", 0.5),
        ("seconds", "10", 10.0),
        ("seconds", " 250 MS ", 0.25),
        ("seconds", ".5", 0.5),
        ("seconds", "90s", 90.0),
        ("seconds", "1.5m", 90.0),
        ("seconds", "5min", 300.0),
        ("seconds", "2h", 7200.0),
        ("seconds", "366d", 366 * 86400.0),
        ("period", "-1s", -1.0),
        ("size", "9007199254740993", 9007199254740993),
        ("buffer", "64k", 65536),
        ("buffer", "1g", 1 << 30),
        ("overflow", " Drop-Oldest ", "drop-oldest"),
        ("overflow", "block", "block"),
        ("kill_mode", " Tree ", "tree"),
        ("stall", "Forever", float("inf")),
        ("stall", "1h", 3600.0),
        ("stall", "0", 0.0),
        ("size", "10000000", 10_000_000),
        ("limit_size", "2g", 2 << 30),
        ("limit_size", "", None),
        ("limit_seconds", "5m", 300),
        ("limit_seconds", "infinity", None),
        ("limit_microseconds", "500", 500),
        ("limit_microseconds", "1.5ms", 1500),
        ("limit_microseconds", "-1", None),
        ("size", "10k", 10 << 10),
        ("size", "1.5 M", 3 << 19),
        ("size", "2GB", 2 << 30),
        ("size", "1MiB", 1 << 20),
        ("size", "7b", 7),
        ("octal", "022", 0o22),
        ("octal", "22", 0o22),
        ("octal", "0o777", 0o777),
        ("signal", "15", 15),
        ("signal", "TERM", int(signal.SIGTERM)),
        ("signal", "SIGTERM", int(signal.SIGTERM)),
        ("signal", " quit ", int(signal.SIGQUIT)),
        ("signal", "SIGRTMIN+1", signal.SIGRTMIN + 1),
        ("signal", "rtmax-2", signal.SIGRTMAX - 2),
        ("limit", "1024", 1024),
        ("limit", "", None),
        ("limit", "Unlimited", None),
        ("limit", "-1", None),
        ("account", " www-data ", "www-data"),
        ("account", "", None),
        ("family", "AF_INET6", "inet6"),
        ("family", "unix", "unix"),
        ("socktype", "SOCK_DGRAM", "dgram"),
        ("level", "WARNING", "warning"),
        ("name", "web-1.a_b", "web-1.a_b"),
        ("control", "unix:///run/c.sock", "unix:///run/c.sock"),
        ("papa", "20203", "tcp://127.0.0.1:20203"),
        ("papa", "tcp://localhost:20203", "tcp://127.0.0.1:20203"),
        ("papa", "ipc:/run/papa", "ipc:///run/papa"),
        ("papa", "unix:///run/papa", "unix:///run/papa"),
        ("papa", "/run/papa", "/run/papa"),
    ],
)
def test_what_is_accepted(kind: str, text: str, value: object) -> None:
    parsed = PARSERS[kind](text)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("flag", "maybe", "neither true nor false"),
        ("flag", "", "neither"),
        ("integer", "1.5", "not a whole number"),
        ("count", "", "is empty"),
        ("count", "-1", "out of range"),
        ("positive", "0", "out of range"),
        ("processes", "10001", "out of range"),
        ("retries", "-2", "out of range"),
        ("port", "65536", "out of range"),
        ("period", "soon", "not a number of seconds"),
        ("period", "nan", "not a number of seconds"),
        ("seconds", "inf", "not a number of seconds"),
        ("seconds", "1e300", "out of range"),
        ("seconds", "367d", "out of range"),
        ("seconds", "5 weeks", "not a number of seconds"),
        ("seconds", "m", "not a number of seconds"),
        ("size", "1e300", "not a size"),
        ("size", "9999999t", "not a size"),
        ("size", "1" * 5000, "not a size"),
        ("limit", "1k", "not a limit"),
        ("limit_size", "1x", "not a size"),
        ("limit_seconds", "-2", "negative"),
        ("limit_microseconds", "1h", "not a number of microseconds"),
        ("seconds", "-0.1", "negative"),
        ("size", "10 apples", "not a size"),
        ("size", "-1", "not a size"),
        ("buffer", "4095", "no size of a buffer"),
        ("buffer", "2g", "no size of a buffer"),
        ("overflow", "explode", "not known"),
        ("kill_mode", "mixed", "not known"),
        ("stall", "2h", "too long"),
        ("stall", "-1", "negative"),
        ("octal", "8", "not an octal mask"),
        ("octal", "1000", "out of range"),
        ("octal", "-1", "out of range"),
        ("signal", "STOPP", "not a signal"),
        ("signal", "0", "not a signal"),
        ("signal", "65", "not a signal"),
        ("signal", "SIGRTMAX+9", "not a signal"),
        ("signal", "SIGRTMIN+x", "not a signal"),
        ("signal", "", "not a signal"),
        ("limit", "many", "not a limit"),
        ("limit", "-2", "out of range"),
        ("family", "AF_X25", "not a family"),
        ("socktype", "SOCK_RAW", "not a type"),
        ("level", "loud", "not a level"),
        ("name", "a b", "cannot be a name"),
        ("name", "a" * 65, "cannot be a name"),
        ("control", "tcp://127.0.0.1:1", "not an address"),
        ("control", "unix://relative", "not an address"),
        ("control", "unix:///", "not an address"),
        ("papa", "tcp://10.0.0.1:1", "not a kernel's address"),
        ("papa", "ipc:relative", "not a kernel's address"),
        ("papa", "99999", "out of range"),
        ("papa", "/", "not a kernel's address"),
    ],
)
def test_what_is_refused_with_what_to_write_instead(kind: str, text: str, said: str) -> None:
    with pytest.raises(ValueError) as raised:
        PARSERS[kind](text)
    what, semicolon, hint = str(raised.value).partition("; ")
    assert said in what
    assert semicolon and hint


@given(kind=st.sampled_from(sorted(PARSERS)), text=st.text(max_size=30))
def test_a_text_has_a_value_or_is_refused(kind: str, text: str) -> None:
    try:
        PARSERS[kind](text)
    except ValueError as error:
        assert "; " in str(error)
