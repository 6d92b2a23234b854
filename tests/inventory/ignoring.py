"""A plugin of pytest: tests run as if circus did not know the option that CIRCUS_IGNORED names.

Here and in every circusd that a test starts: those find ``site/sitecustomize.py`` on their PYTHONPATH.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import machine

from tests import house

SITE = Path(__file__).with_name("site")

#: A fact that has not come by now does not come, and the test is to fail.
PATIENCE_S = 8.0


def pytest_configure() -> None:
    ignored = os.environ["CIRCUS_IGNORED"]
    sys.path.append(str(SITE))
    import ignoring_options

    ignoring_options.install(ignored)
    if ignored != "nothing":
        house.wait_for.__defaults__ = (PATIENCE_S,)
        # One that does not hear where it was told to cannot be shut down in good order.
        house.House.close = lambda self: machine.end(str(self.folder))  # type: ignore[method-assign]
    start = subprocess.Popen.__init__

    def start_ignoring(self: subprocess.Popen[Any], *args: Any, **options: Any) -> None:
        environ = dict(os.environ if options.get("env") is None else options["env"])
        paths = [str(SITE), environ.get("PYTHONPATH", "")]
        options["env"] = {**environ, "CIRCUS_IGNORED": ignored, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        start(self, *args, **options)

    subprocess.Popen.__init__ = start_ignoring  # type: ignore[method-assign]
