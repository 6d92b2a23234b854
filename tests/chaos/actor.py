"""What the house plays with: `actor.py KIND NAME`, run alone. Its lines are those of a ticker, and counted as there.

deaf: does not hear TERM. flood: a megabyte a second. brief: a few lines, then an end of its own. forking: each line by
a child, which has a file of truth of its own and is `NAME.by`.
"""

import os
import signal
import struct
import sys
import time

KIND, NAME = sys.argv[1:3]
TRUTH = os.environ["TICKER_TRUTH"]

#: Lines at a time and the pause between two times, seconds.
FLOOD, FLOOD_PAUSE_S = 400, 0.01
BRIEF, BRIEF_PAUSE_S = 5, 0.3

ended = False


def end(_signum, _frame):
    global ended
    ended = True


def count_in(name):
    return os.open(os.path.join(TRUTH, f"{name}.{os.getpid()}"), os.O_RDWR | os.O_CREAT, 0o644)


def write(name, truth, first, count):
    data = "".join(f"{name} {os.getpid()} {number:010d}\n" for number in range(first, first + count)).encode()
    done = 0
    while done < len(data):
        done += os.write(1, data[done:])
        # A flood that is killed may have written a part of it.
        os.pwrite(truth, struct.pack("<Q", first - 1 + data.count(b"\n", 0, done)), 0)


def main():
    signal.signal(signal.SIGTERM, signal.SIG_IGN if KIND == "deaf" else end)
    truth = count_in(NAME)
    number = 1
    while not ended:
        if KIND == "forking":
            pid = os.fork()
            if pid == 0:
                write(f"{NAME}.by", count_in(f"{NAME}.by"), 1, 1)
                os._exit(0)
            os.waitpid(pid, 0)
            time.sleep(0.05)
            continue
        count = FLOOD if KIND == "flood" else 1
        write(NAME, truth, number, count)
        number += count
        time.sleep(FLOOD_PAUSE_S if KIND == "flood" else BRIEF_PAUSE_S if KIND == "brief" else 0.02)
        if KIND == "brief" and number > BRIEF:
            sys.exit(os.getpid() % 3)


main()
