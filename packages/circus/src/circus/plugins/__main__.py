"""`python -m circus.plugins`: the process of a plugin."""

from __future__ import annotations

from circus.plugins.host import main

if __name__ == "__main__":
    raise SystemExit(main())
