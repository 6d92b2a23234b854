"""The JSON Schema of the TOML form: complete, and true of what loads."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from circus.circusctl import main
from circus.config import options, plugins, reference
from circus.config.schema import TYPES, schema
from circus.config.values import PARSERS

FILE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "circus.schema.json"
SCHEMA = schema()

_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def refused(value: Any, rule: Any = SCHEMA, at: str = "") -> list[str]:
    """Where ``value`` breaks ``rule``: of JSON Schema those words that ours uses, and no other."""
    if isinstance(rule, bool):
        return [] if rule else [at]
    told = {"$schema", "$defs", "title", "description", "default", "deprecated", "examples"}
    found: list[str] = []
    for word, says in rule.items():
        match word:
            case "type":
                kinds = [says] if isinstance(says, str) else says
                is_one = any(isinstance(value, _KINDS[kind]) for kind in kinds)
                found += [] if is_one and (not isinstance(value, bool) or "boolean" in kinds) else [at]
            case "$ref":
                found += refused(value, SCHEMA["$defs"][says.removeprefix("#/$defs/")], at)
            case "anyOf":
                found += [] if any(not refused(value, each, at) for each in says) else [at]
            case "properties":
                for key, each in says.items():
                    found += refused(value[key], each, f"{at}/{key}") if key in value else []
            case "patternProperties" | "additionalProperties":
                known = rule.get("properties", {})
                for key in value:
                    if word == "patternProperties":
                        rules = [each for pattern, each in says.items() if re.search(pattern, key)]
                    else:
                        patterns = rule.get("patternProperties", {})
                        rules = [] if key in known or any(re.search(each, key) for each in patterns) else [says]
                    for each in rules:
                        found += refused(value[key], each, f"{at}/{key}")
            case "items":
                found += [where for each in value for where in refused(each, says, at)]
            case "pattern":
                found += [] if not isinstance(value, str) or re.search(says, value) else [at]
            case "maxLength":
                found += [] if len(value) <= says else [at]
            case "minimum":
                found += [] if not isinstance(value, (int, float)) or value >= says else [at]
            case "maximum":
                found += [] if not isinstance(value, (int, float)) or value <= says else [at]
            case _:
                assert word in told, f"this validator does not know {word}"
        if found and word in ("type", "anyOf"):
            break
    return found


def test_the_file_in_the_repository_has_not_drifted() -> None:
    assert json.loads(FILE.read_text()) == SCHEMA, "make it anew: make reference"


def test_it_is_printed_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert capsys.readouterr().out == FILE.read_text()
    assert main(["config", "schema", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA


def test_the_example_of_the_reference_is_valid() -> None:
    assert refused(tomllib.loads(reference.EXAMPLE)) == []


def flat(found: dict[str, Any]) -> dict[str, Any]:
    """With the tables in it as prefixes, as an INI file writes them."""
    tables = {name: each["properties"] for name, each in found.items() if "properties" in each}
    return found | {f"{name}.{key}": each for name, table in tables.items() for key, each in table.items()}


def test_every_option_is_in_it_with_what_it_means() -> None:
    watcher = SCHEMA["$defs"]["watcher"]["properties"]
    for table, found in (
        (options.CIRCUS, flat(SCHEMA["properties"]["circus"]["properties"])),
        (options.WATCHER, watcher),
        (options.STREAM, SCHEMA["$defs"]["stream"]["properties"]),
        *((table, watcher[family]["properties"]) for family, table in options.FAMILIES.items()),
        (options.SOCKET, SCHEMA["properties"]["socket"]["additionalProperties"]["properties"]),
    ):
        assert {name: option.doc for name, option in table.items()} == {
            name: found[name]["description"].partition(" Without effect: ")[0] for name in table
        }
    assert watcher["hooks"]["properties"].keys() == options.HOOKS.keys()
    assert watcher["rlimits"]["properties"].keys() == set(options.RLIMITS)
    uses = SCHEMA["properties"]["plugin"]["additionalProperties"]["properties"]["use"]["examples"]
    assert plugins.FLAPPING in uses


def test_every_type_of_the_reader_has_a_rule() -> None:
    assert TYPES.keys() == PARSERS.keys()


#: Type -> (values that it takes, values that it does not).
EXAMPLES: dict[str, tuple[list[Any], list[Any]]] = {
    "flag": ([True, "$(circus.env.A)"], ["yes", 1]),
    "integer": ([-3, "((circus.env.A))"], [1.5, "3", True]),
    "processes": ([0, 10_000], [-1, 10_001]),
    "port": ([0], [70_000]),
    "words": (["a b", ["a", "b"]], [["a b"], [1], 3]),
    "seconds": ([0, 0.5, "250ms", "5 min", "1.5H"], [-1, "soon", "5 weeks"]),
    "period": ([-1], ["x"]),
    "size": ([0, "10m", "1.5 GiB", "7b"], [-1, "10 apples", 1.5]),
    "octal": (["022", "0o7"], [22, "9", "7777"]),
    "signal": ([15, "RTMIN+1", "quit"], [0, 65, ""]),
    "account": (["www", 33], [-1, True]),
    "family": (["AF_INET", "unix"], ["AF_X"]),
    "name": (["a.b-c"], ["a b", "x" * 65]),
    "control": (["unix:///run/x"], ["tcp://1"]),
    "limit": ([5, -1, ""], ["5k", 0.5]),
    "limit_size": (["2g", "", 7], ["2x"]),
}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_value_that_is_valid_is_one_that_the_reader_takes(kind: str) -> None:
    rule = {"anyOf": [*TYPES[kind], {"$ref": "#/$defs/variable"}]}
    good, bad = EXAMPLES[kind]
    for value in good:
        assert refused(value, rule) == []
        if not (isinstance(value, list) or "circus.env" in str(value)):
            PARSERS[kind](str(value).lower() if isinstance(value, bool) else str(value))
    for value in bad:
        assert refused(value, rule) == [""], value


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("[watcher.w]\nnumprocesses = 'few'", "/watcher/w/numprocesses"),
        ("[watcher.w.stdout_stream]\nmax_bytes = 'ten'", "/watcher/w/stdout_stream/max_bytes"),
        ("[watcher.w.rlimits]\nnofiles = 1", "/watcher/w/rlimits/nofiles"),
        ("[socket.s]\nprot = 1", "/socket/s/prot"),
        ("[circus]\nnam = 1", "/circus/nam"),
        ("[watchers.w]\ncmd = 'x'", "/watchers"),
        ("[env.web]\nA = [1]", "/env/web"),
        ("[plugin.p]\nuse = 1", "/plugin/p/use"),
    ],
)
def test_a_slip_is_refused_in_its_place(text: str, at: str) -> None:
    assert refused(tomllib.loads(text)) == [at]


def test_options_of_ones_own_pass_in_watchers_and_plugins() -> None:
    text = "[watcher.w]\nstats_base_port = 8090\nrlimit_as = '2g'\n[plugin.p]\nuse = 'a.B'\nanything = [1]\n"
    assert refused(tomllib.loads(text)) == []
