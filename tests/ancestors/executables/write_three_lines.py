"""Three lines on standard output, each at a time of its own, and one word on standard error with the last."""

import sys
import time

LINES = (
    "Version: " + sys.version.partition(" ")[0],
    "Executable: " + sys.executable,
    "Args: " + " ".join(sys.argv[1:]),
)

for number, line in enumerate(LINES):
    if number:
        # The test that reads this takes what comes within 50 ms for one.
        time.sleep(0.1)
    print(line, flush=True)
sys.stderr.write("done")
