"""`python -m papa.server`: the `papa` command under the module name of papa 1.x."""

from __future__ import annotations

import sys

from papa.server import main

if __name__ == "__main__":
    sys.exit(main())
