"""The text language, for eyes: output as dated lines, and what a terminal must not be made to do.

The one idea: a page takes what a process wrote in pieces as they arrived, and gives whole lines back, each with
its time and its process in front. A line that has no end yet waits, for a bounded time that the caller knows and
in a bounded amount that is kept here; what goes on after it was shown is marked with ``+`` instead of ``|``.

    --- 2026-11-21 CET
    18:03:07.512 web    out| listening on 8080
    18:03:09.020 worker exited with 3

Time and the names of signals are the system's: the caller hands in who knows them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

#: A longer line is shown in pieces: it is held in the kernel's memory until its end comes.
MAX_LINE = 2048
#: All lines without an end that one page holds; beyond it all are shown as they are.
MAX_WAITING = 256 * 1024
#: Names are shown in a column no wider than this; a longer name pushes its own line to the right.
MAX_COLUMN = 24


class Page:
    """Renders for one person. Entries come in the order in which they shall be read; ``take`` gives their text."""

    __slots__ = ("_date", "_is_going_on", "_local_time", "_second", "_shown", "_signal_name", "_size", "_time",
                 "_waiting", "_waiting_bytes", "_width")  # fmt: skip

    def __init__(
        self, names: Iterable[str], local_time: Callable[[float], Any], signal_name: Callable[[int], str]
    ) -> None:
        """``local_time`` is time.localtime or its like; ``signal_name`` gives "" for a signal without a name."""
        self._local_time = local_time
        self._signal_name = signal_name
        self._width = min(MAX_COLUMN, max(map(len, names), default=0))
        self._date = ""
        self._second = -1
        self._time = ""
        self._shown: list[str] = []
        self._size = 0
        #: (name, stream): when the line began, and its bytes so far.
        self._waiting: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._waiting_bytes = 0
        #: (name, stream): of whose line a first piece was shown.
        self._is_going_on: set[tuple[str, str]] = set()

    def pack(self) -> dict[str, Any]:
        """What has no end yet, for another one's unpack(); what was not taken is not in it."""
        return {
            "width": self._width,
            "date": self._date,
            "waiting": [[*key, ns, data.decode("latin-1")] for key, (ns, data) in self._waiting.items()],
            "going_on": sorted(self._is_going_on),
        }

    def unpack(self, packed: dict[str, Any]) -> None:
        self._width, self._date = packed["width"], packed["date"]
        self._is_going_on = {(name, stream) for name, stream in packed["going_on"]}
        for name, stream, ns, data in packed["waiting"]:
            self._waiting[name, stream] = ns, data.encode("latin-1")
            self._waiting_bytes += len(data)

    @property
    def size(self) -> int:
        """Characters that ``take`` would give."""
        return self._size

    @property
    def has_waiting(self) -> bool:
        """Some line has no end yet."""
        return bool(self._waiting)

    def take(self) -> bytes:
        text, self._shown, self._size = "".join(self._shown), [], 0
        return text.encode("utf-8")

    def output(self, name: str, stream: str, wall_ns: int, data: bytes) -> None:
        """*data* of ``out`` or ``err`` arrived at *wall_ns*."""
        key = name, stream
        began_ns, before = self._forget(key)
        lines = (before + data).split(b"\n")
        rest = lines.pop()
        for line in lines:
            self._line(key, began_ns or wall_ns, line.removesuffix(b"\r"), is_whole=True)
            began_ns = 0
        began_ns = began_ns or wall_ns
        while len(rest) > MAX_LINE:
            size = _cut(rest)
            self._line(key, began_ns, rest[:size], is_whole=False)
            rest, began_ns = rest[size:], wall_ns
        if rest:
            self._waiting[key] = began_ns, rest
            self._waiting_bytes += len(rest)
        if self._waiting_bytes > MAX_WAITING:
            self.show_waiting()

    def missed(self, name: str, stream: str, wall_ns: int, *, dropped: int, passed: int) -> None:
        """Bytes lie between what was shown and what comes: dropped by a bound, or taken by another client."""
        self._show_waiting((name, stream))
        if dropped:
            self._row(name, wall_ns, f"{stream}- {dropped} bytes were dropped: nobody had acknowledged them in time")
        if passed:
            self._row(name, wall_ns, f"{stream}- {passed} bytes went by: another client had acknowledged them")
        self._is_going_on.discard((name, stream))

    def ended(self, name: str, wall_ns: int, status: int | None) -> None:
        """The process ended with *status*: negative for a signal, None when nobody knows."""
        self._show_all_of(name)
        if status is None:
            self._row(name, wall_ns, "ended, nobody knows how")
        elif status < 0:
            self._row(name, wall_ns, f"was killed by {self._signal(-status)}")
        else:
            self._row(name, wall_ns, f"exited with {status}")

    def gone(self, name: str, wall_ns: int) -> None:
        """The kernel has nothing of it any more."""
        self._show_all_of(name)
        self._row(name, wall_ns, "is no longer hosted")

    def show_waiting(self) -> None:
        """Shows lines that have no end yet as far as they have come."""
        for key in list(self._waiting):
            self._show_waiting(key)

    def _show_all_of(self, name: str) -> None:
        for stream in ("out", "err"):
            self._show_waiting((name, stream))
            self._is_going_on.discard((name, stream))

    def _show_waiting(self, key: tuple[str, str]) -> None:
        began_ns, data = self._forget(key)
        if data:
            self._line(key, began_ns, data, is_whole=False)

    def _forget(self, key: tuple[str, str]) -> tuple[int, bytes]:
        began_ns, data = self._waiting.pop(key, (0, b""))
        self._waiting_bytes -= len(data)
        return began_ns, data

    def _line(self, key: tuple[str, str], wall_ns: int, data: bytes, *, is_whole: bool) -> None:
        while True:
            is_last = len(data) <= MAX_LINE
            size = len(data) if is_last else _cut(data)
            name, stream = key
            mark = "+" if key in self._is_going_on else "|"
            text = harmless(data[:size].decode("utf-8", "backslashreplace"))
            self._row(name, wall_ns, f"{stream}{mark} {text}")
            if is_last and is_whole:
                self._is_going_on.discard(key)
                return
            self._is_going_on.add(key)
            if is_last:
                return
            data = data[size:]

    def _row(self, name: str, wall_ns: int, text: str) -> None:
        second, part_ns = divmod(wall_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            at = self._local_time(second)
            self._time = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
            date = f"{at.tm_year}-{at.tm_mon:02}-{at.tm_mday:02} {at.tm_zone}"
            if date != self._date:
                self._date = date
                self._add(f"--- {date}\n")
        self._add(f"{self._time}.{part_ns // 1_000_000:03} {name:<{self._width}} {text}\n")

    def _add(self, text: str) -> None:
        self._shown.append(text)
        self._size += len(text)

    def _signal(self, number: int) -> str:
        name = self._signal_name(number)
        return f"{name} ({number})" if name else f"signal {number}"


def harmless(text: str) -> str:
    """*text* as a terminal may be given it: whatever it would act upon, but a tab, is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in text)


def _cut(data: bytes) -> int:
    """Where to cut a line that is too long: not within a letter of UTF-8."""
    for size in range(MAX_LINE, MAX_LINE - 4, -1):
        if data[size] & 0xC0 != 0x80:
            return size
    return MAX_LINE
