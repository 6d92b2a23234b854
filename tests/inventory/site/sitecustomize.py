"""Found by every Python that a test of `make inventory` starts: circusd and circusctl ignore an option, too."""

import os
import sys

if os.environ.get("CIRCUS_IGNORED") and any("circus" in word for word in sys.orig_argv[:4]):
    import ignoring_options

    ignoring_options.install(os.environ["CIRCUS_IGNORED"])
