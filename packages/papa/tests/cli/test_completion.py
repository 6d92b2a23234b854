from __future__ import annotations

import pytest

from papa.cli.completion import complete
from papa.wire import text

NAMES = {"processes": ["web.1", "web.2", "worker"], "sockets": ["front"], "values": ["note"]}


def names_of(kind: str, begun: str) -> list[str]:
    return [name for name in NAMES[kind] if name.startswith(begun)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("li", ["list "]),
        ("E", ["exit-if-idle "]),
        ("x", []),
        ("fr", []),
        ("list ", ["processes ", "sockets ", "values "]),
        ("l P", ["processes "]),
        ("make ", ["process ", "socket "]),
        ("w ", ["lines ", "processes "]),
        ("nosuch ", []),
        ("exit ", []),
        ("quit ", []),
        ("l x ", []),
        ("l p ", ["web.1 ", "web.2 ", "worker "]),
        ("r p web.1 wo", ["worker "]),
        ("w l we", ["web.1 ", "web.2 "]),
        ("list sock ", ["front "]),
        ("get ", ["note "]),
        ("get note ", []),
        ("set n", ["note "]),
        ("m p ", []),
        ("m p x wo", ["working_dir="]),
        ("m p x uid=5 std", ["stdout=", "stderr="]),
        ("m p x en", ["env."]),
        ("m p x env.PA", []),
        ("m p x rl", ["rlimit."]),
        ("m p x rlimit.no", ["rlimit.nofile="]),
        ("m p x stderr=", ["stderr=0 ", "stderr=1 ", "stderr=stdout "]),
        ("m p x colour=", []),
        ("m p x prog wo", []),
        ("m p x prog $(socket.f", ["$(socket.front.fileno) ", "$(socket.front.port) "]),
        ("m s x fam", ["family="]),
        ("m s x family=i", ["family=inet ", "family=inet6 "]),
        ("m s x family=inet ba", ["backlog="]),
        ("help w", ["watch "]),
        ("h make ", ["process ", "socket "]),
        ("h quit ", []),
        ("h nosuch ", []),
        ("h make process ", []),
    ],
)
def test_a_word_is_completed_from_the_language_and_from_what_the_kernel_has(line, words):
    before, _, begun = line.rpartition(" ")
    assert complete(before, begun, names_of) == words


@pytest.mark.parametrize("kind", ["process", "socket"])
def test_every_option_that_is_offered_is_understood(kind):
    values = {"family": "inet", "type": "stream", "env.": "X=1", "rlimit.": "nofile=5", "stderr": "stdout"}
    for option in (word for word in complete(f"make {kind} x", "", names_of)):
        key = option.rstrip("=")
        line = f"make {kind} x {option}{values.get(key, '1')}"
        assert text.parse_line(line + (" prog" if kind == "process" else "")) is not None


def test_every_choice_that_is_offered_is_understood():
    for key, values in text.CHOICES.items():
        kinds = [kind for kind, options in text.OPTIONS.items() if key in options]
        assert kinds
        for kind in kinds:
            for value in values:
                assert text.parse_line(f"make {kind} x {key}={value}" + (" prog" if kind == "processes" else ""))
