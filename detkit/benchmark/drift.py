"""Whether the machine itself became slower or faster during a benchmark.

A laptop that heats up throttles; another program starts. Contestants that take turns are still
compared fairly, but their absolute numbers then say little, and the reader is told. Pure
arithmetic on costs per round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A trend is told when chance makes one as clear in fewer than 1 of 20 runs ...
_Z = 1.96
# ... and when it is larger than what chance makes of it: both together, fewer than 1 of 50.
_MIN_CHANGE = 0.05
_MIN_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Drift:
    """A trend over the rounds of a run.

    Attributes:
        change: Relative change of the time per image from the first round to the last; 0.2
            means that the machine was 20 % slower at the end.
        is_significant: Whether it is more than chance and more than 5 %.
    """

    change: float
    is_significant: bool

    def __str__(self) -> str:
        if not self.is_significant:
            return "the machine kept its speed"
        word = "slower" if self.change > 0 else "faster"
        cause = "throttling, or other programs" if self.change > 0 else "other programs ended"
        return (
            f"the machine became {abs(self.change):.0%} {word} during the run ({cause}?): "
            "ratios hold, absolute numbers do not"
        )


def find_drift(costs: Sequence[Sequence[float]]) -> Drift:
    """Look for a trend common to all contestants.

    The trend is the Theil-Sen slope (the median of the slopes between all pairs of rounds), its
    significance that of Mann and Kendall's test (H. B. Mann, Econometrica 13, 1945).

    Args:
        costs: For each contestant its cost in every round; infinite where it failed.
    """
    table = np.log(np.array([[c if 0 < c < math.inf else np.nan for c in row] for row in costs]))
    if table.size == 0 or table.shape[1] < _MIN_ROUNDS:
        return Drift(0.0, False)
    table = table[np.isfinite(table).all(axis=1)]  # one that failed now and then tells no trend
    if not len(table):
        return Drift(0.0, False)
    relative = table - np.median(table, axis=1, keepdims=True)
    course = np.median(relative, axis=0)
    n = len(course)
    first, last = np.triu_indices(n, k=1)
    steps = course[last] - course[first]
    change = float(np.expm1(np.median(steps / (last - first)) * (n - 1)))
    score = float(np.sign(steps).sum())
    z = (abs(score) - 1) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return Drift(change, z > _Z and abs(change) > _MIN_CHANGE)
