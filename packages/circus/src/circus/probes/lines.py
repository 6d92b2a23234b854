"""Looking for a line in what a process prints, in the kernel's own files, beside those who write it into logs.

Bytes are looked at when the kernel tells of them and before anybody could acknowledge them, so that none is dropped
before. The end of a long line is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from papa.client.output import Overtaken, StreamFiles

#: Of a line so many bytes are tried: whoever announces readiness does it in a sentence.
MAX_LINE = 4096

CHUNK = 1 << 16


class Lines:
    """``at``: the offsets to begin at. Owns ``files``."""

    def __init__(self, files: StreamFiles, at: Mapping[str, int], regex: str) -> None:
        self._files = files
        self._at = {stream: at.get(stream, 0) for stream in files.streams}
        self._rest = dict.fromkeys(files.streams, b"")
        self._regex = re.compile(regex)

    def go_on_with(self, files: StreamFiles) -> None:
        """The kernel was away, and has given other descriptors."""
        self._files.close()
        self._files = files

    def close(self) -> None:
        self._files.close()

    def look(self) -> bool:
        """Whether a line has come that matches."""
        return any(self._look(stream) for stream in self._files.streams)

    def _look(self, stream: str) -> bool:
        while chunk := self._read(stream):
            *lines, rest = (self._rest[stream] + chunk).split(b"\n")
            self._rest[stream] = rest[:MAX_LINE]
            if any(self._matches(line) for line in lines):
                return True
        return False

    def _read(self, stream: str) -> bytes:
        while True:
            size = min(self._files.head(stream) - self._at[stream], CHUNK)
            if size <= 0:
                return b""
            try:
                chunk = self._files.pread(stream, self._at[stream], size)
            except Overtaken as error:
                self._at[stream], self._rest[stream] = error.new_low, b""
                continue
            self._at[stream] += len(chunk)
            return chunk

    def _matches(self, line: bytes) -> bool:
        return self._regex.search(line[:MAX_LINE].rstrip(b"\r").decode(errors="replace")) is not None
