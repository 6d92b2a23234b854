"""The effectful kernel: loop, vault, pipes, spawn, sockets, holder. Standard library only."""

from __future__ import annotations

import sys

if sys.flags.isolated and sys.flags.no_site:
    # Nothing but papa runs in such a program (papa.places.program).
    try:
        from papa import lean_modules

        lean_modules.stand_in()
    except ImportError:
        # Another interpreter than CPython.
        pass
