from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.drill import texts
from circus.drill.texts import JSON, PLAIN, PREFIXED, Tally, Unclear, Written, compare


def whole(data: bytes, pid: int = 7) -> Written:
    """A stream of which every byte was read, and must be in the file."""
    return Written([(0, data)], 0, len(data), pid)


@pytest.mark.parametrize(
    ("found", "tally"),
    [
        ([b"a", b"bb"], Tally(compared=5)),
        ([b"bb", b"a"], Tally(compared=5)),
        ([b"a"], Tally(compared=5, lost=3)),
        ([b"a", b"bb", b"bb"], Tally(compared=5, doubled=3)),
        ([b"a", b"a"], Tally(compared=5, lost=3, doubled=2)),
        ([b"a", b"bb", b"stranger"], Tally(compared=5, doubled=9)),
        ([b"a", b"[papa: 3 bytes of output were dropped here]"], Tally(compared=5, lost=3, said=3)),
        (
            [
                b"a",
                b"bb",
                b"[papa: this file changed while circus was away; up to 3 bytes from above may follow again]",
            ],
            Tally(compared=5),
        ),
    ],
)
def test_lines_are_counted(found: list[bytes], tally: Tally) -> None:
    assert compare(PLAIN, found, [whole(b"a\nbb\n")]) == tally


def test_what_stands_before_a_line_is_taken_off_and_says_whose_it_is() -> None:
    found = [b"12:00:01 [7] | same", b"12:00:02 [8] | same", b"\033[0;31;40m12:00 [8] | red\033[0m"]
    streams = [whole(b"same\n"), whole(b"same\nred\n", pid=8)]
    assert compare(PREFIXED, found, streams) == Tally(compared=14)
    assert compare(PREFIXED, [found[0], *found], streams) == Tally(compared=14, doubled=5)
    assert compare(PREFIXED, [found[0], found[2]], streams) == Tally(compared=14, lost=5)
    assert compare(PREFIXED, [*found, b"by hand"], streams).doubled == len(b"by hand\n")


def test_an_object_of_json_is_the_line_in_it() -> None:
    def line(text: str, **more: object) -> bytes:
        return json.dumps({"pid": 7, "line": text, **more}).encode()

    found = [line("a | b"), line("?", raw="/w=="), json.dumps({"mark": "gap", "dropped_bytes": 4}).encode()]
    assert compare(JSON, found, [whole(b"a | b\n\xff\n")]) == Tally(compared=8, said=4)
    assert compare(JSON, [b"no object", b"[]"], [whole(b"")]).doubled == len(b"no object\n[]\n")
    with pytest.raises(Unclear, match="parts"):
        compare(JSON, [line("a", partial=True)], [whole(b"ab\n")])


def test_a_line_that_circusd_would_cut_is_not_compared() -> None:
    with pytest.raises(Unclear, match="longer"):
        compare(PLAIN, [], [whole(b"x" * (texts.MAX_LINE + 1) + b"\n")])


def test_between_the_bounds_a_line_may_be_there_or_not() -> None:
    stream = Written([(100, b"early\nsure\nlate\nbeg")], 106, 111, 7)
    assert compare(PLAIN, [b"sure"], [stream]) == Tally(compared=5)
    assert compare(PLAIN, [b"early", b"sure", b"late"], [stream]) == Tally(compared=5)
    assert compare(PLAIN, [b"early", b"late"], [stream]) == Tally(compared=5, lost=5)


def test_a_line_that_was_begun_before_is_not_missed() -> None:
    assert compare(PLAIN, [b"b"], [Written([(50, b"of a line\nb\n")], 50, 62, 7)]) == Tally(compared=2)
    assert compare(PLAIN, [], [Written([(50, b"of a line")], 50, 59, 7)]) == Tally()


def test_bytes_that_nobody_read_must_be_there_by_their_number() -> None:
    # "a\nbb\nccc\ndddd\n", of which the bytes 3 to 7 were gone.
    stream = Written([(0, b"a\nb"), (7, b"c\ndddd\n")], 0, 14, 7)
    assert compare(PLAIN, [b"a", b"bb", b"ccc", b"dddd"], [stream]) == Tally(compared=7, unseen=7)
    assert compare(PLAIN, [b"a", b"bb", b"dddd"], [stream]) == Tally(compared=7, lost=4, unseen=7)
    assert compare(PLAIN, [b"a", b"bb", b"ccc", b"dddd", b"dddd"], [stream]) == Tally(compared=7, doubled=5, unseen=7)


def test_lines_out_of_which_something_was_dropped_are_lost_and_their_rests_are_no_strangers() -> None:
    mark = b"[papa: 6 bytes of output were dropped here]"
    stream = whole(b"first\nsecond\nthird\n")
    assert compare(PLAIN, [b"first", b"sec", mark, b"ird"], [stream]) == Tally(compared=19, lost=13, said=6)
    assert compare(PLAIN, [b"first", b"second", mark, b"ird", b"ird"], [stream]).doubled == 4


def test_at_the_very_end_nothing_is_known_of_what_nobody_read() -> None:
    stream = Written([(0, b"a\nb"), (7, b"c")], 0, 8, 7)
    assert compare(PLAIN, [b"a"], [stream]).lost == 0
    assert compare(PLAIN, [b"a", b"bb"], [stream]).doubled == 0


@given(seed=st.integers(0, 10_000), look=st.sampled_from([PLAIN, PREFIXED]))
def test_whatever_is_lost_or_doubled_and_whatever_was_not_read_the_numbers_are_right(seed: int, look: str) -> None:
    chance = random.Random(seed)
    file: list[bytes] = []
    streams = []
    lost = doubled = 0
    for pid in range(chance.randint(1, 3)):
        lines = [b"%d-%d" % (pid, number) * chance.randint(1, 3) for number in range(chance.randint(1, 30))]
        data = b"".join(line + b"\n" for line in lines)
        # An end that was read: behind the last gap there is a whole line.
        cuts = sorted(chance.sample(range(len(data) - len(lines[-1]) - 1 or 1), k=min(4, len(data) // 8) // 2 * 2))
        cuts = [cut for cut in cuts if cut < len(data) - 2 * len(lines[-1]) - 2]
        cuts = cuts[: len(cuts) // 2 * 2]
        bounds = [0, *cuts, len(data)]
        pieces = [(start, data[start:end]) for start, end in zip(bounds[::2], bounds[1::2], strict=True)]
        streams.append(Written(pieces, 0, len(data), pid))
        dressing = b"" if look == PLAIN else b"12:00 [%d] | " % pid
        fate = chance.choice(["all", "one is lost", "one is doubled"])
        victim = chance.choice(lines)
        if fate == "one is lost":
            lost += len(victim) + 1
        if fate == "one is doubled":
            doubled += len(victim) + 1
            file.append(dressing + victim)
        file += [dressing + line for line in lines if fate != "one is lost" or line != victim]
    chance.shuffle(file)
    tally = compare(look, file, streams)
    # What nobody read is counted alone: of two streams in one file the one may make up for the other.
    assert tally.doubled - tally.lost == doubled - lost
    if tally.unseen == 0:
        assert (tally.lost, tally.doubled) == (lost, doubled)
