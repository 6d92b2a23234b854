"""The lean JSON against that of the standard library."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import papa
from papa import lean_json

SOURCES = str(Path(papa.__file__).parents[1])

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
# What is nearly JSON is the interesting part.
texts = st.one_of(st.text(), st.text('{}[]",:\\u0123 \t\n-.eE+tfnNI', max_size=30), values.map(json.dumps))


def same(one, other):
    return json.dumps(one) == json.dumps(other)


def outcome(call, *args, **options):
    try:
        return call(*args, **options)
    except (TypeError, ValueError) as error:
        return TypeError if isinstance(error, TypeError) else ValueError


@given(texts, st.sampled_from(["", " ", "\t\r\n", "\u00a0", "x", "\ufeff"]), st.sampled_from(["", " \n", "x", "\x00"]))
@example("", "", "")
@example('{"a" 1}', "", "")
@example('"abc', "", "")
@example('["\x01"]', "", "")
@example('"\\ud800"', "", "")
@example("1" * 5000, "", "")
def test_it_reads_what_the_standard_one_reads_and_refuses_what_that_refuses(text, before, behind):
    whole = before + text + behind
    one, other = outcome(lean_json.loads, whole), outcome(json.loads, whole)
    assert one is other or same(one, other)
    as_bytes = whole.encode("utf-8", "surrogatepass")
    if "\x00" not in whole and "\ufeff" not in whole:
        # With these the standard one guesses other encodings.
        one, other = outcome(lean_json.loads, as_bytes), outcome(json.loads, as_bytes)
        assert one is other or same(one, other)


@given(
    values,
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.booleans(),
    st.booleans(),
)
def test_it_writes_what_the_standard_one_writes(value, separators, sort_keys, allow_nan):
    options = {"separators": separators, "sort_keys": sort_keys, "allow_nan": allow_nan}
    assert outcome(lean_json.dumps, value, **options) == outcome(json.dumps, value, **options)


def test_a_word_for_no_number_can_be_refused():
    def refuse(word):
        raise ValueError(word)

    assert math.isnan(lean_json.loads("NaN"))
    with pytest.raises(ValueError, match="NaN"):
        lean_json.loads("[NaN]", parse_constant=refuse)


@pytest.mark.parametrize("text", ['{"a" 1}', '"abc', '["\\x"]', "[1,]", ""])
def test_where_json_was_never_imported_an_error_is_an_error_all_the_same(text):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from papa import jsontext\n"
        "try: jsontext.loads(sys.argv[2])\n"
        "except ValueError: print(sorted({'json.scanner', 're'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, SOURCES, text], capture_output=True, text=True, timeout=20
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_no_module_of_the_kernel_meets_the_stand_in():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import papa.kernel.daemon, papa.kernel.holder, papa.kernel.recorder, papa.kernel.reexec\n"
        "print([name for name, module in sys.modules.items() if name != 'papa.jsontext' and hasattr(module, 'json')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, SOURCES], capture_output=True, text=True, timeout=20
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
