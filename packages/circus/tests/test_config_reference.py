"""The reference page says what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.config import options, reference, tables

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "configuration.md"


def test_the_page_in_the_repository_has_not_drifted() -> None:
    assert PAGE.read_text() == reference.page(), "make it anew: make reference"


@pytest.mark.parametrize("page", sorted(PAGE.parents[1].glob("*.md")), ids=lambda page: page.stem)
def test_the_tables_on_the_other_pages_have_not_drifted(page: Path, tmp_path: Path) -> None:
    copy = tmp_path / page.name
    copy.write_text(page.read_text())
    tables.main([str(copy)])
    assert copy.read_text() == page.read_text(), "make them anew: make reference"


def test_a_table_has_single_options_and_whole_families() -> None:
    begin, end = "<!-- options: soak backoff.* flapping.window -->\n", "<!-- end of options -->\n"
    filled = tables.filled(f"before\n{begin}old\n{end}after\n")
    assert filled.startswith(f"before\n{begin}| option |") and filled.endswith(f"|\n{end}after\n")
    rows = [line.split("`")[1] for line in filled.splitlines() if line.startswith("| `")]
    assert rows == ["soak", *(f"backoff.{key}" for key in options.FAMILIES["backoff"]), "flapping.window"]
    assert tables.filled(filled) == filled


@pytest.mark.parametrize(
    "table", [options.CIRCUS, options.WATCHER, options.STREAM, *options.FAMILIES.values(), options.SOCKET]
)  # fmt: skip
def test_every_option_is_on_the_page(table: dict[str, options.Option]) -> None:
    page = reference.page()
    assert [name for name in table if f"`{name}` |" not in page] == []


def test_the_page_is_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference.main([])
    assert capsys.readouterr().out == reference.page()
    reference.main([str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text() == reference.page()
