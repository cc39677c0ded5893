"""Whether a series is flat: the Theil-Sen slope over its second half, which a few wild samples (a restart, a collection) do not move."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf
from statistics import median


@dataclass(frozen=True, slots=True)
class Trend:
    """`growth`: what the series gains, by its slope, in as long as the second half took, as a part of its median there.

    `rise`: by how much it was higher in the second half than ever in the first, in its own unit.
    """

    level: float
    growth: float
    rise: float = inf

    def is_flat(self, tolerance: float, floor: float = 0) -> bool:
        """Whether it grows by no more than the tolerance, or by no more than `floor` in its own unit; falling is fine.

        What only comes back to where it was, as after a restart, does not grow, however steep that is.
        """
        whole = self.level or 1  # of a series that is nothing, `growth` is what it gains
        return min(self.growth * whole, self.rise) <= max(tolerance * whole, floor)


def trend(samples: Sequence[tuple[float, float]]) -> Trend | None:
    """Of `(seconds, value)` samples. None: fewer than ten, of which nothing can be said."""
    if len(samples) < 10:
        return None
    before, half = samples[: len(samples) // 2], samples[len(samples) // 2 :]
    slopes = [(later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in combinations(half, 2) if later[0] > earlier[0]]
    level = median(value for _, value in half)
    gained = median(slopes) * (half[-1][0] - half[0][0])
    rise = max(value for _, value in half) - max(value for _, value in before)
    return Trend(level, gained / level if level else gained, rise)
