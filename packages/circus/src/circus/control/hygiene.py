"""What no request may have, whoever sends it: a host that is not ours, a page of the web behind it, a token in its URL.

A browser sends requests for whatever page is open in it. One whose name was made to lead here (DNS rebinding) shows
itself by `Host`; one of another site by `Origin` and `Sec-Fetch-Site` (fetch.spec.whatwg.org, 3.2; w3c.github.io/
webappsec-fetch-metadata). No answer has CORS headers, and no cookie means anything, so there is nothing else to steal.
Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from urllib.parse import parse_qsl

from circus.errors import CircusError

#: Names under which this circusd is always known.
OWN = frozenset(("localhost", "circusd"))

#: Parameters in which tokens are sent by mistake: a URL stays in logs and histories.
SECRET_PARAMETERS = frozenset(("token", "access_token", "auth", "authorization", "api_key"))

Headers = Iterable[tuple[bytes, bytes]]


def check(headers: Headers, query: bytes, *, hosts: Collection[str], scheme: str, is_local: bool) -> None:
    """``hosts`` are names and addresses, in lower case. ``is_local``: nothing but a unix socket leads here, so that a
    name without a dot, which no page of the web has, is good enough.

    Raises: CircusError forbidden, bad-request.
    """
    host = origin = site = None
    for name, value in headers:
        if name == b"host":
            if host is not None:
                raise CircusError("bad-request", "the request names two hosts", "send Host once")
            host = value.decode("latin-1").strip().lower()
        elif name == b"origin":
            origin = value.decode("latin-1").strip().lower()
        elif name == b"sec-fetch-site":
            site = value.decode("latin-1").strip().lower()
    if host is None and not is_local:
        raise CircusError("bad-request", "the request names no host", "send Host")
    if host is not None and not _is_ours(host_name(host), hosts, is_local=is_local):
        raise CircusError(
            "forbidden",
            f"this circusd is not known as {host[:80]!r}",
            "ask under an address at which it listens, or name it by [circus] api.hosts",
        )
    if origin is not None and origin != f"{scheme}://{host}":
        raise CircusError("forbidden", "a page of another site has asked", "no page but circusd's own may")
    if site is not None and site not in ("same-origin", "none"):
        raise CircusError("forbidden", "a page of another site has asked", "no page but circusd's own may")
    if query:
        for key, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            if key.lower() in SECRET_PARAMETERS:
                raise CircusError(
                    "bad-request",
                    f"{key[:40]!r} stands in the URL, where logs and histories keep it",
                    "revoke that token, and send another one by Authorization: Bearer",
                )


def host_name(host: str) -> str:
    """``Host`` without its port; an address in the form that the system gives it."""
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host.rpartition(":")[0] if host.count(":") == 1 else host
    try:
        return ipaddress.ip_address(name).compressed
    except ValueError:
        return name.removesuffix(".")


def _is_ours(name: str, hosts: Collection[str], *, is_local: bool) -> bool:
    return name in OWN or name in hosts or (is_local and "." not in name and ":" not in name)


def bearer(headers: Headers) -> str | None:
    """What `Authorization: Bearer` gives; None: nothing. Raises: CircusError, when it is given in another way."""
    found = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    if not found:
        return None
    kind, _, text = found[0].strip().partition(" ")
    if len(found) > 1 or kind.lower() != "bearer":
        raise CircusError("unauthorized", "the Authorization is no bearer token", "send Authorization: Bearer TOKEN")
    return text.strip()
