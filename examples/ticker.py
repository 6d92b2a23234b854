"""Prints a numbered line fifty times a second: `NAME PID NUMBER`.

With TICKER_TRUTH set to a directory it also keeps there, in NAME.PID, how many lines it has written, so that
a demo or a test can count what arrived.
"""

import os
import signal
import struct
import sys
import time

name, pid = sys.argv[1], os.getpid()
interval_s = float(os.environ.get("TICKER_INTERVAL_S", "0.02"))
truth = os.environ.get("TICKER_TRUTH")
counter = os.open(os.path.join(truth, f"{name}.{pid}"), os.O_RDWR | os.O_CREAT, 0o644) if truth else None

ended = False


def end(_signum, _frame):
    global ended
    ended = True


signal.signal(signal.SIGTERM, end)

number = 0
while not ended:
    number += 1
    os.write(1, f"{name} {pid} {number}\n".encode())
    if counter is not None:
        os.pwrite(counter, struct.pack("<Q", number), 0)
    time.sleep(interval_s)
