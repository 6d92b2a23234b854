"""How often somebody may do something: buckets that drip, one for each name, in a table with a bound. Pure."""

from __future__ import annotations

from collections import OrderedDict


class Buckets:
    """Each name has ``size`` drops, of which ``rate_s`` come back in a second. The name that was quiet for the longest
    time is forgotten when there are more than ``places``: its bucket is the fullest one."""

    def __init__(self, *, rate_s: float, size: float, places: int) -> None:
        self._rate_s = rate_s
        self._size = size
        self._places = places
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> (drops, when)

    def __len__(self) -> int:
        return len(self._known)

    def take(self, name: str, now: float) -> float:
        """Take a drop. 0: there was one; else the seconds until there is one again."""
        drops, at = self._known.pop(name, (self._size, now))
        drops = min(self._size, drops + max(0.0, now - at) * self._rate_s)
        wait_s = 0.0 if drops >= 1 else (1 - drops) / self._rate_s
        self._known[name] = (drops - 1 if not wait_s else drops, now)
        if len(self._known) > self._places:
            self._known.popitem(last=False)
        return wait_s
