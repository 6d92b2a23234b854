"""Entry of the program circusd; `python -m circus.circusd` is the same.

As PID 1, in a container, it is the warden that starts the circusd proper.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    if os.getpid() == 1:
        from circus import warden

        sys.exit(warden.run([sys.executable, *sys.orig_argv[1:]]))
    # The warden needs none of it.
    from circus.daemon.main import main as run

    run()


if __name__ == "__main__":
    main()
