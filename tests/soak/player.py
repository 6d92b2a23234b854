"""A program of the soak: `player.py PART NAME [FD]`. It counts its lines, each afterwards, in a file of
SOAK_TRUTH.

A line is `NAME.BEGUN PID NUMBER`, and BEGUN tells lives with equal pids apart. Run alone, without site-packages.
"""

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


class Player:
    def __init__(self, name):
        self.is_ended = False
        self.ends_us, self.told_us = os.pipe()
        signal.signal(signal.SIGTERM, self.end)
        self.name, self.number = f"{name}.{time.time_ns()}", 0
        truth = os.path.join(os.environ["SOAK_TRUTH"], f"{self.name}.{os.getpid()}")
        # Fails if one life is begun twice.
        self.truth = os.open(truth, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self.say()

    def end(self, _signum, _frame):
        self.is_ended = True
        os.write(self.told_us, b".")

    def say(self):
        self.number += 1
        os.write(1, f"{self.name} {os.getpid()} {self.number}\n".encode())
        os.pwrite(self.truth, struct.pack("<Q", self.number), 0)

    def rest(self, pause_s, *others):
        """Until something comes from ``others`` (True), the end, or the pause is over."""
        ready, _, _ = select.select([self.ends_us, *others], [], [], pause_s)
        return not self.is_ended and bool(ready)

    def talk(self, pause_s):
        while not self.is_ended:
            self.say()
            self.rest(pause_s)

    def fork(self, name):
        """Children that say a line of their own and end."""
        while not self.is_ended:
            self.say()
            child = os.fork()
            if child == 0:
                Player(f"{name}-child")
                os._exit(0)
            os.waitpid(child, 0)
            self.rest(0.5)

    def serve(self, door):
        while not self.is_ended:
            if not self.rest(5, door):
                continue
            with contextlib.suppress(OSError):
                peer, _ = door.accept()  # or another one has taken it
                peer.settimeout(5)
                with peer:
                    peer.recv(4096)
                    peer.sendall(ANSWER)
            self.say()


def main():
    part, name = sys.argv[1:3]
    player = Player(name)
    match part:
        case "talks":
            player.talk(0.02)
        case "murmurs":
            player.talk(0.2)
        case "rests":
            player.talk(10)
        case "forks":
            player.fork(name)
        case "serves":
            door = socket.socket(fileno=int(sys.argv[3]))
            door.setblocking(False)
            player.serve(door)
        case "crashes":
            player.rest(0.3)
            sys.exit(0 if player.is_ended else 1)
    # A job has said its line.


if __name__ == "__main__":
    main()
