"""A service of the stack: writes a line ten times a second until it is told INT.

Each line bears its number and the time at which it was written. What is wrong goes to standard error.
"""

import signal
import sys
import threading
import time


def run():
    ended = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    number = 0
    while not ended.wait(0.1):
        number += 1
        print(f"{number} {time.time():.3f}", flush=True)
        if number % 10 == 0:
            print(f"logger: {number} lines so far", file=sys.stderr, flush=True)
    print("logger: told to stop", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] != ["run"]:
        sys.exit("usage: logger.py run")
    run()
