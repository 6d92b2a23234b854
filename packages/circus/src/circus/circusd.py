"""Entry of the program circusd; `python -m circus.circusd` is the same."""

from __future__ import annotations

from circus.daemon.main import main

if __name__ == "__main__":
    main()
