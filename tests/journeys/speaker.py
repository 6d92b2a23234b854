"""A service for the tests: it says by sd_notify(3) what it is told to say, a line for each, over a pipe in a file.

    speaker.py FILE [connect]

Each line of FILE that comes is one datagram, `;` stands for a line break. With ``connect`` it keeps one connection.
What it has said stands in FILE.said.
"""

from __future__ import annotations

import os
import socket
import sys
import time


def main() -> None:
    path = sys.argv[1]
    door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = os.environ["NOTIFY_SOCKET"]
    if "connect" in sys.argv:
        door.connect(address)
    told = 0
    while True:
        try:
            with open(path) as file:
                lines = file.read().split("\n")[:-1]
        except FileNotFoundError:
            lines = []
        for line in lines[told:]:
            data = line.replace(";", "\n").encode()
            if "connect" in sys.argv:
                door.send(data)
            else:
                door.sendto(data, address)
            told += 1
            with open(path + ".said", "a") as file:
                file.write(f"{os.getpid()} {line}\n")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
