"""The options of a watcher as they are remembered, and in what they differ from those of now. Pure.

A sheet has each option that is written, and each variable of the environment: what is shown of it, as in a plan (see
``causes``), and a digest of what it says with the values of its variables in it. Of what may be a secret nothing is
shown. The sheet is compared by the digests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from circus.config import causes, plugins
from circus.config.causes import NOWHERE, Cause, Source
from circus.config.model import WatcherConfig

#: What is remembered of an option: one command is told from another by these characters.
MAX_TEXT = 200
#: Options and variables of one watcher that are remembered.
MAX_OPTIONS = 500

#: Name -> what is shown, and the digest.
Sheet = Mapping[str, tuple[str, str]]

_ENV = "env "


def sheet_of(config: WatcherConfig, source: Source, digest: Callable[[str], str]) -> dict[str, tuple[str, str]]:
    """``source``: where it is written."""
    title = causes.title_of(config)
    sheet: dict[str, tuple[str, str]] = {}
    for name, said in config.written.items():
        if name.startswith("env."):
            continue  # among the variables
        entry = source.entry(title, name)
        shown = causes.shown_of(name, said if entry is None else entry.value)
        sheet[name] = "" if shown is None else shown[:MAX_TEXT], digest(said)
    for name, said in config.env.items():
        if name != plugins.VARIABLE:
            sheet[f"{_ENV}{name}"] = "", digest(said)
    return dict(list(sheet.items())[:MAX_OPTIONS])


def differences(old: Sheet, new: Sheet, config: WatcherConfig, source: Source) -> list[Cause]:
    """``new`` is the sheet of ``config``, which ``source`` has."""
    title, found = causes.title_of(config), []
    variables = source.variables(title).variables
    for name in sorted({*old, *new}, key=lambda each: (each.startswith(_ENV), each)):
        before, after = old.get(name), new.get(name)
        if before is not None and after is not None and before[1] == after[1]:
            continue
        place = NOWHERE
        written = variables.get(name.removeprefix(_ENV)) if name.startswith(_ENV) else source.entry(title, name)
        if after is not None and written is not None:
            place = written.file, written.line
        texts = (None if before is None else before[0], None if after is None else after[0])
        # What differs only where it is not shown, too, may be a secret.
        is_hidden = texts[0] == texts[1] or name.startswith(_ENV) or not any(texts)
        found.append(Cause(name, *(causes.presence(*texts) if is_hidden else texts), *place, is_hidden))
    return found
