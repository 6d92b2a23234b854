"""JSON by the interpreter's own scanner and encoder alone, for programs in which every kilobyte stays for months.

The one idea: package `json` is a thin layer over `_json`, and that layer imports `re`, which costs 0.45 MB resident
and 6 ms of a start. Here is what of the layer is needed: white space around a text, and an error for what follows it.
Only a program that has itself to itself may load this (papa.jsontext decides it): when the scanner finds an error it
looks `JSONDecodeError` up in module `json.decoder`, so a package and module of these names, with nothing else in them,
are put in the place of those that are not there.

Not here: encodings other than UTF-8, hooks, indentation; the circular structures that `json` looks for end in a
RecursionError.
"""

from __future__ import annotations

import _json
import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Encoder = Callable[[object, int], tuple[str, ...]]

_SPACE = " \t\n\r"


class DecodeError(ValueError):
    """The text is no JSON."""

    def __init__(self, message: str, text: str, at: int) -> None:
        super().__init__(f"{message}: character {at} of {len(text)}")


if "json" not in sys.modules:
    _stand_in = ModuleType("json.decoder")
    _stand_in.JSONDecodeError = DecodeError  # type: ignore[attr-defined]
    sys.modules["json"] = ModuleType("json")
    sys.modules["json.decoder"] = _stand_in

_CONSTANTS = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}


class _Context:
    """What the scanner asks of a decoder."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_int = int

    def __init__(self, parse_constant: Callable[[str], Any], parse_float: Callable[[str], Any]) -> None:
        self.parse_constant = parse_constant
        self.parse_float = parse_float


def _scanner(
    parse_constant: Callable[[str], Any] = _CONSTANTS.__getitem__, parse_float: Callable[[str], Any] = float
) -> Callable[[str, int], tuple[Any, int]]:
    # The stubs of the type checker ask for a decoder of package json.
    scanner: Callable[[str, int], tuple[Any, int]] = _json.make_scanner(_Context(parse_constant, parse_float))  # type: ignore[arg-type]
    return scanner


_scan = _scanner()


def loads(text: str | bytes, **parsers: Callable[[str], Any]) -> Any:
    """As `json.loads`, with ``parse_constant`` and ``parse_float``. Raises: ValueError, RecursionError."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogatepass")
    scan = _scanner(**parsers) if parsers else _scan
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = scan(text, start)
    except StopIteration as stop:
        raise DecodeError("a value is missing", text, stop.value) from None
    if text[end:].strip(_SPACE):
        raise DecodeError("something follows the value", text, end)
    return value


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _encoder(separators: tuple[str, str], *, sort_keys: bool, allow_nan: bool) -> Encoder:
    item, key = separators
    made: Encoder = _json.make_encoder(
        None, _refuse, _json.encode_basestring_ascii, None, key, item, sort_keys, False, allow_nan
    )
    return made


#: The kernel's own words; the others are rare.
_ENCODERS = {
    (",", ":", False, allow_nan): _encoder((",", ":"), sort_keys=False, allow_nan=allow_nan)
    for allow_nan in (True, False)
}


def dumps(
    value: object,
    *,
    separators: tuple[str, str] = (", ", ": "),
    sort_keys: bool = False,
    allow_nan: bool = True,
) -> str:
    """As `json.dumps`. Raises: TypeError, ValueError, RecursionError."""
    encode = _ENCODERS.get((*separators, sort_keys, allow_nan))
    if encode is None:
        encode = _encoder(separators, sort_keys=sort_keys, allow_nan=allow_nan)
    return "".join(encode(value, 0))
