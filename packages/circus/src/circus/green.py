"""The ancestors' variant for gevent, which is not here."""

from __future__ import annotations

raise ImportError(
    "circus has no variant for gevent: circus.get_arbiter(background=True) lives in a thread of its own,"
    " and circus.client asks from any"
)
