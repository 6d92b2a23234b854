from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.streams import store
from circus.streams.render import Look
from circus.streams.store import DATA, DOUBT, GAP, NOBODY, OPEN, Intent, Place, Segment, SourceKey

PLACE = Place(2049, 77, 100, store.hash_head(b"head"), False, SourceKey(3, "err"))
OUT = SourceKey(1, "out")

keys = st.tuples(st.integers(0, 2**40), st.sampled_from(["out", "err"])).map(lambda pair: SourceKey(*pair))
segments = st.builds(
    Segment,
    keys,
    st.integers(0, 2**60),
    st.integers(-1, 2**60),
    st.sampled_from([DATA, GAP, DOUBT]),
    st.sampled_from(
        [None, Look(time_format="%F %T"), Look(time_format="é", color="red"), Look("json", "", "", "w", 2)]
    ),
)
intents = st.builds(
    Intent,
    st.sampled_from(["/var/log/web.log", "/tmp/\udcff\udc80.log"]),
    st.builds(
        Place,
        st.integers(0, 2**63),
        st.integers(0, 2**63),
        st.integers(0, 2**60),
        st.just("ab"),
        st.booleans(),
        keys,
        st.integers(0, 2**40),
    ),
    st.lists(segments, max_size=5).map(tuple),
    st.integers(0, 20),
    st.integers(0, 2**62),
    st.sampled_from(["", "20261122"]),
    st.integers(0, 2**40),
)


@given(intents)
def test_an_intent_comes_back_as_it_went(intent: Intent) -> None:
    text = store.encode(intent)
    assert store.decode(text) == intent
    text.encode("ascii")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"v":3}', '{"v":1,"path":"x"}', "null", '{"v":1', "7"])
def test_what_is_no_intent_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"intent|version|char"):
        store.decode(text)


def test_the_text_of_an_older_circusd_is_understood_for_ever() -> None:
    text = (
        '{"v":1,"path":"/l","dev":1,"ino":2,"size":3,"head":"ab","bol":true,"last":[0,""],"rotate":2,"at":9,'
        '"formats":["%T","\\u001b[0;32;40m%F"],"segments":[[5,"out",7,9,"data",0],[5,"err",1,4,"gap",-1],[6,"out",4,-1,"data",1]]}'
    )
    assert store.decode(text) == Intent(
        "/l",
        Place(1, 2, 3, "ab", True, NOBODY),
        (
            Segment(SourceKey(5, "out"), 7, 9, DATA, Look(time_format="%T")),
            Segment(SourceKey(5, "err"), 1, 4, GAP),
            Segment(SourceKey(6, "out"), 4, OPEN, DATA, Look(time_format="%F", color="green")),
        ),
        2,
        9,
    )


def test_so_is_that_of_files_which_are_rotated_by_time_and_of_objects() -> None:
    text = (
        '{"v":2,"path":"/l","dev":1,"ino":2,"size":3,"head":"ab","bol":true,"last":[0,""],"dated":60,"rotate":0,'
        '"aside":"197001010001","dating":120,"at":9,"looks":[["json","","","web",4],["text","%T","red","",0]],'
        '"segments":[[5,"out",7,9,"data",0],[5,"err",1,4,"data",1]]}'
    )
    assert store.decode(text) == Intent(
        "/l",
        Place(1, 2, 3, "ab", True, NOBODY, 60),
        (
            Segment(SourceKey(5, "out"), 7, 9, DATA, Look("json", watcher="web", wid=4)),
            Segment(SourceKey(5, "err"), 1, 4, DATA, Look(time_format="%T", color="red")),
        ),
        at_ns=9,
        aside="197001010001",
        dated_s=120,
    )


def test_each_real_path_has_its_own_value() -> None:
    assert store.value_name("circus.", "/a").startswith("circus.sink.")
    assert store.value_name("circus.", "/a") != store.value_name("circus.", "/b")
    assert store.value_name("circus.", "/a\udcff") != store.value_name("circus.", "/a")


def test_an_open_intent_allows_what_follows_from_there_in_the_same_file() -> None:
    open_intent = Intent("/l", PLACE, (Segment(OUT, 5, OPEN),))
    batch = Intent("/l", PLACE, (Segment(OUT, 5, 90),), at_ns=4)
    assert open_intent.allows(batch)
    assert not open_intent.allows(replace(batch, place=replace(PLACE, size=101)))
    assert not open_intent.allows(replace(batch, rotate=3))
    assert not open_intent.allows(replace(batch, aside="20261122"))
    assert not open_intent.allows(replace(batch, dated_s=7))
    assert not open_intent.allows(replace(batch, path="/other"))
    assert not open_intent.allows(replace(batch, segments=(Segment(OUT, 6, 90),)))
    assert not open_intent.allows(replace(batch, segments=(Segment(SourceKey(1, "err"), 5, 90),)))
    assert not open_intent.allows(replace(batch, segments=(Segment(OUT, 5, 90, GAP),)))
    assert not open_intent.allows(replace(batch, segments=(Segment(OUT, 5, 90), Segment(OUT, 95, 99))))
    assert not open_intent.allows(replace(batch, segments=(Segment(OUT, 5, 90, DATA, Look(time_format="%T")),)))


def test_a_closed_intent_allows_its_own_batch_only() -> None:
    batch = Intent("/l", PLACE, (Segment(OUT, 5, 90),), at_ns=4)
    assert batch.allows(replace(batch, at_ns=7))
    assert not batch.allows(replace(batch, segments=(Segment(OUT, 5, 91),)))
    rendered = replace(batch, segments=(Segment(OUT, 5, 90, DATA, Look(time_format="%T")),))
    assert rendered.allows(rendered)
    assert not rendered.allows(replace(rendered, at_ns=7)), "unstamped bytes would be rendered to another time"


def test_the_largest_intent_stays_below_64_kib() -> None:
    many = tuple(
        Segment(SourceKey(10**9 + n, "out"), 10**12, 10**12 + 5, DATA, Look(time_format="%F")) for n in range(512)
    )
    assert len(store.encode(Intent("/l", PLACE, many))) < 64 * 1024
