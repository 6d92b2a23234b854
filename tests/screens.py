"""A terminal whose other end a test reads."""

from __future__ import annotations

import codecs
import contextlib
import os
import pty


class Screen:
    """What is drawn at a terminal, as it comes."""

    def __init__(self) -> None:
        self._leader, self.end = pty.openpty()
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a letter

    def read(self) -> bool:
        """More of it; False when nobody can draw any more."""
        try:
            data = os.read(self._leader, 65536)
        except OSError:
            return False
        self.text += self._decoder.decode(data)
        return bool(data)

    def until(self, text: str) -> None:
        while text not in self.text:
            assert self.read(), self.text

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._leader, self.end):
            with contextlib.suppress(OSError):
                os.close(descriptor)
