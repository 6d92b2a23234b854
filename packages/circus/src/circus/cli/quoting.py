"""How a command line is cut into words while it is being typed, and how a word is written so that it stays one. Pure.

As bash and the shell of circusctl have it: blanks part words, quotes and backslashes keep them together, and the last
word may be anywhere in the middle of them.
"""

from __future__ import annotations

#: Words of these alone need no quotes.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:@%+,=")

#: What keeps its meaning behind a backslash between double quotes.
_SPECIAL = frozenset('\\"$`')


class Begun:
    """The word in which the cursor stands: ``raw`` as typed, ``value`` what it is so far, ``quote`` if one is open."""

    __slots__ = ("quote", "raw", "value")

    def __init__(self, raw: str, value: str, quote: str) -> None:
        self.raw, self.value, self.quote = raw, value, quote


def split(line: str) -> tuple[list[str], Begun]:
    """The words that are complete, and the one that is not; whatever is typed means something."""
    found: list[str] = []
    value, raw, quote, is_escaped, has_begun = "", "", "", False, False
    for letter in line:
        if not quote and not is_escaped and letter in " \t\n":
            if has_begun:
                found.append(value)
            value, raw, has_begun = "", "", False
            continue
        raw += letter
        has_begun = True
        if is_escaped:
            value += letter if not quote or letter in _SPECIAL else f"\\{letter}"
            is_escaped = False
        elif letter == "\\" and quote != "'":
            is_escaped = True
        elif quote:
            if letter == quote:
                quote = ""
            else:
                value += letter
        elif letter in "'\"":
            quote = letter
        else:
            value += letter
    return found, Begun(raw, value, quote)


def quoted(word: str, quote: str = "") -> str:
    """``word`` as it may be typed, with backslashes; or behind an open ``quote``, which is not closed."""
    if quote == "'":
        return "'" + word.replace("'", "'\\''")
    if quote:
        return quote + "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in word)
    return "".join(letter if letter in _PLAIN else f"\\{letter}" for letter in word)


def rest(word: str, begun: Begun, start: int) -> str | None:
    """What of ``word`` stands behind the first ``start`` letters of ``begun``; None: it cannot be gone on with so."""
    text = quoted(word, begun.quote if begun.raw.startswith(begun.quote) else "")
    return text[start:] if text[:start] == begun.raw[:start] else None
