from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from papa import model
from papa.core import index, output
from papa.core.output import DROP, PAUSE, READ, Bounds, Output
from papa.errors import PapaError

KB = 1024


class File:
    """The index file of an output, in memory."""

    def __init__(self) -> None:
        self.data = bytearray(index.HEADER_SIZE)

    def write(self, place: int, data: bytes) -> None:
        self.data[place : place + len(data)] = data

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])


class Kernel:
    """What the pipe room does, without pipes: a clock, an index file, and bytes that are only counted."""

    def __init__(self, bounds: Bounds, captured: tuple[str, ...] = model.STREAMS) -> None:
        self.it = Output(captured, bounds)
        self.file = File()
        self.clock_ns = 10**9

    def write_index(self, stream: str) -> bool:
        stamp = self.it.note_arrival(stream, self.clock_ns, self.clock_ns)
        if stamp is not None:
            self.file.write(*stamp)
        return stamp is not None

    def arrive(self, stream: str, size: int) -> None:
        self.write_index(stream)
        self.it.add(stream, size)

    def drop(self, size: int | None = None, stream: str = "") -> int:
        count = self.it.drop(self.file.read, size, stream)
        self.file.write(0, self.it.header())
        return count

    def ack(self, stream: str, offset: int) -> None:
        self.it.check_ack(stream, offset)
        self.it.ack(stream, offset)
        self.it.trim(self.file.read)
        self.file.write(0, self.it.header())

    def records(self) -> list[tuple[str, int]]:
        data = self.file.read(self.it.first, self.it.end - self.it.first)
        return [(r.stream, r.offset) for r in index.unpack_records(data)]


def kernel(bound: int = 256 * KB, *, overflow: str = "block", stall_s: float = 1.0) -> Kernel:
    return Kernel(Bounds(bound, overflow, stall_s))


# Index records


def test_bytes_of_one_stream_within_a_millisecond_share_a_record():
    k = kernel()
    assert k.write_index("out")
    k.it.add("out", 5)
    k.clock_ns += output.SHARE_NS - 1
    assert not k.write_index("out")
    k.it.add("out", 5)
    assert k.write_index("err")
    k.it.add("err", 5)
    k.clock_ns += 1
    assert k.write_index("out")
    assert k.records() == [("out", 0), ("err", 0), ("out", 10)]


def test_a_clock_that_steps_back_makes_a_new_record():
    k = kernel()
    k.arrive("out", 5)
    k.clock_ns -= 10
    assert k.write_index("out")


def test_a_record_that_dated_nothing_is_written_over_when_it_is_the_last():
    k = kernel()
    k.arrive("out", 5)
    for _ in range(5):
        k.clock_ns += 2 * output.SHARE_NS
        assert k.write_index("out")
    k.it.add("out", 5)
    assert k.records() == [("out", 0), ("out", 5)]
    last = index.unpack_record(k.file.data, k.it.end - index.RECORD_SIZE)
    assert last.boot_ns == k.clock_ns


def test_a_record_that_dated_nothing_stays_when_another_stream_came_behind_it():
    k = kernel()
    k.write_index("out")
    k.arrive("err", 3)
    k.clock_ns += 2 * output.SHARE_NS
    k.arrive("out", 5)
    assert k.records() == [("out", 0), ("err", 0), ("out", 0)]


def test_index_bytes_count_into_what_is_held():
    k = kernel()
    k.arrive("out", 10)
    assert k.it.held == 10 + index.RECORD_SIZE


# The bound


def fill(k: Kernel, now: float = 100.0) -> None:
    """Let output come until it must wait or be dropped; that is found out at *now*."""
    while k.it.next_step(now).kind == READ:
        k.clock_ns += 2 * output.SHARE_NS
        k.arrive("out", k.it.step_bytes)


def test_without_a_reader_the_oldest_bytes_go_in_the_order_of_their_arrival():
    k = kernel(256 * KB)
    step = k.it.step_bytes
    assert step == 32 * KB
    for stream in ("err", "out", "out", "err", "out", "out", "out", "out"):
        k.clock_ns += 2 * output.SHARE_NS
        k.arrive(stream, step)
    assert k.it.next_step(0.0).kind == DROP
    k.drop()
    # The first record and its bytes are gone, and as much of the second as makes room for a whole step.
    assert k.it.streams["err"].low == step
    assert 0 < k.it.streams["out"].low < step
    assert k.it.held == 256 * KB - step
    assert k.it.next_step(0.0).kind == READ
    assert k.records()[0] == ("out", 0)
    assert k.it.dropped == step + k.it.streams["out"].low


def test_with_a_reader_the_process_waits_for_at_most_the_stall():
    k = kernel()
    k.it.reader_is(True)
    fill(k)
    verdict = k.it.next_step(100.0)
    assert (verdict.kind, verdict.until) == (PAUSE, 101.0)
    verdict = k.it.next_step(100.9)
    assert (verdict.kind, verdict.until) == (PAUSE, 101.0)
    assert k.it.next_step(101.0).kind == DROP
    k.drop()
    fill(k, 101.0)
    # The reader counts as none now: nothing waits for it any more.
    assert k.it.next_step(101.1).kind == DROP


def test_an_acknowledgement_makes_a_silent_reader_count_again():
    k = kernel()
    k.it.reader_is(True)
    fill(k)
    k.it.next_step(100.0)
    k.it.next_step(101.0)
    k.ack("out", 1)
    fill(k, 102.0)
    assert k.it.next_step(102.0).kind == PAUSE
    assert k.it.next_step(102.0).until == 103.0


def test_who_only_repeats_an_acknowledgement_does_not_hold_a_process_up():
    k = kernel()
    k.it.reader_is(True)
    fill(k)
    k.ack("out", 1)
    fill(k)
    assert k.it.next_step(100.0).until == 101.0
    k.ack("out", 1)
    assert k.it.next_step(100.9).until == 101.0
    k.ack("out", 1)
    assert k.it.next_step(101.0).kind == DROP


def test_each_wait_has_the_whole_stall():
    k = kernel()
    k.it.reader_is(True)
    fill(k)
    assert k.it.next_step(100.0).until == 101.0
    k.ack("out", k.it.streams["out"].head)
    assert k.it.next_step(100.5).kind == READ
    fill(k, 100.75)
    assert k.it.next_step(100.9).until == 101.75


def test_an_acknowledgement_that_frees_too_little_prolongs_the_wait():
    k = kernel()
    k.it.reader_is(True)
    fill(k)
    k.it.next_step(100.0)
    k.ack("out", 1)
    fill(k, 100.75)
    assert k.it.next_step(100.9).until == 101.75


def test_another_owner_counts_as_a_reader_again():
    k = kernel()
    k.it.reader_is(True)
    fill(k)
    k.it.next_step(100.0)
    assert k.it.next_step(101.0).kind == DROP
    k.it.reader_is(True)
    assert k.it.next_step(101.0).kind == PAUSE


def test_a_reader_that_went_is_not_waited_for():
    k = kernel()
    k.it.reader_is(True)
    fill(k)
    assert k.it.next_step(100.0).kind == PAUSE
    k.it.reader_is(False)
    assert k.it.next_step(100.0).kind == DROP


def test_drop_oldest_never_slows_a_process_down():
    k = kernel(overflow="drop-oldest")
    k.it.reader_is(True)
    fill(k)
    assert k.it.next_step(100.0).kind == DROP


def test_a_stall_of_nothing_never_slows_a_process_down():
    k = kernel(stall_s=0.0)
    k.it.reader_is(True)
    fill(k)
    assert k.it.next_step(100.0).kind == DROP


def test_a_bound_of_one_byte_still_lets_output_pass():
    k = kernel(1)
    for _ in range(5):
        while k.it.next_step(0.0).kind == DROP:
            k.drop()
        k.clock_ns += 2 * output.SHARE_NS
        k.arrive("out", 100)
        assert k.it.held == 100 + index.RECORD_SIZE
    assert k.it.dropped == 400


def test_bytes_that_no_record_dates_can_be_dropped_too():
    it = Output.recover({"out": 500, "err": 500}, 0, b"", {}, Bounds(100))
    assert it.next_step(0.0).kind == DROP
    assert it.drop(lambda offset, size: b"") == 1000
    assert it.next_step(0.0).kind == READ


def test_a_damaged_index_file_does_not_keep_a_full_buffer_full():
    it = Output.recover({"out": 10}, 64 + 32 * 100, index.pack_header({}, {}, 64), {}, Bounds(100))
    assert it.held > 100
    assert it.drop(lambda offset, size: b"") == 10
    assert it.held == 0


def test_a_drop_of_a_given_size_frees_that_much_although_the_bound_is_not_reached():
    k = kernel()
    for _ in range(4):
        k.clock_ns += 2 * output.SHARE_NS
        k.arrive("out", 1000)
    held = k.it.held
    assert k.drop(1500) > 0
    assert held - k.it.held == 1500
    assert k.drop(10**9) == k.it.streams["out"].head - 1500 + index.RECORD_SIZE
    assert k.it.held == 0


# A flood is lent more


def flood(k: Kernel, spare: int = 1 << 30) -> int:
    """Fills it as far as may be while a reader is there; what is held then."""
    while k.it.next_step(0.0, spare=spare - k.it.lent).kind == READ:
        k.clock_ns += 1
        k.arrive("out", k.it.step_bytes)
    return k.it.held


def is_about(held: int, bound: int) -> bool:
    return bound <= held <= bound + output.STEP + index.RECORD_SIZE


def keeping_up(k: Kernel, times: int, spare: int = 1 << 30) -> list[int]:
    """What is held at each full moment of a flood whose reader takes a little after each."""
    k.it.reader_is(True)
    held = [flood(k, spare)]
    for _ in range(times):
        k.ack("out", k.it.streams["out"].low + 10)
        held.append(flood(k, spare))
    return held


def test_a_reader_that_keeps_up_is_lent_twice_as_much_each_time_up_to_a_bound():
    times = [held / (256 * KB) for held in keeping_up(kernel(), 5)]
    assert [round(each) for each in times] == [1, 2, 4, 8, 8, 8]
    k = kernel()
    assert all(is_about(held, 256 * KB) for held in keeping_up(k, 3, spare=0))
    assert k.it.lent < output.STEP


@pytest.mark.parametrize("overflow", ["drop-oldest", "hold"])
def test_nothing_is_lent_where_nobody_waits_for_a_while(overflow):
    k = kernel(overflow=overflow)
    assert all(is_about(held, 256 * KB) for held in keeping_up(k, 4))


def test_what_is_spared_for_all_bounds_what_is_lent():
    k = kernel()
    keeping_up(k, 6, spare=300 * KB)
    assert is_about(k.it.lent, 300 * KB)
    assert k.it.next_step(0.0, spare=0).kind == PAUSE


def test_what_is_lent_stays_when_the_reader_goes_and_nothing_more_comes_to_it():
    k = kernel()
    held = keeping_up(k, 3)[-1]
    k.it.reader_is(False)
    for _ in range(8):
        while k.it.next_step(0.0).kind == DROP:
            k.drop()
        k.arrive("out", 64 * KB)
    assert held - output.STEP <= k.it.held <= held + output.STEP
    k.ack("out", k.it.heads["out"] - 100 * KB)
    k.it.reader_is(False)
    while k.it.next_step(0.0).kind == READ:
        k.arrive("out", 64 * KB)
    assert is_about(k.it.held, 256 * KB)


def test_a_reader_that_stalls_keeps_what_is_lent():
    k = kernel()
    held = keeping_up(k, 3)[-1]
    assert k.it.next_step(0.0, spare=0).kind == PAUSE
    assert k.it.next_step(2.0, spare=0).kind == DROP
    k.drop()
    assert held - 2 * output.STEP < k.it.held <= held


def test_what_is_lent_outlives_the_kernel():
    k = kernel()
    held = keeping_up(k, 3)[-1]
    heads = {name: stream.head for name, stream in k.it.streams.items()}
    again = Output.recover(heads, k.it.end, k.it.header(), {"out": k.it.streams["out"].acked}, k.it.bounds)
    assert again.held == held
    assert again.next_step(0.0).kind == DROP
    again.drop(k.file.read)
    assert again.held > held - 2 * output.STEP


def test_each_stream_with_a_bound_of_its_own_is_lent_for_itself():
    k = Kernel(Bounds().with_streams({"out": [256 * KB, "block", 1.0], "err": [64 * KB, "block", 1.0]}))
    keeping_up(k, 4)
    assert is_about(k.it.held_of("out"), 8 * 256 * KB)
    assert k.it.lent >= 7 * 256 * KB
    while k.it.next_step(0.0, "err").kind == READ:
        k.arrive("err", k.it.step_of("err"))
    assert k.it.held_of("err") <= 64 * KB + k.it.step_of("err")


def test_an_acknowledgement_that_comes_too_late_is_a_sign_of_life_and_its_repetition_is_none():
    k = kernel()
    k.it.reader_is(True)
    fill(k, 0.0)
    assert k.it.next_step(2.0).kind == DROP
    k.drop()
    fill(k, 2.0)
    assert k.it.next_step(2.0).kind == DROP
    k.it.refuse_ack("out", 10)
    assert k.it.next_step(2.0).kind == PAUSE
    assert k.it.next_step(4.0).kind == DROP
    k.it.refuse_ack("out", 10)
    assert k.it.next_step(4.0).kind == DROP


# Acknowledging


def test_an_acknowledgement_gives_bytes_and_their_records_back():
    k = kernel()
    for _ in range(3):
        k.clock_ns += 2 * output.SHARE_NS
        k.arrive("out", 10)
    k.ack("out", 15)
    out = k.it.streams["out"]
    assert (out.low, out.acked, out.dropped) == (15, 15, 0)
    assert k.records() == [("out", 10), ("out", 20)]
    k.ack("out", 30)
    assert k.it.held == 0
    k.arrive("out", 1)
    assert k.records() == [("out", 30)]


def test_a_record_is_kept_as_long_as_an_older_one_of_the_other_stream_is_needed():
    k = kernel()
    k.arrive("err", 10)
    k.arrive("out", 10)
    k.ack("out", 10)
    assert k.records() == [("err", 0), ("out", 0)]
    k.ack("err", 10)
    assert k.records() == []


def test_an_acknowledgement_beyond_the_head_is_refused():
    k = kernel()
    k.arrive("out", 10)
    with pytest.raises(PapaError) as caught:
        k.it.check_ack("out", 11)
    assert caught.value.code == "bad-request"
    assert k.it.streams["out"].acked == 0


def test_an_acknowledgement_of_a_stream_that_is_not_captured_is_refused():
    k = Kernel(Bounds(), ("out",))
    with pytest.raises(PapaError) as caught:
        k.it.check_ack("err", 0)
    assert caught.value.code == "bad-request"


def test_an_acknowledgement_below_the_low_water_mark_was_overtaken():
    k = kernel()
    k.arrive("out", 100)
    k.drop(10**9)
    with pytest.raises(PapaError) as caught:
        k.it.check_ack("out", 99)
    assert caught.value.code == "overtaken"
    assert caught.value.details["low"] == 100
    k.it.ack("out", 100)
    assert (k.it.streams["out"].acked, k.it.streams["out"].dropped) == (100, 100)


def test_an_acknowledgement_that_passed_its_check_counts_even_if_bytes_were_dropped_since():
    k = kernel()
    k.arrive("out", 100)
    k.it.check_ack("out", 30)
    k.drop(60)
    k.it.ack("out", 30)
    out = k.it.streams["out"]
    assert (out.low, out.acked, out.dropped) == (60, 30, 60)


def test_output_is_settled_when_it_ended_and_nothing_is_held():
    k = kernel()
    k.arrive("out", 10)
    k.it.close("out")
    k.ack("out", 10)
    assert not k.it.is_settled
    k.it.close("err")
    assert k.it.is_settled
    assert Output(()).is_settled


# Holes and recovery


def test_holes_are_whole_pages_that_were_not_punched_yet():
    k = kernel()
    k.arrive("out", 10_000)
    k.ack("out", 5000)
    assert k.it.take_holes() == [("out", 0, 4096)]
    assert k.it.take_holes() == []
    k.ack("out", 8191)
    assert k.it.take_holes() == []
    k.ack("out", 8192)
    assert k.it.take_holes() == [("out", 4096, 8192)]


def test_the_page_of_the_index_header_is_never_punched():
    k = kernel()
    for _ in range(300):
        k.clock_ns += 2 * output.SHARE_NS
        k.arrive("out", 1)
    k.ack("out", 300)
    assert k.it.first == 64 + 300 * 32
    assert k.it.take_holes() == [("index", 4096, 8192)]


def test_there_is_no_hole_before_the_second_page_of_the_index_is_free():
    k = kernel()
    for _ in range(130):
        k.clock_ns += 2 * output.SHARE_NS
        k.arrive("out", 1)
    k.ack("out", 130)
    assert 4096 < k.it.first < 8192
    assert k.it.take_holes() == []


def test_a_new_kernel_goes_on_where_the_files_end():
    k = kernel()
    k.arrive("out", 10_000)
    k.clock_ns += 2 * output.SHARE_NS
    k.arrive("err", 100)
    k.drop(4096)
    k.file.data += b"torn"
    it = Output.recover(k.it.heads, len(k.file.data), k.file.read(0, 64), {"err": 100}, Bounds(), page=4096)
    assert it.heads == {"out": 10_000, "err": 100}
    assert it.streams["out"].low == k.it.streams["out"].low == k.it.streams["out"].dropped
    # The journal knows of an acknowledgement that came just before the crash, the header does not yet.
    assert (it.streams["err"].low, it.streams["err"].acked) == (100, 100)
    assert (it.first, it.end) == (k.it.first, k.it.end)
    assert it.dropped == k.it.dropped
    assert it.row()["out"] == {
        "head": 10_000, "low": it.streams["out"].low, "acked": 0, "dropped": it.dropped, "open": True,
    }  # fmt: skip


def test_recovery_trusts_no_mark_beyond_the_file():
    header = index.pack_header({"out": 50}, {"out": 50}, 64 + 32 * 9)
    it = Output.recover({"out": 10}, 64 + 32, header, {"out": 99})
    out = it.streams["out"]
    assert (out.head, out.low, out.acked) == (10, 10, 10)
    assert (it.first, it.end) == (96, 96)


def test_a_buffer_is_full_when_it_holds_its_bound():
    k = kernel(100 + index.RECORD_SIZE)
    k.arrive("out", 99)
    assert k.it.next_step(0.0).kind == READ
    k.it.add("out", 1)
    assert k.it.next_step(0.0).kind == DROP


def test_records_of_a_stream_that_nobody_knows_are_passed_over():
    foreign = (9).to_bytes(8, "little") + bytes(24)
    data = bytes(64) + foreign + index.pack_record("err", 0, 1, 1) + index.pack_record("out", 0, 1, 1)
    for forget in (lambda it: it.drop(lambda o, n: data[o : o + n], 40), lambda it: it.ack("out", 5)):
        it = Output.recover({"out": 10}, len(data), b"", {})
        forget(it)
        it.trim(lambda o, n: data[o : o + n])
        assert it.first == 64 + 2 * 32


def test_a_record_that_goes_leaves_the_other_stream_its_own():
    k = kernel()
    k.arrive("out", 10)
    k.arrive("err", 10)
    k.ack("out", 10)
    assert k.records() == [("err", 0)]
    assert not k.write_index("err")
    assert k.write_index("out")


def test_a_reader_that_keeps_up_costs_no_reading_of_the_index():
    k = kernel()
    k.arrive("out", 100)
    k.it.ack("out", 100)

    def refuse(offset: int, size: int) -> bytes:
        raise AssertionError("the index was read")

    k.it.trim(refuse)
    assert k.it.held == 0


def test_bounds_that_are_not_said_are_the_documented_ones():
    for it in (Output(("out",)), Output.recover({"out": 0}, 0, b"", {})):
        assert (it.bounds.bound, it.bounds.overflow, it.bounds.stall_s) == (2 * KB * KB, "block", 1.0)


def test_a_verdict_says_what_it_is():
    k = kernel()
    assert repr(k.it.next_step(0.0)) == "<read>"
    k.it.reader_is(True)
    fill(k)
    assert repr(k.it.next_step(100.0)) == "<pause until 101.0>"


# Bounds of each stream


def apart(**each: object) -> Kernel:
    return Kernel(Bounds().with_streams({"out": [1000, "block", 1.0], "err": [1000, "block", 1.0], **each}))


def test_a_full_stream_does_not_stop_the_other_one():
    k = apart()
    k.it.reader_is(True)
    k.arrive("out", 1000)
    assert k.it.next_step(100.0, "out").until == 101.0
    assert k.it.next_step(100.0, "err").kind == READ
    assert (k.it.held_of("out"), k.it.held_of("err")) == (1000, 0)


def test_a_full_stream_loses_its_own_oldest_bytes_only():
    k = apart()
    k.arrive("err", 900)
    k.clock_ns += 10**9
    k.arrive("out", 1200)
    assert k.it.next_step(0.0, "out").kind == DROP
    assert k.drop(stream="out") == 1200
    assert (k.it.streams["err"].low, k.it.streams["out"].low) == (0, 1200)


def test_a_stream_that_is_held_waits_with_a_reader_and_without_until_an_acknowledgement():
    k = apart(out=[1000, "hold", 1.0])
    k.arrive("out", 1500)
    for is_live in (False, True):
        k.it.reader_is(is_live)
        assert [k.it.next_step(now, "out").kind for now in (0.0, 1e9)] == [PAUSE, PAUSE]
        assert k.it.next_step(0.0, "out").until == output.FOREVER
    k.ack("out", 600)
    assert k.it.next_step(0.0, "out").kind == READ


def test_an_acknowledgement_of_one_stream_gives_no_credit_to_the_other():
    k = apart()
    k.it.reader_is(True)
    k.arrive("out", 1000)
    k.arrive("err", 10)
    assert k.it.next_step(100.0, "out").until == 101.0
    k.ack("err", 10)
    assert k.it.next_step(101.0, "out").kind == DROP


def test_bounds_are_set_anew():
    k = kernel(1000)
    k.arrive("out", 900)
    k.it.set_bounds(k.it.bounds.with_streams({"out": [500, "drop-oldest", 1.0]}))
    assert k.it.next_step(0.0, "out").kind == DROP
    assert k.it.next_step(0.0, "err").kind == READ
    assert k.it.bounds.row() == {"out": {"bound": 500, "overflow": "drop-oldest", "stall_s": 1.0}}
    k.it.set_bounds(Bounds(10_000))
    assert k.it.next_step(0.0, "out").kind == READ


def test_what_one_stream_keeps_for_long_does_not_make_the_index_of_the_other_grow_for_ever():
    bound = 256 * KB
    k = Kernel(Bounds().with_streams({"out": [bound, "block", 1.0], "err": [bound, "hold", 1.0]}))
    k.arrive("err", 1)
    for taken in range(1, 200_001):
        k.clock_ns += output.SHARE_NS
        k.arrive("out", 1)
        if taken % 100 == 0:
            k.ack("out", taken)
    assert k.it.streams["err"].low == 0, "nothing was dropped for it"
    assert bound // 4 < k.it.index_bytes < bound


class OutputMachine(RuleBasedStateMachine):
    """Anything a process, a reader, a clock and a budget can do, in any order; crashes too."""

    @initialize(
        bound=st.sampled_from([1, 100, 4096, 40_000, 300_000]),
        overflow=st.sampled_from(["block", "drop-oldest"]),
        captured=st.sampled_from([("out",), ("err",), ("out", "err")]),
        own=st.sampled_from([None, {}, {"out": [5000, "hold", 1.0], "err": [1, "drop-oldest", 0.0]}]),
    )
    def start(self, bound, overflow, captured, own):
        self.k = Kernel(Bounds(bound, overflow, 1.0).with_streams(own), captured)
        self.captured = captured
        self.now = 0.0
        self.lows = dict.fromkeys(captured, 0)
        self.acks = dict.fromkeys(captured, 0)
        self.dropped = dict.fromkeys(captured, 0)
        self.heads = dict.fromkeys(captured, 0)
        #: For each stream: when each part arrived, (offset, clock), to be found again in the index.
        self.arrived = {name: [] for name in captured}

    @rule(data=st.data(), size=st.integers(0, output.STEP), wait_ns=st.sampled_from([0, 10, 10**6, 10**9]))
    def read(self, data, size, wait_ns):
        stream = data.draw(st.sampled_from(self.captured))
        self.k.clock_ns += wait_ns
        for _ in range(5):
            verdict = self.k.it.next_step(self.now, stream)
            if verdict.kind != DROP:
                break
            self.k.drop(stream=stream)
        assert verdict.kind in (READ, PAUSE)
        if verdict.kind == PAUSE:
            assert self.now < verdict.until
            assert verdict.until <= self.now + 1.0 or verdict.until == output.FOREVER
            return
        self.k.write_index(stream)
        size = min(size, self.k.it.step_of(stream))
        if size:
            self.arrived[stream].append((self.heads[stream], self.k.clock_ns))
        self.k.it.add(stream, size)
        self.heads[stream] += size

    @rule(data=st.data())
    def acknowledge(self, data):
        stream = data.draw(st.sampled_from(self.captured))
        offset = data.draw(st.integers(0, self.heads[stream] + 1))
        it = self.k.it.streams[stream]
        low = it.low
        try:
            self.k.ack(stream, offset)
        except PapaError as error:
            assert error.code == ("bad-request" if offset > self.heads[stream] else "overtaken")
            assert offset > self.heads[stream] or offset < low
        else:
            assert low <= offset <= self.heads[stream]
            assert it.low == it.acked == offset
            self.acks[stream] = offset

    @rule(is_live=st.booleans())
    def reader(self, is_live):
        self.k.it.reader_is(is_live)

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds):
        self.now += seconds

    @rule(size=st.integers(0, 200_000))
    def budget(self, size):
        held = self.k.it.held
        self.k.drop(size)
        assert self.k.it.held <= max(0, held - size)

    @rule()
    def crash(self):
        it = self.k.it
        self.k.it = Output.recover(it.heads, len(self.k.file.data), self.k.file.read(0, 64), self.acks, it.bounds)

    @precondition(lambda self: hasattr(self, "k"))
    @invariant()
    def the_rules_hold(self):
        it = self.k.it
        each = it.bounds.by_stream or {}
        for name in it.streams:
            room = index.RECORD_SIZE if it.bounds.by_stream is None else 0
            assert it.held_of(name) <= each.get(name, it.bounds).bound + it.step_of(name) + room
        assert it.held == it.end - it.first + sum(s.head - s.low for s in it.streams.values())
        for name, stream in it.streams.items():
            assert stream.head == self.heads[name]
            assert self.lows[name] <= stream.low <= stream.head
            assert self.acks[name] == stream.acked <= stream.low
            # What an acknowledgement did not give back was dropped, byte for byte.
            moved = stream.low - self.lows[name]
            dropped = stream.dropped - self.dropped[name]
            assert 0 <= dropped <= moved
            assert dropped == moved or stream.low == stream.acked
            self.lows[name], self.dropped[name] = stream.low, stream.dropped

    @precondition(lambda self: hasattr(self, "k"))
    @invariant()
    def every_byte_that_is_held_is_dated_to_a_millisecond(self):
        it = self.k.it
        data = self.k.file.read(it.first, it.end - it.first)
        for name, stream in it.streams.items():
            stamps = index.stamps_between(data, name, stream.head, stream.low, stream.head)
            assert bool(stamps) == (stream.low < stream.head)
            for (start, when), (end, _) in itertools.pairwise([*self.arrived[name], (stream.head, 0)]):
                if end <= stream.low:
                    continue
                byte = max(start, stream.low)
                wall = [w for offset, w, _ in stamps if offset <= byte][-1]
                assert 0 <= when - wall < output.SHARE_NS


TestOutputMachine = OutputMachine.TestCase
TestOutputMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(model.STREAMS), st.integers(1, 3000)), max_size=80), st.integers(0, 90_000))
def test_what_is_dropped_is_a_prefix_of_what_arrived(chunks, size):
    k = kernel()
    arrived: list[tuple[str, int]] = []
    for stream, length in chunks:
        k.clock_ns += 2 * output.SHARE_NS
        k.arrive(stream, length)
        arrived.append((stream, length))
    k.drop(size)
    lows = {name: k.it.streams[name].low for name in model.STREAMS}
    is_cut = False
    for stream, length in arrived:
        taken = min(length, lows[stream])
        lows[stream] -= taken
        if is_cut:
            assert taken == 0
        is_cut = is_cut or taken < length
