"""`make counts`: what each order costs, beside its budget; with --renew, the budgets become what was counted."""

from __future__ import annotations

import argparse
import sys

from tests.counts import budget, measure, pages


def main() -> int:
    parser = argparse.ArgumentParser(prog="make counts COUNTS_ARGS=", description=__doc__)
    parser.add_argument("--renew", action="store_true", help="write budgets.toml and the table in docs/performance.md")
    parser.add_argument("--only", choices=measure.KINDS, help="one kind of counts")
    options = parser.parse_args()
    status = 0
    for kind in [options.only] if options.only else measure.KINDS:
        counts = measure.measured(kind)
        for verdict in budget.judge(pages.budgets(pages.python()), counts):
            mark = "OVER  " if verdict.is_over else "under " if verdict.is_under else "      "
            print(f"{mark}{verdict.line}", flush=True)
            status |= verdict.is_over
        if options.renew:
            pages.renew(counts)
    return 0 if options.renew else status


if __name__ == "__main__":
    sys.exit(main())
