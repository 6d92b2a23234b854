"""The reference page says what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.config import options, reference

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "configuration.md"


def test_the_page_in_the_repository_has_not_drifted() -> None:
    assert PAGE.read_text() == reference.page(), "make it anew: make reference"


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
