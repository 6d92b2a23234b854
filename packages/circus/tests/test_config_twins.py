"""An INI file and its twin in TOML are one configuration: the same model, and the same findings."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from circus.config import options
from circus.config.load import examine
from circus.config.model import CircusConfig
from circus.config.toml import as_toml
from circus.config.validate import Host

ENVIRON = {"HOME": "/h", "N": "4"}

Twin = tuple[str, str]  # a value as INI has it, and as TOML has it

#: What both can hold: an INI value has no white space around it, and no ` ;`.
PLAIN = st.text("abcXYZ019/._-+=#%$()'\"\\:, ä", min_size=1, max_size=12).map(str.strip).filter(bool)
VARIABLE = st.sampled_from(["$(circus.env.N)", "x-((circus.env.home))", "$(circus.env.NO)", "$HOME"])
TEXT = (PLAIN | VARIABLE).filter(lambda text: text != '""')
NAME = st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True)


def quoted(text: str) -> Twin:
    return text, json.dumps(text, ensure_ascii=False)


def native(value: Any) -> Twin:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text, text


def words(found: list[str]) -> Twin:
    return " ".join(found), f"[{', '.join(json.dumps(each) for each in found)}]"


FLAG = st.booleans().map(native) | st.sampled_from(["yes", "ON", "0", "perhaps"]).map(quoted)
NUMBER = (st.integers(-2, 70_000) | st.floats(-1, 1e6)).map(native)
BY_TYPE: dict[str, st.SearchStrategy[Twin]] = {
    "flag": FLAG,
    "words": st.lists(st.from_regex(r"-?[a-z]{1,4}\.x", fullmatch=True), min_size=1, max_size=3).map(words),
    "octal": st.sampled_from(["022", "7", "0o27", "999"]).map(quoted),
    "signal": st.sampled_from(["INT", "SIGQUIT", "RTMIN+1", "NOPE"]).map(quoted) | st.integers(0, 70).map(native),
    "size": st.sampled_from(["10m", "1 GiB", "1.5k", "big"]).map(quoted) | NUMBER,
    **dict.fromkeys(("integer", "count", "positive", "processes", "retries", "port", "period", "seconds"), NUMBER),
}  # fmt: skip


def table(known: dict[str, options.Option], *left_out: str) -> st.SearchStrategy[dict[str, Twin]]:
    values = {
        name: BY_TYPE.get(option.type, TEXT.map(quoted)) for name, option in known.items() if name not in left_out
    }
    return st.fixed_dictionaries({}, optional=values)


def prefixed(prefix: str, inner: st.SearchStrategy[dict[str, Twin]]) -> st.SearchStrategy[dict[str, Twin]]:
    return inner.map(lambda found: {prefix + key: value for key, value in found.items()})


def union(*parts: st.SearchStrategy[dict[str, Twin]]) -> st.SearchStrategy[dict[str, Twin]]:
    return st.tuples(*parts).map(lambda found: {key: value for each in found for key, value in each.items()})


VARIABLES = st.dictionaries(st.from_regex(r"[A-Z]{1,2}", fullmatch=True), TEXT.map(quoted) | NUMBER, max_size=3)
HOOK = st.sampled_from(["a.b", "a.b,true", "a"]).map(quoted)
STREAM = table(options.STREAM) | st.just({})
WATCHER = union(
    table(options.WATCHER),
    prefixed("stdout_stream.", STREAM),
    prefixed("stderr_stream.", STREAM),
    *(prefixed(f"{family}.", table(known)) for family, known in options.FAMILIES.items()),
    prefixed("rlimit_", st.dictionaries(st.sampled_from(["nofile", "core", "nop"]), NUMBER, max_size=2)),
    prefixed("hooks.", st.dictionaries(st.sampled_from(["after_start", "x"]), HOOK)),
    prefixed("env.", VARIABLES),
    st.dictionaries(st.sampled_from(["own_option", "numproceses", "a.b"]), FLAG | TEXT.map(quoted), max_size=2),
)  # fmt: skip


@st.composite
def configurations(draw: st.DrawFn) -> dict[tuple[str, ...], dict[str, Twin]]:
    """Path of the table -> its keys."""
    found: dict[tuple[str, ...], dict[str, Twin]] = {}
    found["circus",] = draw(table(options.CIRCUS, "include", "include_dir"))
    found["DEFAULT",] = draw(st.just({}) | table({"priority": options.WATCHER["priority"]}))
    found["env",] = draw(VARIABLES)
    for name in draw(st.lists(NAME, max_size=2, unique=True)):
        found["watcher", name] = draw(WATCHER)
    for name in draw(st.lists(NAME, max_size=2, unique=True)):
        found["socket", name] = draw(table(options.SOCKET))
    for pattern in draw(st.lists(st.sampled_from(["a*", "*", "web,x"]), max_size=2, unique=True)):
        found["env", pattern] = draw(VARIABLES)
    return found


def as_ini(found: dict[tuple[str, ...], dict[str, Twin]]) -> str:
    return "".join(
        f"[{':'.join(path)}]\n" + "".join(f"{key} = {ini}\n" for key, (ini, _) in keys.items())
        for path, keys in found.items()
    )


def as_toml_file(found: dict[tuple[str, ...], dict[str, Twin]]) -> str:
    """With a table for each prefix, and rlimits by their own name."""
    text = ""
    for path, keys in found.items():
        header = ".".join(json.dumps(part) for part in path)
        text += f"[{header}]\n"
        tables: dict[str, list[str]] = {}
        for key, (_, value) in keys.items():
            key = re.sub(r"^rlimit_", "rlimits.", key)
            prefix, dot, rest = key.partition(".")
            if dot:
                tables.setdefault(prefix, []).append(f"{rest} = {value}\n")
            else:
                text += f"{key} = {value}\n"
        for prefix, lines in tables.items():
            text += f"[{header}.{prefix}]\n" + "".join(lines)
    return text


class AnyHost(Host):
    """A machine that has everything."""

    def _answer(self, question: str, subject: str) -> bool:
        return True


def loaded(folder: Path, name: str, text: str) -> tuple[CircusConfig, list[tuple[str, str, str]]]:
    (folder / name).write_text(text)
    draft, findings = examine(str(folder / name), ENVIRON, host=AnyHost())
    config = draft.config
    config = replace(
        config,
        path="",
        watchers=tuple(_without_place(each) for each in config.watchers),
        sockets=tuple(_without_place(each) for each in config.sockets),
    )
    said = [(each.severity, as_toml(each.what), as_toml(each.hint)) for each in findings]
    return config, sorted((severity, what, hint.replace(str(folder / name), "FILE")) for severity, what, hint in said)


def _without_place(config: Any) -> Any:
    return replace(config, file="", line=0)


@given(configurations())
def test_twins_are_one_configuration_with_the_same_findings(found: dict[tuple[str, ...], dict[str, Twin]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ini = loaded(Path(folder), "c.ini", as_ini(found))
        toml = loaded(Path(folder), "c.toml", as_toml_file(found))
    assert toml == ini


def test_the_strategy_makes_files_that_load_and_files_that_do_not() -> None:
    seen = set()

    @given(configurations())
    def look(found: dict[tuple[str, ...], dict[str, Twin]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _, findings = loaded(Path(folder), "c.ini", as_ini(found))
        seen.add(any(severity == "error" for severity, _, _ in findings))

    look()
    assert seen == {True, False}
