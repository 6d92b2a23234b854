from __future__ import annotations

import os
import random
import resource
import signal
import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.house import own_uid

from papa import fdpass
from papa.errors import PapaError
from papa.kernel import vault as vaults
from papa.kernel.vault import NoVault, Vault


def open_fds():
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def pair():
    before = open_fds()
    rx, tx = vaults.open_pair()
    yield rx, tx
    rx.close()
    tx.close()
    left = len(open_fds()) - len(before)
    assert left <= 0, f"{left} descriptors were left open"


@pytest.fixture
def files():
    """Makes memory files whose inode tells them apart; all are closed after the test."""
    made = []

    def make(count=1):
        fds = [os.memfd_create(f"file{len(made) + i}") for i in range(count)]
        made.extend(fds)
        return fds

    yield make
    fdpass.close_all(made)


def inodes(fds):
    return [os.fstat(fd).st_ino for fd in fds]


def contents(vault):
    """What the vault holds by inode, as a new kernel would read it."""
    found = vault.load()
    seen = {key: inodes(fds) for key, fds in found.items()}
    for fds in found.values():
        assert not any(os.get_inheritable(fd) for fd in fds)
        fdpass.close_all(fds)
    return seen


def test_what_was_pushed_is_loaded_by_another_kernel_as_often_as_one_likes(pair, files):
    vault = Vault(*pair)
    out, pid, listener = files(2), files(1), files(1)
    assert vault.push("o1", out) and vault.push("p1", pid) and vault.push("s2", listener)
    expected = {"o1": inodes(out), "p1": inodes(pid), "s2": inodes(listener)}
    for _ in range(3):
        successor = Vault(*pair)
        assert contents(successor) == expected
        assert (successor.live, successor.dead) == (3, 0)


def test_an_empty_vault_loads_nothing(pair):
    vault = Vault(*pair)
    assert vault.load() == {}
    assert (vault.live, vault.dead, vault.refused) == (0, 0, 0)


def test_what_was_pushed_stays_open_when_the_pusher_closes_it(pair):
    vault = Vault(*pair)
    reader, writer = os.pipe()
    vault.push("o1", [reader])
    os.close(reader)
    os.write(writer, b"not lost")
    [fd] = Vault(*pair).load()["o1"]
    assert os.read(fd, 100) == b"not lost"
    os.close(fd)
    os.close(writer)


def test_the_last_push_of_a_key_wins(pair, files):
    vault = Vault(*pair)
    old, new = files(2), files(1)
    vault.push("o1", old)
    vault.push("o2", old)
    vault.push("o1", new)
    assert (vault.live, vault.dead) == (2, 1)
    assert contents(Vault(*pair))["o1"] == inodes(new)
    assert vault.drop("o2", at_once=True)
    assert contents(Vault(*pair)) == {"o1": inodes(new)}


def test_a_key_dropped_at_once_is_closed_in_the_vault(pair, files):
    vault = Vault(*pair)
    for number in range(300):
        vault.push(f"p{number}", files(1))
    reader, writer = os.pipe()
    vault.push("o300", [reader])
    vault.push("p301", files(1))
    assert vault.drop("o300", at_once=True)
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")
    os.close(writer)
    assert vault.live == 301
    assert len(contents(Vault(*pair))) == 301


def test_a_listener_always_goes_at_once_and_frees_its_port(pair, files):
    vault = Vault(*pair)
    vault.push("p1", files(1))
    vault.push("p3", files(1))
    with socket.create_server(("127.0.0.1", 0)) as first:
        address = first.getsockname()
        vault.push("s2", [first.fileno()])
        assert vault.drop("s2")
    socket.create_server(address).close()


def test_the_dead_go_when_they_outnumber_the_living(pair, files):
    vault = Vault(*pair)
    for number in range(10):
        vault.push(f"p{number}", files(1))
    for number in range(5):
        assert not vault.drop(f"p{number}")
    assert (vault.live, vault.dead) == (5, 5)
    vault.drop("p5")
    assert (vault.live, vault.dead) == (4, 0)
    assert sorted(contents(Vault(*pair))) == ["p6", "p7", "p8", "p9"]


def test_dropping_everything_leaves_an_empty_queue(pair, files):
    vault = Vault(*pair)
    for number in range(200):
        vault.push(f"p{number}", files(1))
    for number in range(200):
        vault.drop(f"p{number}")
    assert (vault.live, vault.dead) == (0, 0)
    assert Vault(*pair).load() == {}


def test_an_unknown_key_may_be_dropped(pair, files):
    vault = Vault(*pair)
    assert vault.drop("o7") and vault.drop("s7", at_once=True)
    vault.push("p1", files(1))
    assert vault.drop("o7", at_once=True)
    assert vault.live == 1


def test_a_successor_knows_dropped_keys_again_until_it_drops_them_too(pair, files):
    vault = Vault(*pair)
    for number in range(4):
        vault.push(f"p{number}", files(1))
    vault.drop("p0")
    successor = Vault(*pair)
    assert "p0" in contents(successor)
    successor.drop("p0", at_once=True)
    assert "p0" not in contents(Vault(*pair))


@pytest.mark.parametrize("key", ["", "o 1", "o:1", "o\u00e91", "o" + "1" * 40])
def test_a_key_that_could_not_be_read_back_is_refused(pair, files, key):
    vault = Vault(*pair)
    assert not vault.push(key, files(1))
    assert vault.refused == 1
    assert Vault(*pair).load() == {}


def test_more_descriptors_than_a_message_takes_are_refused_and_counted(pair, files):
    vault = Vault(*pair)
    fds = files(1) * 254
    assert vault.push("s1", fds[:253])
    assert not vault.push("s2", fds)
    assert not vault.push("s3", [])
    assert vault.refused == 2
    assert vault.live == 1


def test_a_bad_descriptor_is_refused_and_not_raised(pair, files):
    vault = Vault(*pair)
    [fd] = files(1)
    closed = os.dup(fd)
    os.close(closed)
    assert not vault.push("o1", [closed])
    assert vault.refused == 1


@pytest.mark.parametrize("message", [b"o1:3", b"2 o9:1", b"\xff\0", b"o1:" + b"9" * 5000])
def test_a_message_that_cannot_be_understood_stays_with_what_it_carries(pair, files, message):
    rx, tx = pair
    vault = Vault(rx, tx)
    vault.push("p1", files(1))
    foreign = files(1)
    fdpass.send_with_fds(tx, message, foreign)
    vault.push("p2", files(1))
    before = open_fds()
    again = Vault(rx, tx)
    found = again.load()
    assert (sorted(found), again.foreign) == (["p1", "p2"], 1)
    for fds in found.values():
        fdpass.close_all(fds)
    assert open_fds() == before
    # What else happens turns nothing out.
    for number in range(200):
        assert again.push(f"o{number}", files(1))
        again.drop(f"o{number}", at_once=True)
    assert not again.drop("p1")
    later = Vault(rx, tx)
    for fds in later.load().values():
        fdpass.close_all(fds)
    assert later.foreign == 1
    rx.setsockopt(socket.SOL_SOCKET, vaults._SO_PEEK_OFF, 0)
    rx.recv(100)
    data, fds, _ = fdpass.recv_with_fds(rx, len(message), 4)
    assert data == message and os.path.samestat(os.fstat(fds[0]), os.fstat(foreign[0]))
    fdpass.close_all(fds)


def test_a_message_that_is_too_long_is_not_understood_though_its_start_makes_sense(pair):
    rx, tx = pair
    tx.send(b"a1:0 " * (vaults.MAX_MESSAGE_BYTES // 5 + 10))
    assert vaults._parse((b"a1:0 " * vaults.MAX_MESSAGE_BYTES)[: vaults.MAX_MESSAGE_BYTES], []) is not None
    vault = Vault(rx, tx)
    assert vault.load() == {} and vault.foreign


def test_a_load_without_room_for_all_descriptors_fails_and_leaves_nothing_open(pair, files):
    vault = Vault(*pair)
    for number in range(20):
        vault.push(f"o{number}", files(2))
    before = open_fds()
    free = [number for number in range(1000) if str(number) not in before]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[25], hard))
    try:
        with pytest.raises(PapaError):
            Vault(*pair).load()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_fds() == before
    assert len(contents(Vault(*pair))) == 20


def test_a_pass_of_rotation_leaves_the_limit_of_descriptors_as_it_was(pair, files):
    vault = Vault(*pair)
    vault.push("p1", files(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
    try:
        vault.drop("p1", at_once=True)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (500, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def without_privileges(work, *, nofile=1024):
    """Runs ``work`` in a child with the limits of an ordinary user and returns what it returned."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    uid = own_uid()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.closerange(3, writer)
            resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(uid, uid, uid)
            os.write(writer, repr(work()).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:
        text = stream.read().decode()
    os.waitpid(pid, 0)
    return eval(text)


def test_without_privileges_the_limit_of_descriptors_in_flight_is_met_without_harm():
    def work():
        rx, tx = vaults.open_pair()
        vault = Vault(rx, tx)
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - vaults.RESERVE_FDS
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft + vaults.RESERVE_FDS))
        fd = os.memfd_create("x")
        pushed = [vault.push(f"o{number}", [fd, fd, fd]) for number in range(400)]
        covered = pushed.index(False)
        # A dead entry makes room again, wherever it lies.
        for number in range(100, 100 + 50):
            vault.drop(f"o{number}", at_once=True)
        again = [vault.push(f"o{number}", [fd, fd, fd]) for number in range(1000, 1040)]
        return covered, vault.refused, all(again), vault.live, vault.dead

    covered, refused, again, live, dead = without_privileges(work)
    assert 150 < covered < 341, "about a third of the descriptors that are left to a user"
    assert refused == 400 - covered
    assert again
    assert (live, dead) == (covered - 10, 0)


def test_room_that_the_dead_of_a_single_message_have_is_given_to_others():
    def work():
        rx, tx = vaults.open_pair()
        vault = Vault(rx, tx)
        fd = os.memfd_create("x")
        for number in range(100):
            vault.push(f"p{number}", [fd])
        sum(vault.pack())
        # As much as the living of that message take to be sent again, while it is there.
        soft, hard = 120, 220
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        while vault.push(f"p{vault.live}", [fd]):
            pass
        messages = vault._messages
        vault.drop(*(f"p{number}" for number in range(40)))
        return messages, [vault.push(f"o{number}", [fd]) for number in range(40)].count(True)

    messages, again = without_privileges(work)
    assert messages == 1
    assert again == 40


def test_a_full_send_buffer_is_packed_before_anything_is_refused():
    def work():
        rx, tx = vaults.open_pair()
        asked = vaults.SEND_BUFFER_BYTES
        vaults.SEND_BUFFER_BYTES = 212_992
        vault = Vault(rx, tx)
        vaults.SEND_BUFFER_BYTES = asked
        fd = os.memfd_create("x")
        pushed = sum(vault.push(f"p{number}", [fd]) for number in range(3000))
        found = vault.load()
        return pushed, vault.refused, len(found)

    pushed, refused, found = without_privileges(work, nofile=8192)
    assert (pushed, refused, found) == (3000, 0, 3000), "one message each would end near 500"


def test_a_full_vault_can_still_turn_out_its_dead(monkeypatch):
    def work():
        rx, tx = vaults.open_pair()
        vaults.SEND_BUFFER_BYTES = 128 << 10
        vault = Vault(rx, tx)
        monkeypatch.setattr(Vault, "_make_room", lambda self: False)
        fd = os.memfd_create("x")
        count = 0
        while vault.push(f"p{count}", [fd]):
            count += 1
        gone = [vault.drop(f"p{number}", at_once=True) for number in range(count - 5, count)]
        return count, gone, vault.live, len(vault.load())

    count, gone, live, found = without_privileges(work, nofile=8192)
    assert gone == [True] * 5
    assert live == found == count - 5


def test_a_killed_kernel_leaves_a_vault_that_loads_whatever_it_was_doing(pair, files):
    rx, tx = pair
    vault = Vault(rx, tx)
    kept = {f"k{number}": files(2) for number in range(20)}
    for key, fds in kept.items():
        vault.push(key, fds)
    churn = {f"c{number}": files(1) for number in range(30)}
    expected = {key: inodes(fds) for key, fds in {**kept, **churn}.items()}
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    for round_ in range(50):
        pid = os.fork()
        if pid == 0:
            try:
                child = Vault(rx, tx)
                for fds in child.load().values():
                    fdpass.close_all(fds)
                while True:
                    for key, fds in churn.items():
                        child.push(key, fds)
                    for key in churn:
                        child.drop(key, at_once=chance.random() < 0.2)
            finally:
                os._exit(1)
        time.sleep(chance.uniform(0.0005, 0.008))
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        found = contents(Vault(rx, tx))
        assert set(found) >= set(kept), f"seed {seed} round {round_}"
        assert all(found[key] == expected[key] for key in found), f"seed {seed} round {round_}"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["push", "drop", "drop at once", "kill"]), st.integers(0, 12), st.integers(1, 90)),
        max_size=60,
    )
)
def test_the_vault_holds_what_a_dictionary_would(steps):
    rx, tx = vaults.open_pair()
    fds = [os.memfd_create(str(number)) for number in range(13)]
    try:
        vault = Vault(rx, tx)
        model: dict[str, tuple[int, int]] = {}
        dropped: set[str] = set()
        for verb, number, count in steps:
            key = f"o{number}"
            if verb == "push":
                assert vault.push(key, [fds[number]] * count)
                model[key] = (number, count)
                dropped.discard(key)
            elif verb == "kill":
                vault = Vault(rx, tx)
                for key in set(contents(vault)) - set(model):
                    assert key in dropped
                    vault.drop(key)
            else:
                gone = vault.drop(key, at_once=verb == "drop at once")
                model.pop(key, None)
                dropped.add(key)
                assert gone or verb == "drop"
            assert vault.live == len(model)
            assert vault.dead <= 2 * vault.live + len(fds)
        found = contents(Vault(rx, tx))
        assert set(model) <= set(found)
        for key, (number, count) in model.items():
            assert found[key] == inodes([fds[number]] * count)
    finally:
        fdpass.close_all(fds)
        rx.close()
        tx.close()


def test_the_vault_of_a_platform_without_one_covers_nothing():
    vault = NoVault()
    assert not vault.push("o1", [0])
    assert vault.drop("o1", at_once=True)
    assert vault.load() == {}
    assert (vault.live, vault.dead, vault.refused) == (0, 0, 0)


def test_many_listeners_go_in_one_turn_of_the_queue(pair, files, monkeypatch):
    vault = Vault(*pair)
    one = files(1)
    for number in range(60):
        assert vault.push(f"o{number}", one * 20) and vault.push(f"s{number}", one)
    messages, taken, rotate = vault._messages, [], Vault._rotate
    monkeypatch.setattr(Vault, "_rotate", lambda self, *most: taken.append(rotate(self, *most)) or taken[-1])
    assert vault.drop(*(f"s{number}" for number in range(60)))
    assert messages <= sum(taken) <= 2 * messages
    assert set(contents(vault)) == {f"o{number}" for number in range(60)}


def test_a_loose_vault_is_packed_in_passes_of_many_messages(pair, files):
    vault = Vault(*pair)
    (file,) = files()
    pushed = {f"{kind}{number}": [file] * count for kind, count in (("o", 2), ("p", 1)) for number in range(100)}
    for key, fds in pushed.items():
        assert vault.push(key, fds)
    assert vault.is_loose
    passes = sum(1 for _ in vault.pack())
    assert not vault.is_loose
    assert passes == -(-len(pushed) // vaults.MESSAGES_A_PASS)
    assert {key: len(fds) for key, fds in contents(vault).items()} == {key: len(fds) for key, fds in pushed.items()}
    # What is packed well is as well packed afterwards.
    assert sum(1 for _ in vault.pack()) <= passes
    assert contents(vault).keys() == pushed.keys()
