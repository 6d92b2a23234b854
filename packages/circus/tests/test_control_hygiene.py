from __future__ import annotations

import pytest

from circus.control import hygiene
from circus.errors import CircusError

HOSTS = frozenset(("circus.example.org", "10.0.0.7", "::1", "fe80::1"))


def verdict(*headers: tuple[str, str], query: str = "", is_local: bool = False) -> str:
    """Nothing, or the code of the refusal."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    try:
        hygiene.check(raw, query.encode(), hosts=HOSTS, scheme="https", is_local=is_local)
    except CircusError as error:
        assert error.hint
        return error.code
    return ""


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost", ""),
        ("localhost:8080", ""),
        ("LOCALHOST.", ""),
        ("circusd", ""),
        ("circus.example.org:443", ""),
        ("10.0.0.7:9999", ""),
        ("[::1]:8080", ""),
        ("[fe80:0:0::1]", ""),
        ("10.0.0.8", "forbidden"),
        ("evil.example.org", "forbidden"),
        ("circus.example.org.evil.org", "forbidden"),
        ("localhost.evil.org", "forbidden"),
        ("x", "forbidden"),
        ("", "forbidden"),
        ("[::2]:8080", "forbidden"),
    ],
)
def test_a_host_that_is_not_ours_is_refused(host: str, code: str) -> None:
    assert verdict(("host", host)) == code


def test_over_tcp_a_host_is_needed_and_one_only() -> None:
    assert verdict() == "bad-request"
    assert verdict(("host", "localhost"), ("host", "evil.org")) == "bad-request"


@pytest.mark.parametrize(
    ("host", "code"),
    [("x", ""), ("circusd", ""), ("evil.org", "forbidden"), ("1.2.3.4", "forbidden"), ("a:b:c", "forbidden")],
)
def test_at_a_unix_socket_a_name_that_no_page_has_will_do(host: str, code: str) -> None:
    assert verdict(("host", host), is_local=True) == code
    assert verdict(is_local=True) == ""


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("origin", "https://localhost:8080", ""),
        ("origin", "https://evil.org", "forbidden"),
        ("origin", "http://localhost:8080", "forbidden"),
        ("origin", "https://localhost:9090", "forbidden"),
        ("origin", "null", "forbidden"),
        ("sec-fetch-site", "same-origin", ""),
        ("sec-fetch-site", "none", ""),
        ("sec-fetch-site", "same-site", "forbidden"),
        ("sec-fetch-site", "cross-site", "forbidden"),
    ],
)
def test_what_a_page_of_another_site_sends_is_refused(header: str, value: str, code: str) -> None:
    for is_local in (False, True):
        assert verdict(("host", "localhost:8080"), (header, value), is_local=is_local) == code


@pytest.mark.parametrize("query", ["token=x", "a=1&access_token=", "Access_Token=x", "api_key=x", "a&authorization=x"])
def test_a_token_in_a_url_is_refused(query: str) -> None:
    assert verdict(("host", "localhost"), query=query) == "bad-request"
    assert verdict(("host", "localhost"), query="name=token&since=1") == ""


def test_a_bearer_is_found_and_nothing_else() -> None:
    assert hygiene.bearer([(b"authorization", b"bearer  abc ")]) == "abc"
    assert hygiene.bearer([(b"accept", b"*/*")]) is None
    for wrong in ([b"Basic YTpi"], [b"Bearer a", b"Bearer b"], [b""]):
        with pytest.raises(CircusError) as caught:
            hygiene.bearer([(b"authorization", value) for value in wrong])
        assert caught.value.code == "unauthorized"
