from __future__ import annotations

import hashlib

import pytest

from circus.control import tokens
from circus.control.caller import OPERATOR_VERBS, OWNER, Caller
from circus.control.tokens import Book, Token, Wish
from circus.errors import CircusError

NOW = 1_000_000.0


def make(
    book: Book, caller: Caller = OWNER, *, seed: int = 1, now: float = NOW, **wish: object
) -> tuple[Book, Token, str]:
    wished = Wish(**{"name": "deploy", "role": "operator", **wish})  # type: ignore[arg-type]
    return book.make(wished, caller, now=now, id=bytes([seed] * 6), secret=bytes([seed] * 32))


def refusal(book: Book, caller: Caller = OWNER, **wish: object) -> str:
    with pytest.raises(CircusError) as caught:
        make(book, caller, seed=9, **wish)
    assert caught.value.hint
    return caught.value.code


def test_a_token_is_proven_by_its_text_and_the_book_has_only_its_digest() -> None:
    book, token, text = make(Book())
    assert text == f"ct_{'01' * 6}_{'01' * 32}"
    assert book.proven(text, NOW) is token
    assert token.sha256 == hashlib.sha256(bytes([1] * 32)).hexdigest()
    assert text.rpartition("_")[2].encode() not in book.to_bytes()
    assert token.caller("10.0.0.7") == Caller("token deploy", "10.0.0.7", OPERATOR_VERBS, ("*",), "01" * 6)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ct_",
        f"ct_{'01' * 6}_{'02' * 32}",
        f"ct_{'02' * 6}_{'01' * 32}",
        f"ct_{'01' * 6}_{'01' * 31}",
        f"CT_{'01' * 6}_{'01' * 32}",
        f"ct_{'01' * 6}_{'01' * 32} ",
        f"ct_{'02' * 6}_",
        f"ct_{'00' * 6}_{'00' * 32}",
    ],
)
def test_no_other_text_proves_anything(text: str) -> None:
    assert make(Book())[0].proven(text, NOW) is None


def test_a_token_counts_until_it_expires() -> None:
    book, token, text = make(Book(), expires_in=60.0)
    assert book.proven(text, NOW + 59.9) is token
    assert book.proven(text, NOW + 60) is None
    assert token.has_expired(NOW + 60)
    assert not make(Book())[1].has_expired(NOW * 100)


def test_a_token_has_some_verbs_of_its_role_for_some_watchers() -> None:
    token = make(Book(), verbs=["restart", "see"], watchers=["web*", "db"])[1]
    assert token.allowed() == {"restart", "see"}
    caller = token.caller("x")
    assert [name for name in ("web", "Web-2", "db", "dba", "mail") if caller.sees(name)] == ["web", "Web-2", "db"]


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"name": ""}, "bad-request"),
        ({"name": "a b"}, "bad-request"),
        ({"name": "-a"}, "bad-request"),
        ({"name": "a" * 65}, "bad-request"),
        ({"role": "root"}, "bad-request"),
        ({"verbs": ["set"]}, "bad-request"),
        ({"verbs": []}, "bad-request"),
        ({"verbs": ["nonsense"]}, "bad-request"),
        ({"watchers": []}, "bad-request"),
        ({"watchers": [""]}, "bad-request"),
        ({"watchers": ["x"] * 3 + [f"w{n}" for n in range(101)]}, "bad-request"),
        ({"name": "taken"}, "conflict"),
    ],
)
def test_what_is_no_token_is_refused(wish: dict[str, object], code: str) -> None:
    assert refusal(make(Book(), name="taken")[0], **wish) == code


def test_no_token_makes_one_that_may_more() -> None:
    book, token, _ = make(Book(), role="admin", name="few", verbs=["see", "tokens"])
    few = token.caller("x")
    assert refusal(book, few, role="operator") == "forbidden"
    assert refusal(book, few, role="admin") == "forbidden"
    assert refusal(book, few, role="viewer") == "forbidden"  # logs and metrics are more, too
    assert make(book, few, seed=2, role="viewer", verbs=["see"])[1].allowed() == {"see"}
    assert make(book, few, seed=2, role="admin", verbs=["tokens"])[1].by == "token few"


def test_a_token_that_counts_no_more_makes_none() -> None:
    book, token, _ = make(Book(), role="admin", name="leaked", expires_in=100.0)
    assert refusal(book.without("leaked")[0], token.caller("x"), name="b", expires_in=1.0) == "unauthorized"
    with pytest.raises(CircusError, match="counts no more"):
        make(book, token.caller("x"), now=NOW + 100, name="b", expires_in=1.0)


def test_no_token_makes_one_that_counts_longer() -> None:
    book, token, _ = make(Book(), role="admin", expires_in=100.0)
    caller = token.caller("x")
    assert refusal(book, caller, name="b") == "forbidden"
    assert refusal(book, caller, name="b", expires_in=101.0) == "forbidden"
    assert make(book, caller, seed=2, name="b", expires_in=100.0)[1].expires == NOW + 100
    book, boss, _ = make(book, seed=3, role="admin", name="boss")
    assert make(book, boss.caller("x"), seed=2, name="b")[1].expires is None


def test_a_token_is_taken_out_by_its_id_or_its_name() -> None:
    book, token, text = make(Book())
    assert book.without("deploy")[0].proven(text, NOW) is None
    assert book.without(token.id)[1] is token
    with pytest.raises(CircusError) as caught:
        book.without("deplo")
    assert caught.value.code == "not-found"


def test_the_name_of_an_expired_token_may_be_taken_again() -> None:
    book, old, _ = make(Book(), expires_in=10.0)
    again, new, _ = make(book, seed=2, now=NOW + 10)
    assert again.listed() == [new] and old.id != new.id


def test_there_is_a_bound_and_expired_tokens_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 3)
    book = make(Book(), name="a", expires_in=10.0)[0]
    book = make(book, seed=2, name="b")[0]
    book = make(book, seed=3, name="c")[0]
    assert refusal(book, name="d") == "limit"
    assert [each.name for each in make(book, seed=4, name="d", now=NOW + 10)[0].listed()] == ["b", "c", "d"]


def test_the_last_use_is_kept_to_the_hour() -> None:
    book, token, _ = make(Book())
    used = book.used(token.id, NOW + 5)
    assert used is not None and used.get(token.id).last_used == NOW + 5  # type: ignore[union-attr]
    assert used.used(token.id, NOW + tokens.COARSE_S) is None
    assert used.used(token.id, NOW + 5 + tokens.COARSE_S) is not None
    assert used.used(token.id, NOW - 50) is not None  # the clock was set back
    assert book.used("nobody", NOW) is None


def test_a_book_is_read_as_it_was_written() -> None:
    book = make(make(Book(), verbs=["see"], watchers=["w*"])[0], seed=2, name="b", expires_in=5.0)[0]
    assert Book.from_bytes(book.to_bytes()).listed() == book.listed()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"version": 2, "tokens": []}', b'{"version": 1, "tokens": [{}]}', b"\xff"]
)
def test_a_damaged_book_and_one_of_a_newer_circusd_are_no_books(data: bytes) -> None:
    with pytest.raises(ValueError):
        Book.from_bytes(data)
