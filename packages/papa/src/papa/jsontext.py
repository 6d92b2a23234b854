"""JSON: that of the standard library, or a leaner one in the programs of the kernel.

Those are started with ``-I -S`` (papa.places.program), and nothing but papa runs in them.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from papa.lean_json import dumps, loads
elif sys.flags.isolated and sys.flags.no_site:
    try:
        from papa.lean_json import dumps, loads
    except ImportError:
        # Another interpreter than CPython.
        from json import dumps, loads
else:
    from json import dumps, loads

__all__ = ["dumps", "loads"]
