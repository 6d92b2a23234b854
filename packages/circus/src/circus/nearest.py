"""What was perhaps meant by a word that is unknown. Pure; every room that refuses words may ask."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: How alike two words must be: as many slips as people make in a word that they know.
LIKENESS = 0.6


def nearest(word: str, known: Iterable[str], likeness: float = LIKENESS) -> str | None:
    """The known word that ``word`` is probably a slip of, in any case; None if there is no such."""
    import difflib  # only for who has mistyped a word, and circusd has no need of it for the rest of its life

    folded, wanted = {each.casefold(): each for each in known}, word.casefold()
    for each in folded:
        if sorted(each) == sorted(wanted):  # letters that changed places are the commonest slip
            return folded[each]
    matches = difflib.get_close_matches(wanted, folded, n=1, cutoff=likeness)
    return folded[matches[0]] if matches else None


def hint(word: str, known: Iterable[str], otherwise: str) -> str:
    """``did you mean 'web'?``, or ``otherwise``."""
    near = nearest(word, known)
    return f"did you mean {near!r}?" if near else otherwise
