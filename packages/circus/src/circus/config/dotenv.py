"""Reads the text of an `env_file`: lines ``NAME=VALUE``, as shells and containers have them. Pure.

Blank lines and lines that begin with ``#`` are nothing; ``export`` in front and white space around ``=`` are allowed. A
value without quotes ends at `` #`` or the end of its line. In single quotes everything stands for itself; in double
quotes a backslash before n, r, t, ", $ and a backslash means what it does elsewhere, and any other stands for itself;
both may go over several lines.
Nothing is expanded: a password may hold what it likes. Of a name that is given twice the last counts. Faults never
quote a value, which may be a secret.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*=[ \t]*", re.ASCII)
_QUOTED = {"'": re.compile(r"'([^']*)'"), '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)}
_BARE = re.compile(r"[^\n]*?(?=[ \t]+#|[ \t]*$)", re.MULTILINE)
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_ESCAPE = re.compile(r'\\([nrt"\\$])')
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


class Fault(NamedTuple):
    line: int
    what: str
    hint: str


def parse(text: str) -> tuple[dict[str, tuple[str, int]], Fault | None]:
    """Name -> (value, line); and the first line that is none of the language, at which the reading ends."""
    text = text.replace("\r\n", "\n")
    found: dict[str, tuple[str, int]] = {}
    at, line = 0, 1
    while at < len(text):
        start = at
        rest = _REST.match(text, at)
        if rest is None:
            match = _NAME.match(text, at)
            if match is None:
                return found, Fault(line, "this line is not NAME=VALUE", "a comment begins with #")
            at = match.end()
            quote = text[at : at + 1]
            pattern = _QUOTED.get(quote, _BARE)
            value = pattern.match(text, at)
            if value is None:
                return found, Fault(line, f"the quote of {match[1]} is not closed", f"close it with {quote}")
            rest = _REST.match(text, value.end())
            if rest is None:
                return found, Fault(line, f"something stands behind the quotes of {match[1]}", "quote all of it")
            content = value[0] if pattern is _BARE else value[1]
            if quote == '"':
                content = _ESCAPE.sub(lambda each: _ESCAPED.get(each[1], each[1]), content)
            found[match[1]] = (content, line)
        at = rest.end()
        line += text.count("\n", start, at)
    return found, None
