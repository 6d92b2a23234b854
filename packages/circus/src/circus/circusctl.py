"""Entry of the program circusctl; `python -m circus.circusctl` is the same."""

from __future__ import annotations

from circus.cli.circusctl import main

if __name__ == "__main__":
    raise SystemExit(main())
