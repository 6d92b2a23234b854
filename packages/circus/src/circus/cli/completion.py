"""What TAB may put in place of a word that is begun: what the tables of commands know, and names that circusd has.

Pure: the words of a command line go in, whole words with what they mean come out. Names are asked for by ``names_of``,
and only where one may stand.
"""

from __future__ import annotations

import argparse

from circus.cli import words
from circus.cli.parser import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from circus.cli.asking import Command

    #: A word, and what it means, for shells that show it.
    Candidate = tuple[str, str]
    #: Asks for names of a kind; the words before it may narrow them: ``pids`` of a watcher.
    NamesOf = Callable[[str, list[str]], Iterable[Candidate]]

#: Where files of this host are meant; what stands there is known to the shell alone.
FILES = "files"

#: What stands where help writes a word in capitals -> a kind of names. ``A|B`` is one of both, at first ``A``.
_KINDS = {
    "NAME": "watchers",
    "PATTERN": "watchers",
    "PID": "pids",
    "SIGNAL": "signals",
    "KEY": "options",
    "KEY VALUE": "settings",
    "KEY=VALUE": "settings",
    "OPTION": "globals",
    "TOPIC": "topics",
    "ID": "operations",
    "ID|NAME": "tokens",
    "E": "endpoints",
    "F": FILES,
    "FILE": FILES,
    "CMD": FILES,
}

#: Where the same word means something else.
_OTHERWISE = {
    ("notify test", "NAME"): "notifiers",
    ("config show", "NAME"): "sections",
    ("token create", "NAME"): "",
    ("add", "NAME"): "",
}


class Found:
    """``words``, each once and in order; ``is_files``: the shell knows them."""

    __slots__ = ("is_files", "words")

    def __init__(self, candidates: Iterable[Candidate] = (), *, is_files: bool = False) -> None:
        self.words, self.is_files = dict(candidates), is_files


def complete(before: list[str], begun: str, names_of: NamesOf) -> Found:
    """What may stand in place of ``begun``, behind the words ``before`` it (without the name of the program)."""
    at = words.command_index(before)
    if at < len(before) and before[at] == "help":
        del before[at]
    name = " ".join(before[at : at + 2 if before[at : at + 1] and before[at] in words.GROUPS else at + 1])
    command = words.COMMANDS.get(name)
    if command is None:
        if len(before) > at + 1 or (name and name not in words.GROUPS):
            return Found()
        if not name and (found := _value(words.global_parser(), None, before, begun, names_of)):
            return found
        return Found(_fitting(begun, _options(words.global_parser(), ()) if begun.startswith("-") else _commands(name)))
    parser, own = words.command_parser(command), before[at + 1 + name.count(" ") :]
    if _is_of_program(command, parser, own, begun):
        return Found(is_files=True)
    if found := _value(parser, command, own, begun, names_of):
        return found
    if begun.startswith("-") and "--" not in own:
        return Found(_fitting(begun, _options(parser, own)))
    return _positionals(parser, command, own, begun, names_of)


def _is_of_program(command: Command, parser: Parser, own: list[str], begun: str) -> bool:
    at = words.program_index(command, parser, own)
    if at is None or at < len(own):
        return at is not None
    return (
        not begun.startswith("-")
        and len(parser.parted(own)[1]) == command.program_behind
        and (not own or own[-1] not in parser.taking)
    )


def _commands(group: str) -> Iterable[Candidate]:
    """First words; or the second ones of ``group``."""
    for name, command in words.COMMANDS.items():
        first, _, second = name.partition(" ")
        if group:
            if first == group:
                yield second, command.help
        else:
            yield first, f"{first} ..." if second else command.help


def _options(parser: Parser, used: Iterable[str]) -> Iterable[Candidate]:
    """Long ones that were not given yet."""
    taken = {word.partition("=")[0] for word in used}
    for action in parser.actions:
        may_repeat = isinstance(action, argparse._AppendAction)
        if may_repeat or not taken.intersection(action.option_strings):
            yield from ((option, action.help or "") for option in action.option_strings if option.startswith("--"))


def _value(parser: Parser, command: Command | None, own: list[str], begun: str, names_of: NamesOf) -> Found | None:
    """Of the option before, or in the same word behind a ``=``; None: no value of an option is begun."""
    if own and own[-1] in parser.taking and "--" not in own:
        return _of_action(parser.taking[own[-1]], command, parser.parted(own[:-1])[1], begun, names_of)
    option, sign, text = begun.partition("=")
    if sign and option in parser.taking:
        found = _of_action(parser.taking[option], command, parser.parted(own)[1], text, names_of)
        return Found(((f"{option}={word}", what) for word, what in found.words.items()), is_files=found.is_files)
    return None


def _positionals(parser: Parser, command: Command, own: list[str], begun: str, names_of: NamesOf) -> Found:
    """Of all arguments that may come next: those that may be left out make it several."""
    actions = [action for action in parser.actions if not action.option_strings]
    given = parser.parted(own)[1]
    places = {0}
    for word in given:
        places = {after for at in _reachable(actions, places) for after in _behind(actions[at], at, word)}
    candidates: dict[str, str] = {}
    is_files = False
    for at in sorted(_reachable(actions, places)):
        found = _of_action(actions[at], command, given, begun, names_of)
        candidates |= found.words
        is_files = is_files or found.is_files
    return Found(candidates.items(), is_files=is_files)


def _reachable(actions: list[argparse.Action], places: set[int]) -> set[int]:
    """The arguments that may come at one of ``places``: with what may be left out, also those behind."""
    found: set[int] = set()
    for place in places:
        for at in range(place, len(actions)):
            found.add(at)
            if actions[at].nargs not in ("?", "*"):
                break
    return found


def _behind(action: argparse.Action, at: int, word: str) -> list[int]:
    """Where the next word may stand when ``word`` was this argument; nowhere if it cannot be."""
    if action.type is int and not word.removeprefix("-").isdecimal():
        return []
    return [at, at + 1] if action.nargs in ("*", "+") else [at + 1]


def _of_action(
    action: argparse.Action, command: Command | None, given: list[str], begun: str, names_of: NamesOf
) -> Found:
    if action.choices is not None:
        return Found(_fitting(begun, ((str(choice), "") for choice in action.choices)))
    meta = action.metavar if isinstance(action.metavar, str) else ""
    meta = meta.partition(" [")[0]
    if (kinds := _kinds(command, meta, given)) == [FILES]:
        return Found(is_files=True)
    if kinds == ["settings"]:
        return Found(_fitting(begun, _settings(meta, given, begun, names_of)))
    candidates = (each for kind in kinds for each in names_of(kind, given))
    return Found(_fitting(begun, ((word, what) for word, what in candidates if word not in given)))


def _kinds(command: Command | None, meta: str, given: list[str]) -> list[str]:
    kind = _OTHERWISE.get((command.name if command else "", meta), _KINDS.get(meta))
    if kind is not None:
        return [kind] if kind else []
    parts = [_KINDS[part] for part in meta.split("|") if part in _KINDS]
    return parts if given else parts[:1]


def _settings(meta: str, given: list[str], begun: str, names_of: NamesOf) -> Iterable[Candidate]:
    """``KEY VALUE`` behind the name of a watcher, and ``KEY=VALUE`` in one word."""
    if meta == "KEY=VALUE":
        key, sign, _ = begun.partition("=")
        if not sign:
            return ((f"{name}=", what) for name, what in names_of("settings", given))
        return ((f"{key}={value}", what) for value, what in names_of("values", [key]))
    pairs = given[1:]
    return names_of("values", pairs[-1:]) if len(pairs) % 2 else names_of("settings", given)


def _fitting(begun: str, candidates: Iterable[Candidate]) -> list[Candidate]:
    return [(word, what) for word, what in candidates if word.startswith(begun)]
