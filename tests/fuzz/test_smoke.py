"""A short fuzz in every test run, from a fixed seed and without guidance; `make fuzz` is the long one."""

from __future__ import annotations

import itertools

import pytest

from tests.fuzz import house, mutate

#: Of each target: together they take some seconds.
RUNS = 3000


@pytest.mark.parametrize("name", house.TARGETS)
def test_no_input_breaks_a_promise(name):
    target = house.load(name)
    inputs = mutate.inputs(target.seeds(), target.WORDS, seed=1, limit=house.MAX_INPUT)
    with house.bounded(target):
        for data in itertools.islice(inputs, RUNS):
            try:
                target.check(data)
            except Exception as error:
                error.add_note(house.how_to_repeat(name, house.keep(name, data)))
                raise


def test_pieces_of_an_input_are_what_it_was_made_of():
    assert house.cut(house.whole(b"a", b"", b"bcd")) == [b"a", b"", b"bcd"]
    assert house.cut(b"") == [b""]
