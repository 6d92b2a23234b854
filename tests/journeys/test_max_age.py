"""`max_age`: a process that is too old is followed by another one, also when circusd was away meanwhile."""

from __future__ import annotations

from pathlib import Path

from tests.house import opened, ticker, wait_for

AGING = "use_papa = true\nmax_age = 1\nmax_age_variance = 0\n"


def test_a_process_is_renewed_by_age(tmp_path: Path) -> None:
    with opened(tmp_path / "house", ticker("web", extra=AGING) + ticker("other")) as house:
        house.start()
        for _ in range(2):
            old = wait_for(lambda: house.pids("web"), "its process")
            wait_for(lambda: old.isdisjoint(house.pids("web") or old), "another one")  # noqa: B023
            house.quit()
            house.start()
        assert house.status() == {"web": "active", "other": "active"}
