from __future__ import annotations

from pathlib import Path

from circus.control import apipage
from circus.control.catalog import OPERATIONS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "api.md"


def test_the_page_in_the_repository_is_the_one_that_is_made() -> None:
    assert PAGE.read_text() == apipage.page(), "make it anew: make reference"


def test_each_operation_stands_on_the_page_with_its_right_and_what_it_takes() -> None:
    page = apipage.page()
    for operation in OPERATIONS:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{operation.method} {operation.path}` |")]
        assert f"| {operation.verb}" in row
    (logs,) = [line for line in page.splitlines() if "{name}/logs" in line]
    assert logs.endswith("`follow`, `since`, `until`, `contains`, `stream`, `instance`, `limit`, `cursor`, `order`, "
                         "`around_exit`, Last-Event-ID |")  # fmt: skip
    assert "| `POST /v1/quit` | circusd leaves; what uses papa stays | quit* (admin) | `wait`, `tag` |" in page
