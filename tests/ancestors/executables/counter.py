"""Counts, one number a line, until it is interrupted."""

import itertools
import time

try:
    for number in itertools.count():
        print(number, flush=True)
        time.sleep(0.01)
except KeyboardInterrupt:
    pass
