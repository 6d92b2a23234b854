from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papa import model
from papa.errors import PapaError
from papa.model import ProcessSpec, SocketSpec

MINIMAL = {"name": "web", "argv": ["prog"]}
FULL = {
    "name": "web", "argv": ["prog", "", "a b"], "executable": "/bin/prog", "env": {"A": "1", "B": ""}, "cwd": "/srv",
    "uid": 5, "gid": 6, "groups": [7, 8], "umask": 0o22, "rlimits": {"nofile": [10, None], "core": [0, -1]},
    "stdin": {"socket": "in"}, "stdout": "null", "stderr": "stdout", "sockets": ["a", "b", "a"], "bound": 4096,
    "overflow": "drop-oldest", "stall_s": 2, "meta": {"k": [1]}, "owner": "me", "supersede": True, "fds": True,
    "nice": 5, "oom_score_adj": -3, "listen_fds": True,
}  # fmt: skip


def refusal(parse, data: object) -> PapaError:
    with pytest.raises(PapaError) as caught:
        parse(data)
    return caught.value


# Names and small things


@pytest.mark.parametrize("name", ["web", "circus.web.1", "a/b", "é", "*x", "a*b", "x" * 255, "$(x)"])
def test_names_that_may_be(name):
    assert model.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a b", "a:b", "a\n", "a*", "*", "\x00", "\udcff", "x" * 256, "é" * 128, "\u00a0", 3, None]
)
def test_names_that_may_not_be(name):
    assert refusal(model.check_name, name).code == "bad-request"


def test_a_value_is_text_or_nothing_within_its_bound():
    assert model.check_value(None) is None
    assert model.check_value("x" * model.MAX_VALUE) == "x" * model.MAX_VALUE
    assert refusal(model.check_value, "x" * (model.MAX_VALUE + 1)).code == "limit"
    assert refusal(model.check_value, "é" * model.MAX_VALUE).code == "limit"
    assert refusal(model.check_value, 3).code == "bad-request"


def test_meta_is_an_object_within_its_bound():
    assert model.check_meta(None) == {}
    overhead = len('{"k":""}')
    good = {"k": "x" * (model.MAX_META - overhead)}
    assert model.check_meta(good) == good
    assert "more than" in refusal(model.check_meta, {"k": "x" * (model.MAX_META - overhead + 1)}).message
    assert refusal(model.check_meta, [1]).code == "bad-request"


def test_meta_is_shallow():
    good: list = []
    for _ in range(model.MAX_META_DEPTH - 2):
        good = [good, {"k": 1}]
    model.check_meta({"k": good})
    assert "nested" in refusal(model.check_meta, {"k": [good]}).message
    assert "nested" in refusal(model.check_meta, {"k": {"k": good}}).message


def test_a_stream_is_out_or_err():
    assert [model.check_stream(s) for s in ("out", "err")] == ["out", "err"]
    assert refusal(model.check_stream, "in").code == "bad-request"


@pytest.mark.parametrize("id", [0, -1, 2**32, True, "1", 1.0, None])
def test_ids_that_may_not_be(id):
    assert refusal(model.check_id, id).code == "bad-request"


# Processes


def test_what_is_not_said_has_its_default():
    spec = ProcessSpec.parse(MINIMAL)
    assert spec.argv == ("prog",)
    assert (spec.executable, spec.cwd, spec.uid, spec.gid, spec.groups, spec.umask) == (None,) * 6
    assert (spec.env, spec.rlimits, spec.meta, spec.sockets, spec.stdin) == ({}, {}, {}, (), None)
    assert (spec.stdout, spec.stderr, spec.captured) == ("capture", "capture", ("out", "err"))
    assert (spec.bound, spec.overflow, spec.stall_s) == (2 * 1024 * 1024, "block", 1.0)
    assert (spec.nice, spec.oom_score_adj, spec.listen_fds) == (None, None, False)


def test_everything_that_can_be_said_is_taken():
    spec = ProcessSpec.parse(FULL)
    assert spec.argv == ("prog", "", "a b")
    assert (spec.executable, spec.cwd, spec.uid, spec.gid, spec.umask) == ("/bin/prog", "/srv", 5, 6, 0o22)
    assert (spec.groups, spec.sockets, spec.stdin) == ((7, 8), ("a", "b"), "in")
    assert spec.rlimits == {"nofile": (10, None), "core": (0, -1)}
    assert (spec.stdout, spec.stderr, spec.captured) == ("null", "stdout", ())
    assert (spec.bound, spec.overflow, spec.stall_s, spec.meta) == (4096, "drop-oldest", 2.0, {"k": [1]})
    assert (spec.nice, spec.oom_score_adj, spec.listen_fds) == (5, -3, True)


def test_null_means_not_said():
    nothing = dict.fromkeys(FULL)
    assert ProcessSpec.parse({**nothing, **MINIMAL}).to_json() == ProcessSpec.parse(MINIMAL).to_json()


@pytest.mark.parametrize("data", [MINIMAL, FULL])
def test_a_specification_is_read_back_from_its_json(data):
    spec = ProcessSpec.parse(data)
    again = ProcessSpec.parse(json.loads(json.dumps(spec.to_json())))
    assert again.to_json() == spec.to_json()
    assert again.digest(b"k") == spec.digest(b"k")


def test_a_record_can_leave_the_environment_out():
    assert "env" not in ProcessSpec.parse(FULL).to_json(with_env=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a b"), ("name", None), ("argv", None), ("argv", []), ("argv", "prog"), ("argv", [""]),
        ("argv", ["a", 3]), ("argv", ["a\0"]), ("argv", ["x" * (128 * 1024 + 1)]), ("argv", ["\ud800"]),
        ("executable", ""), ("executable", 3), ("env", []), ("env", {"": "x"}), ("env", {"a=b": "x"}),
        ("env", {"a": 3}), ("env", {"a": "\0"}), ("cwd", "srv"), ("cwd", ""), ("cwd", "/" + "x" * 4096),
        ("uid", -1), ("uid", "root"), ("uid", True), ("uid", 2**32), ("gid", 1.5), ("groups", 5),
        ("groups", ["x"]), ("groups", [0] * 1025), ("umask", 0o1000), ("umask", "022"), ("rlimits", [1]),
        ("rlimits", {"files": [1, 1]}), ("rlimits", {"nofile": 5}), ("rlimits", {"nofile": [1]}),
        ("rlimits", {"nofile": [None, 1]}), ("rlimits", {"nofile": [-2, None]}),
        ("rlimits", {"nofile": [1, 2**64]}), ("stdin", "inherit"), ("stdin", {"socket": "a b"}),
        ("stdin", {"socket": "a", "more": 1}), ("stdout", "stdout"), ("stdout", True), ("stdout", ["capture"]),
        ("stderr", "out"), ("sockets", "a"), ("sockets", ["a b"]), ("sockets", [str(n) for n in range(65)]),
        ("bound", 0), ("bound", 2**30 + 1), ("bound", "1m"), ("overflow", "drop"), ("stall_s", -1),
        ("stall_s", "1"), ("stall_s", 3601), ("stall_s", float("nan")), ("stall_s", True), ("meta", []),
        ("rlimits", []), ("env", ""), ("sockets", {}), ("overflow", ""), ("bound", False),
        ("meta", {"k": "x" * 4096}), ("owner", "a b"), ("supersede", 1), ("fds", "yes"), ("colour", "red"),
        ("nice", 20), ("nice", -21), ("nice", "5"), ("oom_score_adj", 1001), ("oom_score_adj", -1001),
        ("listen_fds", 1),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field, value):
    error = refusal(ProcessSpec.parse, {**MINIMAL, field: value})
    assert error.code == "bad-request"
    assert field in error.message


def test_arguments_and_environment_together_have_a_bound():
    half = {f"v{n}": "x" * 100_000 for n in range(11)}
    ProcessSpec.parse({**MINIMAL, "env": half})
    error = refusal(ProcessSpec.parse, {**MINIMAL, "env": half, "argv": ["x" * 100_000] * 10})
    assert "argv and env" in error.message


def test_arguments_that_would_not_fit_a_row_are_refused():
    assert "as JSON" in refusal(ProcessSpec.parse, {**MINIMAL, "argv": ["é" * 60_000] * 9}).message


@pytest.mark.parametrize("field", sorted(set(FULL) - {"owner", "supersede", "fds", "meta"}))
def test_each_field_makes_another_digest(field):
    changed = {"name": "other", "argv": ["prog"], "executable": "/x", "env": {}, "cwd": "/", "uid": 1, "gid": 1,
               "groups": [], "umask": 0, "rlimits": {}, "stdin": "null", "stdout": "capture", "stderr": "null",
               "sockets": [], "bound": 5, "overflow": "block", "stall_s": 1,
               "nice": 0, "oom_score_adj": 0, "listen_fds": False}  # fmt: skip
    spec, other = ProcessSpec.parse(FULL), ProcessSpec.parse({**FULL, field: changed[field]})
    assert spec.digest(b"k") != other.digest(b"k")


def test_what_a_client_remembers_and_the_order_of_variables_make_no_other_digest():
    spec = ProcessSpec.parse(FULL)
    other = ProcessSpec.parse({**FULL, "meta": {}, "env": {"B": "", "A": "1"}, "owner": "you", "supersede": False})
    assert spec.digest(b"k") == other.digest(b"k")


def test_a_process_that_an_older_kernel_started_is_known_by_its_digest():
    assert ProcessSpec.parse(MINIMAL).digest(b"k") == "e3d98e4e9d928d752083aa28cdd3e505"


def test_a_digest_needs_its_key():
    spec = ProcessSpec.parse(FULL)
    assert spec.digest(b"k") != spec.digest(b"l")
    assert len(spec.digest(b"k")) == 32


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(FULL)), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=4,
)))  # fmt: skip
def test_any_json_is_a_specification_or_a_bad_request(changes):
    try:
        spec = ProcessSpec.parse({**MINIMAL, **changes})
    except PapaError as error:
        assert error.code == "bad-request"
    else:
        assert ProcessSpec.parse(spec.to_json()).digest(b"") == spec.digest(b"")


# Sockets


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, ("inet", "stream", "127.0.0.1", 0, None)),
        ({"family": "inet6", "port": 80}, ("inet6", "stream", "::1", 80, None)),
        ({"interface": "lo"}, ("inet", "stream", "0.0.0.0", 0, None)),
        ({"interface": "lo", "family": "inet6"}, ("inet6", "stream", "::", 0, None)),
        ({"host": "10.0.0.1", "type": "dgram"}, ("inet", "dgram", "10.0.0.1", 0, None)),
        ({"path": "/run/x", "type": "seqpacket"}, ("unix", "seqpacket", None, None, "/run/x")),
        ({"family": "unix", "path": "/run/x", "umask": 0o22}, ("unix", "stream", None, None, "/run/x")),
    ],
)
def test_a_socket_knows_its_kind_and_address(data, expected):
    spec = SocketSpec.parse({"name": "s", **data})
    assert (spec.family, spec.type, spec.host, spec.port, spec.path) == expected
    assert spec.backlog == 128
    assert SocketSpec.parse(json.loads(json.dumps(spec.to_json()))).to_json() == spec.to_json()


@pytest.mark.parametrize(
    ("field", "data"),
    [
        ("name", {"name": "a b"}), ("family", {"family": "ipx"}), ("type", {"type": "raw"}),
        ("type", {"type": "seqpacket"}), ("host", {"host": 3}), ("host", {"path": "/x", "host": "h"}),
        ("port", {"port": 65536}), ("port", {"port": "80"}), ("port", {"path": "/x", "port": 80}),
        ("path", {"family": "unix"}), ("path", {"path": "x"}), ("path", {"path": "/x/"}),
        ("path", {"path": "/x\\"}), ("path", {"family": "inet", "path": "/x"}), ("umask", {"umask": 0o22}),
        ("umask", {"path": "/x", "umask": 512}), ("uid", {"uid": 0}), ("gid", {"gid": 5}),
        ("uid", {"path": "/x", "uid": "www"}), ("gid", {"path": "/x", "gid": -1}),
        ("backlog", {"backlog": -1}), ("backlog", {"backlog": 65536}),
        ("interface", {"interface": "x" * 16}), ("interface", {"path": "/x", "interface": "lo"}),
        ("reuseport", {"reuseport": 1}), ("reuseport", {"path": "/x", "reuseport": True}),
        ("replace", {"replace": True}), ("replace", {"replace": "yes"}), ("blocking", {"blocking": 1}),
        ("meta", {"meta": 3}), ("colour", {"colour": "red"}),
    ],
)  # fmt: skip
def test_a_wrong_field_of_a_socket_is_named(field, data):
    error = refusal(SocketSpec.parse, {"name": "s", **data})
    assert error.code == "bad-request"
    assert field in error.message


def test_asking_for_the_same_socket_is_met_by_it():
    base = {"name": "s", "host": "::1", "family": "inet6", "port": 80}
    asked = SocketSpec.parse(base)
    assert asked.is_met_by(SocketSpec.parse({**base, "meta": {"a": 1}}))
    assert SocketSpec.parse({**base, "port": 0}).is_met_by(asked)
    for field, value in (("port", 81), ("host", "::"), ("backlog", 9), ("type", "dgram"), ("reuseport", True),
                         ("blocking", True), ("interface", "lo"), ("name", "t")):  # fmt: skip
        assert not asked.is_met_by(SocketSpec.parse({**base, field: value}))


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 10**5000], ids=["inf", "nan", "long"])
def test_meta_has_no_number_that_json_cannot_say(number):
    assert "cannot say" in refusal(model.check_meta, {"k": [number]}).message
