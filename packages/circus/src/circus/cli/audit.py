"""circusctl audit: who ordered what, from the file in which circusd writes it."""

from __future__ import annotations

from circus.cli import render
from circus.errors import CircusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from circus.cli.asking import Answer, Daemon

_EPILOG = """\
Every order, and whoever was refused: when, who, from where, what, how it ended and how long it took. Names of
options are told, never values.

  circusctl audit --since 2h
  circusctl audit -n 1000 --json
  circusctl audit --file /var/log/audit.jsonl      without a circusd"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", dest="count", metavar="N", type=int, help="the last N (default: 20, with --since all)")
    parser.add_argument("--since", metavar="T", help="what was asked at T or later: 10m, 2h, today, 2026-11-22, ...")
    parser.add_argument("--file", metavar="F", help="the trail; default: the one of this circusd")
    parser.epilog = _EPILOG


def run(daemon: Daemon, args: argparse.Namespace) -> Answer:
    """Read here, with the rights of who asks."""
    from circus.control import audit

    if args.count is not None and args.count < 1:
        raise CircusError("usage", f"-n {args.count} is no number of lines", "1 is the latest one")
    if not args.file and not daemon.is_here:
        raise CircusError(
            "usage", "audit reads a file of this host, and circusd is on another", "ask there, or give --file"
        )
    path = args.file or daemon.get("options")["options"].get("audit.file", audit.OFF)
    if path == audit.OFF:
        raise CircusError("not-found", "this circusd has no audit trail", "[circus] audit.file = off says so")
    since = _since(args.since)
    try:
        entries = [entry for entry in audit.read(path) if _at(entry) >= since]
    except OSError as error:
        hint = "it is for the user of circusd alone, and begins with the first order"
        raise CircusError("failed", f"{path} cannot be read: {error.strerror or error}", hint) from None
    count = args.count or (20 if args.since is None else len(entries))
    return {"path": path, "entries": entries[-count:] if count else []}


def _since(text: str | None) -> float:
    if text is None:
        return 0.0
    from datetime import datetime

    from circus.logbook import moments

    return moments.parse(text, datetime.now().astimezone()) / 1e9


def _at(entry: Answer) -> float:
    at = entry.get("at")
    return float(at) if isinstance(at, int | float) else 0.0


def lines(answer: Answer, _args: argparse.Namespace) -> Iterable[str]:
    return [render.one_line(_text(entry)) for entry in answer["entries"]] or ["nothing is known"]


def _text(entry: Answer) -> str:
    """``2026-11-22 12:49:05 uid 0 (unix) watchers.set web (priority): ok, 12 ms``."""
    at = render.moment(_at(entry))
    if "missing" in entry:
        return f"{at} {entry['missing']} lines are missing here: the file could not be written"
    words = [at, entry.get("who", "nobody known"), _in_brackets([entry.get("from", "")]), _what(entry)]
    took = f", {_took(entry)} ms" if _took(entry) else ""
    return f"{' '.join(str(word) for word in words if word)}: {entry.get('result', '')}{took}"


def row(entry: Answer, cell: Callable[[str], str]) -> tuple[str, ...]:
    """The same in columns: when, who, from where, how it ended (as ``cell`` makes it), milliseconds, what."""
    at = render.moment(_at(entry))
    if "missing" in entry:
        missing = f"{entry['missing']} lines are missing here: the file could not be written"
        return at, "", "", cell("missing"), "", missing
    who, origin = (str(entry.get(key, "")) for key in ("who", "from"))
    return at, who, origin, cell(str(entry.get("result", ""))), _took(entry), _what(entry)


def _what(entry: Answer) -> str:
    words = [entry.get("operation", ""), ",".join(map(str, entry.get("watchers", ()))), entry.get("about", "")]
    words.append(_in_brackets([*entry.get("options", ()), *entry.get("given", ())]))
    return " ".join(str(word) for word in words if word)


def _took(entry: Answer) -> str:
    return f"{entry['ms']:.0f}" if isinstance(entry.get("ms"), int | float) else ""


def _in_brackets(words: list[object]) -> str:
    text = ", ".join(str(word) for word in words if word)
    return f"({text})" if text else ""
