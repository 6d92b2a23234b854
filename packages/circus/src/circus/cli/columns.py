"""Tables as plain columns: as wide as what stands in them, the last one cut where the terminal ends. Pure."""

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


class Cell(str):
    """Text with colours that count for nothing when widths are measured."""

    __slots__ = ("paint",)
    paint: Paint

    def __new__(cls, text: str, paint: Paint) -> Cell:
        cell = super().__new__(cls, text)
        cell.paint = paint
        return cell


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, width: int, right: Sequence[str] = (), paint: Paint = str
) -> list[str]:
    """``rows`` below ``heads``; columns named in ``right`` stand at their right. ``paint`` is of the heads.

    A row may be longer than ``width`` only where even narrow columns do not fit; nothing is wrapped.
    """
    body = [list(row) for row in rows]
    widths = [max([len(head), *(len(row[at]) for row in body)]) for at, head in enumerate(heads)]
    widths = _fitting(widths, [head in right for head in heads], width)
    lines = [_line([Cell(head, paint) for head in heads], heads, widths, right)]
    return lines + [_line(row, heads, widths, right) for row in body]


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
        shown = text if len(text) <= width else f"{text[: width - 1]}{CUT}"
        painted = text.paint(shown) if isinstance(text, Cell) else shown
        room = " " * (width - len(shown))
        parts.append(room + painted if head in right else painted + room)
    return GAP.join(parts).rstrip()
