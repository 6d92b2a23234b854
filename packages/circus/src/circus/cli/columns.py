"""Tables as plain columns: as wide as what stands in them, cut or wrapped where the terminal ends. Pure.

Widths are those of a terminal: letters of East Asia take two columns, marks that stand on a letter none.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    #: Text as it is painted.
    Paint = Callable[[str], str]

GAP = "  "
#: Stands for what was cut off.
CUT = "…"
#: No column is made narrower than this to fit.
LEAST = 8
#: The last column is not wrapped into less: its text goes on beyond the terminal's edge.
LEAST_TO_WRAP = 16


class Cell(str):
    """Text with colours that count for nothing when widths are measured."""

    __slots__ = ("paint",)
    paint: Paint

    def __new__(cls, text: str, paint: Paint) -> Cell:
        cell = super().__new__(cls, text)
        cell.paint = paint
        return cell


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    width: int,
    right: Sequence[str] = (),
    paint: Paint = str,
    wraps: bool = False,
) -> list[str]:
    """``rows`` below ``heads``; columns named in ``right`` stand at their right. ``paint`` is of the heads.

    A text that is too long is cut; with ``wraps`` that of the last column goes on below itself. A row may be longer
    than ``width`` only where even narrow columns do not fit.
    """
    body = [list(row) for row in rows]
    widths = [max([len(head), *(width_of(row[at]) for row in body)]) for at, head in enumerate(heads)]
    if wraps:
        before = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(width - before, LEAST_TO_WRAP))
    widths = _fitting(widths, [head in right for head in heads], width)
    lines = [_line([Cell(head, paint) for head in heads], heads, widths, right)]
    for row in body:
        rest = wrapped(row[-1], widths[-1]) if wraps else [row[-1]]
        last = row[-1].paint if isinstance(row[-1], Cell) else str
        lines.append(_line([*row[:-1], Cell(rest[0], last)], heads, widths, right))
        indent = " " * (sum(widths[:-1]) + len(GAP) * (len(widths) - 1))
        lines += [indent + last(more) for more in rest[1:]]
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """At least one line; broken between words, and within one only where it is wider than a line. Each is indented as
    the text is."""
    words = text.lstrip(" ")
    indent = text[: len(text) - len(words)]
    if indent and words:
        return [indent + line for line in wrapped(words, max(width - len(indent), 1))]
    lines, line = [], ""
    for word in words.split(" "):
        longer = f"{line} {word}" if line else word
        if width_of(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while width_of(word) > width:
            part = _begin(word, width)
            lines.append(part)
            word = word[len(part) :]
        line = word
    return [*lines, line] if line or not lines else lines


def width_of(text: str) -> int:
    """Columns of a terminal that ``text`` takes."""
    if text.isascii():
        return len(text)
    # Imported for such letters alone.
    import unicodedata

    width = 0
    for letter in text:
        if not unicodedata.combining(letter) and unicodedata.category(letter) not in ("Mn", "Me"):
            width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    return width


def cut(text: str, width: int) -> str:
    """``text``, or as much of its begin as fits, and a sign that there was more."""
    return text if width_of(text) <= width else f"{_begin(text, width - 1)}{CUT}"


def _begin(text: str, width: int) -> str:
    """As many letters as fit, and at least one."""
    if text.isascii():
        return text[: max(width, 1)]
    end = 1
    while end < len(text) and width_of(text[: end + 1]) <= width:
        end += 1
    return text[:end]


def _fitting(widths: list[int], is_right: list[bool], width: int) -> list[int]:
    """The widest columns of words are cut first: numbers say something else without their end."""
    over = sum(widths) + len(GAP) * (len(widths) - 1) - width
    while over > 0:
        elastic = [at for at, each in enumerate(widths) if each > LEAST and not is_right[at]]
        if not elastic:
            break
        at = max(elastic, key=lambda each: (widths[each], each))
        widths[at] -= 1
        over -= 1
    return widths


def _line(row: Sequence[str], heads: Sequence[str], widths: list[int], right: Sequence[str]) -> str:
    parts = []
    for text, head, width in zip(row, heads, widths, strict=True):
        shown = cut(text, width)
        painted = text.paint(shown) if isinstance(text, Cell) else shown
        room = " " * (width - width_of(shown))
        parts.append(room + painted if head in right else painted + room)
    return GAP.join(parts).rstrip()
