"""A program that does what it is told, one JSON line at a time from a FIFO; when the FIFO ends, it ends."""

import json
import os
import sys


def pattern(size: int) -> bytes:
    """Bytes that are different everywhere, the same in the test and here."""
    return b"".join(b"%07d\n" % number for number in range(size // 8 + 1))[:size]


def main() -> None:
    fifo = os.open(sys.argv[1], os.O_RDONLY)
    buffer = b""
    while True:
        line, newline, rest = buffer.partition(b"\n")
        if not newline:
            more = os.read(fifo, 65536)
            if not more:
                os._exit(0)
            buffer += more
            continue
        buffer = rest
        order = json.loads(line)
        if order["do"] in ("write", "pour"):
            data = order["data"].encode("latin-1") if order["do"] == "write" else pattern(order["size"])
            while data:
                data = data[os.write(order["fd"], data) :]
        elif order["do"] == "close":
            os.close(order["fd"])
        elif order["do"] == "exit":
            os._exit(order["status"])
        elif order["do"] == "kill":
            os.kill(os.getpid(), order["signal"])
        elif order["do"] == "leave" and os.fork():
            # A grandchild goes on with the pipes and the FIFO.
            os._exit(order["status"])


if __name__ == "__main__":
    main()
