"""The sockets of a fake kernel, as whoever waits for a connection sees them: readable while somebody is there."""

from __future__ import annotations

import os


class Doors:
    """By the sockets' numbers; each is an eventfd, which is readable while its count is not zero."""

    def __init__(self) -> None:
        self._fds: dict[int, int] = {}

    def of(self, number: int) -> int:
        """The descriptor, which stays ours."""
        if number not in self._fds:
            self._fds[number] = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return self._fds[number]

    def knock(self, number: int) -> None:
        os.eventfd_write(self.of(number), 1)

    def answer(self, number: int) -> None:
        """Nobody waits any more."""
        try:
            os.eventfd_read(self.of(number))
        except BlockingIOError:
            pass  # nobody waited

    def remove(self, number: int) -> None:
        fd = self._fds.pop(number, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        for number in list(self._fds):
            self.remove(number)
