"""The format of the index: whatever is cut or written twice, what is left says the truth."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from circus.logbook import entries
from circus.logbook.entries import Header, Run, Source, Span

A, B = Source("web", 1, 10, "stdout"), Source("web", 2, 11, "stderr", entries.PREFIXED)
SECOND = 1_000_000_000

runs = st.lists(
    st.builds(Run, st.sampled_from([A, B]), st.integers(1, 500), st.integers(1, 5000).map(lambda n: n * 1_000_000)),
    min_size=1,
    max_size=8,
)
batches = st.lists(runs, max_size=6)


def packed(batches: list[list[Run]]) -> tuple[bytes, list[Span], list[int]]:
    """The index of the batches, one behind the other; what it says; where each batch ends in it."""
    data = entries.MAGIC + entries.pack_header(Header("/x.log", 7, 1)) + entries.pack_head(0, "")
    data += entries.pack_source(0, A) + entries.pack_source(1, B)
    spans, at, ends = [], 0, []
    for batch in batches:
        data += entries.pack_runs(at, [(run.length, int(run.source == B), run.at_ns) for run in batch])
        ends.append(len(data))
        for run in batch:
            spans.append(Span(at, at + run.length, run.source, run.at_ns))
            at += run.length
    return data, spans, ends


@given(batches)
def test_what_is_packed_is_what_is_parsed(batches: list[list[Run]]) -> None:
    data, spans, _ = packed(batches)
    index = entries.parse(data)
    assert index.spans == spans
    assert index.header == Header("/x.log", 7, 1)
    assert index.taken == len(data)
    assert index.end == (spans[-1].end if spans else 0)


@given(batches, st.data())
def test_cut_at_any_byte_the_whole_batches_before_it_are_left(batches: list[list[Run]], data: st.DataObject) -> None:
    whole, spans, ends = packed(batches)
    cut = data.draw(st.integers(0, len(whole)))
    index = entries.parse(whole[:cut])
    count = sum(len(batch) for batch, end in zip(batches, ends, strict=True) if end <= cut)
    assert index.spans == spans[:count]
    skimmed = entries.skim(whole[:cut])
    assert skimmed[:4] == (index.header, index.head, index.taken, index.end)
    index.feed(whole[index.taken :])  # what was cut comes later
    assert index.spans == spans


@given(batches, st.integers(1, 60), st.integers(0, 255))
def test_a_damaged_byte_ends_the_index_or_changes_nothing(batches: list[list[Run]], back: int, value: int) -> None:
    whole, spans, _ = packed(batches)
    damaged = bytearray(whole)
    damaged[-min(back, len(damaged))] = value
    found = entries.parse(bytes(damaged)).spans
    assert found == spans[: len(found)]


@given(batches, runs)
def test_of_two_batches_at_one_place_the_later_one_counts(batches: list[list[Run]], again: list[Run]) -> None:
    whole, spans, _ = packed(batches)
    at = spans[len(spans) // 2].start + 1 if spans else 0
    whole += entries.pack_runs(at, [(run.length, int(run.source == B), run.at_ns) for run in again])
    index = entries.parse(whole)
    assert [span.start for span in index.spans] == sorted(span.start for span in index.spans)
    assert all(one.end <= other.start for one, other in zip(index.spans, index.spans[1:], strict=False))
    assert index.end == entries.skim(whole).end == at + sum(run.length for run in again)
    span = index.spans[index.find(at)]
    assert (span.start, span.source, span.at_ns) == (at, again[0].source, again[0].at_ns)


@given(batches)
def test_neighbours_share_a_time_only_where_nobody_tells_them_apart(batches: list[list[Run]]) -> None:
    for batch in batches:
        joined = entries.joined(batch)
        assert sum(run.length for run in joined) == sum(run.length for run in batch)
        at, told = 0, {}
        for run in joined:
            told.update({at + byte: run for byte in range(run.length)})
            at += run.length
        at = 0
        for run in batch:
            for byte in range(run.length):
                assert told[at + byte].source == run.source
                assert 0 <= run.at_ns - told[at + byte].at_ns < entries.SAME_NS
            at += run.length


@given(batches, st.integers(600, 1500))
def test_a_thinned_index_is_small_and_what_it_says_is_from_the_same_source(
    batches: list[list[Run]], most_bytes: int
) -> None:
    whole, spans, _ = packed(batches)
    data = entries.thinned(entries.parse(whole), most_bytes)
    assert len(data) <= most_bytes
    index = entries.parse(data)
    assert index.header == Header("/x.log", 7, 1)
    for span in index.spans:
        inside = [each for each in spans if span.start <= each.start < span.end]
        assert {each.source for each in inside} == {span.source}
        assert inside[0].start == span.start
        assert inside[0].at_ns == span.at_ns
        assert inside[-1].end == span.end
    if index.spans:
        assert index.spans[-1].end == spans[-1].end  # the latest is kept


def test_to_thin_a_large_index_takes_little_more_than_its_size() -> None:
    whole, _, _ = packed([[Run((A, B)[i // 7 % 2], 300, i * SECOND + each) for each in range(50)] for i in range(1000)])
    index = entries.parse(whole)
    tracemalloc.start()
    try:
        data = entries.thinned(index, len(whole))
        _, thinning = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        again = entries.parse(data)
        _, parsing = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(again) == len(index) * 3 // 4
    assert thinning < 4 * len(whole)  # a span as an object is ten times as large as in the index
    assert parsing < 6 * len(data)


def test_no_index_is_an_empty_one() -> None:
    for data in (b"", b"circ", b"something else", entries.MAGIC):
        assert entries.parse(data).spans == []


def test_a_kind_that_is_not_known_yet_is_passed_over() -> None:
    data, _, _ = packed([[Run(A, 5, SECOND)]])
    new = entries._block(77, b"of tomorrow")
    assert entries.parse(data + new + entries.pack_runs(5, [(3, 0, SECOND)])).end == 8


def test_times_are_found_by_the_latest_up_to_a_place() -> None:
    data, _, _ = packed([[Run(A, 5, 3 * SECOND), Run(B, 5, SECOND), Run(A, 5, 4 * SECOND)]])
    index = entries.parse(data)
    assert [index.key(number) for number in range(3)] == [3 * SECOND, 3 * SECOND, 4 * SECOND]
    assert index.first_since(2 * SECOND) == 0
    assert index.first_since(4 * SECOND) == 10
    assert index.first_since(5 * SECOND) is None


def test_the_example_of_the_reference_is_an_index_and_its_reader_reads_it() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/log-store.md").read_text(encoding="utf-8")
    example, reader = page.split("```\n", 2)[1], page.split("```python\n")[1].split("```")[0]
    data = bytes.fromhex(example)
    known: dict[str, Any] = {"data": data}
    exec(reader, known)
    assert known["spans"] == [
        (span.start, span.end, {"n": 0, **span.source._asdict()}, span.at_ns) for span in entries.parse(data).spans
    ]
    assert [span.at_ns // 1_000_000 % 100_000 for span in entries.parse(data).spans] == [0, 1500]
