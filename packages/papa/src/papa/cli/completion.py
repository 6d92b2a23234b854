"""What TAB may put in place of a word that is begun: the text language's own tables, and names that the kernel has.

Pure: the line as typed goes in, whole words come out, each with what is to follow it (a space, or nothing where a
value is still to come).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from papa import model
from papa.errors import PapaError
from papa.wire import text

#: Commands that make sense in a shell: frames are for programs.
COMMANDS = tuple(command for command in text.COMMANDS if command != "frames")
_SOCKET = "$(socket."

#: Asks the kernel for names: of ``processes``, ``sockets`` or ``values``, those that begin so.
NamesOf = Callable[[str, str], Iterable[str]]


def complete(before: str, begun: str, names_of: NamesOf) -> list[str]:
    """What may stand in place of ``begun``, behind ``before``."""
    words = text.split_words(before)
    if not words:
        return _fitting(begun.lower(), COMMANDS)
    try:
        command = text.find_command(words[0])
        if command == "help":
            return _topics(words[1:], begun)
        if command in ("get", "set"):
            return _fitting(begun, names_of("values", begun)) if len(words) == 1 else []
        if command not in text.SUBJECTS:
            return []
        if len(words) == 1:
            return _fitting(begun.lower(), text.SUBJECTS[command])
        subject = text.find_subject(command, words[1:])
    except PapaError:
        return []
    if command == "make":
        return _options(subject, words[2:], begun, names_of)
    kind = "processes" if subject == "lines" else subject
    return _fitting(begun, names_of(kind, begun))


def _topics(words: list[str], begun: str) -> list[str]:
    if not words:
        return _fitting(begun.lower(), text.COMMANDS)
    command = text.find_command(words[0])
    return _fitting(begun.lower(), text.SUBJECTS.get(command, ())) if len(words) == 1 else []


def _options(subject: str, words: list[str], begun: str, names_of: NamesOf) -> list[str]:
    """Behind ``make process`` or ``make socket``: a new name, then options, then what a process is to run."""
    if not words:
        return []
    if begun.startswith(_SOCKET):
        found = names_of("sockets", begun.removeprefix(_SOCKET))
        return _fitting(begun, (f"{_SOCKET}{name}.{part})" for name in found for part in ("fileno", "port")))
    if not all("=" in word for word in words[1:]):
        return []
    if "=" in begun:
        key = begun.partition("=")[0]
        return _fitting(begun, (f"{key}={value}" for value in text.CHOICES.get(key, ())))
    if begun.startswith("rlimit."):
        return _fitting(begun, (f"rlimit.{name}=" for name in sorted(model.RLIMITS)), "")
    return _fitting(begun, (key if key.endswith(".") else f"{key}=" for key in text.OPTIONS[subject]), "")


def _fitting(begun: str, words: Iterable[str], end: str = " ") -> list[str]:
    return [word + end for word in words if word.startswith(begun)]
