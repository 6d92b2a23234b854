"""Whether what was sampled grows: a line through the samples, and how sure one may be of it. Pure.

Neighbouring samples say nearly the same, so they are taken together in blocks, and the error is that of the blocks'
means: it would seem much smaller otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

#: Enough for an error, few enough that each holds many samples.
BLOCKS = 20

#: What may be added in a thousand restarts. An allocator takes and gives memory in steps of some 100 KB, and one step
#: within a run is no leak; 1 MB in two hours of restarts each second would be half of the growth that is told here.
FLAT_KB = 128.0

#: A slope is told from none only beyond so many of its errors.
SURE = 3.0


@dataclass(frozen=True, slots=True)
class Slope:
    """Of y for one unit of x. ``error`` is its standard error; infinite where too little was sampled."""

    slope: float
    error: float

    @property
    def is_known(self) -> bool:
        return math.isfinite(self.error)

    def is_flat(self, bound: float) -> bool:
        """Whether it does not grow beyond ``bound`` for sure."""
        return self.slope - SURE * self.error <= bound if self.is_known else True


def fit(xs: Sequence[float], ys: Sequence[float]) -> Slope:
    """The line of least squares through the means of blocks."""
    size = max(1, len(xs) // BLOCKS)
    places = range(0, len(xs) - size + 1, size)
    mean_xs = [fmean(xs[at : at + size]) for at in places]
    mean_ys = [fmean(ys[at : at + size]) for at in places]
    if len(mean_xs) < 3 or max(mean_xs) == min(mean_xs):
        return Slope(0.0, math.inf)
    middle_x, middle_y = fmean(mean_xs), fmean(mean_ys)
    spread = sum((x - middle_x) ** 2 for x in mean_xs)
    slope = sum((x - middle_x) * (y - middle_y) for x, y in zip(mean_xs, mean_ys, strict=True)) / spread
    rest = sum((y - middle_y - slope * (x - middle_x)) ** 2 for x, y in zip(mean_xs, mean_ys, strict=True))
    return Slope(slope, math.sqrt(rest / (len(mean_xs) - 2) / spread))
