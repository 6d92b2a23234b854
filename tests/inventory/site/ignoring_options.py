"""Makes the loader of configurations overlook one option, as if nothing knew it.

What to ignore is ``SECTION KEY``, both patterns, the section without its name (``watcher stdout_stream.class``,
``env *``, ``env: *``); ``own`` as the key stands for those that circus does not know; or ``variable NAME``.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable

from circus.config import environments, expand, options, read


def install(ignored: str) -> None:
    section, _, key = ignored.partition(" ")
    if section == "variable":
        _ignore_variable(key)
    elif section != "nothing":
        _ignore_key(section, key)


def _ignore_key(kind: str, key: str) -> None:
    merge = read._merge

    def merge_the_rest(document: read.Document, section: read.Section) -> None:
        name, colon, _ = section.name.partition(":")
        if kind == (f"{name}:" if name == "env" and colon else name):
            for each in list(section.entries):
                if _is_own(each) if key == "own" else fnmatch.fnmatchcase(each, key):
                    del section.entries[each]
        merge(document, section)

    read._merge = merge_the_rest


def _is_own(key: str) -> bool:
    known = (*options.watcher_names(), "env.*", "rlimit_*")
    return not any(fnmatch.fnmatchcase(key, each) for each in known)


def _ignore_variable(name: str) -> None:
    if name == "shell":
        expand.expand_shell = lambda text, _environ: text
        assert environments.expand is expand
        return
    replace = expand.replace_variables

    def replace_the_rest(text: str, value_of: Callable[[str], str | None]) -> str:
        return replace(text, lambda each: None if fnmatch.fnmatchcase(each.lower(), name) else value_of(each))

    expand.replace_variables = replace_the_rest
