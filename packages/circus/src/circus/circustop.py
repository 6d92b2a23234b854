"""Entry of the program circus-top; `python -m circus.circustop` is the same."""

from __future__ import annotations

from circus.tui.program import main

if __name__ == "__main__":
    raise SystemExit(main())
