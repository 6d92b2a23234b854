"""The syntax of INI files, includes, and that every key knows its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.config import read
from circus.config.read import Document, parse_ini


def _values(text: str) -> dict[str, dict[str, str]]:
    sections, findings = parse_ini(text, "f.ini")
    assert findings == []
    merged: dict[str, dict[str, str]] = {}
    for section in sections:
        for key, entry in section.entries.items():
            merged.setdefault(section.name, {}).setdefault(key, entry.value)
    return merged


def _read(tmp_path: Path, files: dict[str, str], environ: dict[str, str] | None = None) -> Document:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read.read(str(tmp_path / "main.ini"), environ or {})


def _told(document: Document) -> list[str]:
    return [str(each).replace(os.path.dirname(document.path) + "/", "") for each in document.findings]


def test_keys_are_case_sensitive_and_end_at_the_first_separator() -> None:
    assert _values("[a]\nKey: one = 1\nkey=two: 2\n") == {"a": {"Key": "one = 1", "key": "two: 2"}}


def test_a_percent_sign_means_nothing() -> None:
    assert _values("[a]\nx = %(y)s 100%\n") == {"a": {"x": "%(y)s 100%"}}


def test_comments_begin_in_the_first_column() -> None:
    text = "# one\n; two\nrem three = 3\nREM\n[a]\n#x = 1\nx = 2\nremote = 3\n"
    assert _values(text) == {"a": {"x": "2", "remote": "3"}}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("run ; note", "run"),
        ("run\t;note", "run"),
        ("; note", ""),
        ("run;now", "run;now"),
        ("run a;b   ; note", "run a;b   ; note"),
        ("run # no note", "run # no note"),
        ('""', ""),
        ('"quoted"', '"quoted"'),
    ],
)
def test_only_the_first_semicolon_begins_a_comment(written: str, value: str) -> None:
    assert _values(f"[a]\nx = {written}\n") == {"a": {"x": value}}


def test_an_indented_line_continues_the_value_over_blank_lines_and_comments() -> None:
    text = "[a]\nx = one\n\n# left out\n  two ; kept\n\t# kept\ny = 1\n"
    assert _values(text) == {"a": {"x": "one\ntwo ; kept\n# kept", "y": "1"}}


def test_a_value_may_begin_on_the_next_line() -> None:
    assert _values("[a]\nx =\n  one\n  two\n") == {"a": {"x": "one\ntwo"}}


def test_lines_may_end_like_those_of_windows_and_a_file_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "main.ini").write_bytes(b"\xef\xbb\xbf[a]\r\nx = 1\r\n")
    document = read.read(str(tmp_path / "main.ini"), {})
    assert document.findings == []
    assert document.texts("a") == {"x": "1"}


def test_every_key_knows_its_line() -> None:
    sections, _ = parse_ini("\n[a]\n\nx = 1\n y\nz = 2\n", "f.ini")
    assert (sections[0].line, sections[0].entries["x"].line, sections[0].entries["z"].line) == (2, 4, 6)
    assert sections[0].entries["x"].more == [(5, "y")]


def test_all_faults_of_the_syntax_are_found() -> None:
    text = "early = 1\n[a]\n  nothing above\nno separator\nx = 1\n[open\n dark\ny = 1\nz\n[b]\nz = 2\n"
    sections, findings = parse_ini(text, "f.ini")
    assert [(each.line, each.severity) for each in findings] == [(n, "error") for n in (1, 3, 4, 6)]
    assert all(each.hint for each in findings)
    assert [list(section.entries) for section in sections] == [["x"], ["z"]]


@given(st.text(alphabet=st.sampled_from('ab =:;#[]\n\t "r\rem%é'), max_size=200))
def test_no_text_ends_the_reading(text: str) -> None:
    sections, findings = parse_ini(text, "f.ini")
    last = text.count("\n") + 1
    places = [each.line for each in findings] + [entry.line for each in sections for entry in each.entries.values()]
    assert all(1 <= line <= last for line in places)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,10}", fullmatch=True).filter(lambda key: key.lower() != "rem"),
        st.text(alphabet=st.characters(exclude_characters=";\n\r\0", codec="utf-8"), max_size=30),
    )
)
def test_what_is_written_is_read(options: dict[str, str]) -> None:
    text = "[a]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())
    wanted = {key: "" if value.strip() == '""' else value.strip() for key, value in options.items()}
    assert _values(text).get("a", {}) == wanted


def test_sections_that_occur_twice_are_one_and_the_first_value_counts(tmp_path: Path) -> None:
    document = _read(tmp_path, {"main.ini": "[a]\nx = 1\nx = 2\ny = 1\n[b]\n[a]\nx = 1\ny = 2\nz = 3\n"})
    assert document.texts("a") == {"x": "1", "y": "1", "z": "3"}
    assert _told(document) == [
        "main.ini:3: [a] x is given twice; the first counts (that is main.ini:2; remove one of them)",
        "main.ini:8: [a] y is given twice; the first counts (that is main.ini:4; remove one of them)",
    ]
    assert {each.severity for each in document.findings} == {"warning"}


def test_defaults_are_kept_apart(tmp_path: Path) -> None:
    document = _read(tmp_path, {"main.ini": "[DEFAULT]\nx = 1\n[a]\ny = 2\n"})
    assert list(document.sections) == ["a"]
    assert document.defaults["x"].value == "1"


def test_patterns_of_include_start_at_the_main_file_and_are_sorted(tmp_path: Path) -> None:
    files = {
        "main.ini": "[circus]\ninclude = d/*.ini\n  one.ini\ninclude_dir = more\n[x]\nk = main\n",
        "d/b.ini": "[x]\nfrom_b = 1\nk = b\nshared = b\n",
        "d/a.ini": "[x]\nfrom_a = 1\nshared = a\n",
        "one.ini": "[one]\nk = 1\n",
        "more/z.ini": "[z]\nk = 1\n",
        "more/z.txt": "[no]\nk = 1\n",
        "more/deep/y.ini": "[no]\nk = 1\n",
    }
    document = _read(tmp_path, files)
    assert document.texts("x") == {"k": "main", "from_a": "1", "from_b": "1", "shared": "a"}
    assert "one" in document.sections and "z" in document.sections and "no" not in document.sections
    assert document.sections["x"].entries["from_a"].file == str(tmp_path / "d" / "a.ini")


def test_a_pattern_without_a_match_is_a_warning(tmp_path: Path) -> None:
    document = _read(tmp_path, {"main.ini": "[circus]\nname = x\ninclude = none/*.ini\n"})
    assert _told(document)[0].startswith("main.ini:3: [circus] include: nothing matches none/*.ini")
    assert document.findings[0].severity == "warning"


def test_include_may_name_variables(tmp_path: Path) -> None:
    main = "[env]\nA = d\n[circus]\ninclude = $(circus.env.A)/*.ini $(circus.env.B).ini\n"
    document = _read(tmp_path, {"main.ini": main, "d/x.ini": "[x]\na = 1\n", "y.ini": "[y]\na = 1\n"}, {"B": "y"})
    assert document.findings == []
    assert {"x", "y"} <= document.sections.keys()


def test_a_file_that_includes_itself_or_one_twice_is_read_once(tmp_path: Path) -> None:
    main = "[circus]\ninclude = *.ini other.ini\n[a]\nx = 1\n"
    document = _read(tmp_path, {"main.ini": main, "other.ini": "[circus]\ninclude = more/*\n[b]\nx = 1\nno\n"})
    assert [told.partition(" ")[0] for told in _told(document)] == ["other.ini:5:"]
    assert set(document.sections) == {"circus", "a", "b"}


def test_an_included_file_gives_circus_only_what_the_main_file_lacks(tmp_path: Path) -> None:
    main = "[circus]\ninclude = o.ini\nloglevel = debug\n"
    document = _read(tmp_path, {"main.ini": main, "o.ini": "[circus]\nloglevel = error\npidfile = p\n"})
    assert document.texts("circus") == {"include": "o.ini", "loglevel": "debug", "pidfile": "p"}


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_FILES", 2)
    files = {f"d/{n}.ini": f"[s{n}]\na = 1\n" for n in range(3)}
    document = _read(tmp_path, {"main.ini": "[circus]\ninclude = d/*\n", **files})
    assert "3 files, more than 2" in document.findings[0].what
    assert set(document.sections) == {"circus", "s0", "s1"}


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = read.read(str(tmp_path / "none.ini"), {})
    assert "none.ini does not exist" in str(missing.findings[0])
    (tmp_path / "latin.ini").write_bytes(b"[a]\nx = \xe9\n")
    assert str(read.read(str(tmp_path / "latin.ini"), {}).findings[0]).startswith(f"{tmp_path}/latin.ini:2: ")
    (tmp_path / "nul.ini").write_bytes(b"[a]\n\nx = \0\n")
    assert str(read.read(str(tmp_path / "nul.ini"), {}).findings[0]).startswith(f"{tmp_path}/nul.ini:3: ")
    monkeypatch.setattr(read, "MAX_FILE_BYTES", 3)
    assert "larger than" in read.read(str(tmp_path / "nul.ini"), {}).findings[0].what


def test_an_include_that_cannot_be_read_is_blamed_on_the_line_that_names_it(tmp_path: Path) -> None:
    document = _read(tmp_path, {"main.ini": "[circus]\n\ninclude = d\n", "d/x": ""})
    assert _told(document)[0].startswith("main.ini:3: the configuration file d cannot be read: Is a directory")
