"""Entry of the program circusd; `python -m circus.circusd` is the same.

As PID 1 in a container, and in the background, there is a warden, which starts the circusd proper.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    from circus import warden

    argv = [sys.executable, *sys.orig_argv[1:]]
    if os.getpid() == 1:
        warden.become(argv)
    # Neither the warden nor whoever waits for it needs more.
    from circus import upgrade
    from circus.daemon import detach

    if detach.is_wanted(sys.argv[1:]) and upgrade.REHEARSAL not in os.environ:
        if warden.VARIABLE not in os.environ:
            detach.start(argv)
        # Also what cannot be imported any more is said.
        detach.complain_to_log(os.environ.get(warden.KEPT, ""))
    from circus.daemon.main import main as run

    run()


if __name__ == "__main__":
    main()
