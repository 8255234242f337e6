"""How sure a number is: medians, percentiles and bootstrap intervals.

Pure arithmetic on numpy arrays; the source of randomness is an argument. Knows no round, no
detector and no clock.

The interval is the percentile bootstrap, widened for small samples as in T. Hesterberg, "What
Teachers Should Know About the Bootstrap" (The American Statistician 69, 2015, section 5.2): the
tail is Phi(-sqrt(n / (n - 1)) t) in place of alpha / 2, where t is the Student quantile with
n - 1 degrees of freedom. The statistic is the median, which the odd slow round does not move.

The bootstrap takes rounds as independent. Those of one run are not: a machine that is slow now is
slow in the next round too. Pairing takes that out; without pairs the interval is widened by
`inflation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

# The bootstrap's own error in a quantile is then below a tenth of the interval's length.
RESAMPLES = 2000
# A verdict at 95 % would be wrong once in twenty by construction; at 99 % two copies of the same
# contestant are found different in fewer than 2 of 100 trials from `MIN_ROUNDS` rounds on.
VERDICT_CONFIDENCE = 0.99
# Below eight rounds even the widened interval of a median is too short (6 % wrong with five).
MIN_ROUNDS = 8
# Beyond it so short a series says nothing but that the machine was not the same all along.
_MAX_CORRELATION = 0.9

Numbers = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and where it may lie.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end; with `low` NaN where one number alone was measured.
        confidence: How often an interval made this way holds the true value.
    """

    value: float
    low: float
    high: float
    confidence: float = 0.95

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    def scaled(self, factor: float) -> Interval:
        """The same in other units."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Interval(self.value * factor, low, high, self.confidence)

    def text(self, digits: int = 2, unit: str = "") -> str:
        """For people: `1.02x [0.98, 1.06]`."""
        value = f"{self.value:.{digits}f}{unit}"
        if math.isnan(self.low):
            return value
        return f"{value} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def as_json(self) -> list[float | None]:
        """`[value, low, high]`, rounded to six significant digits; None for NaN."""
        ends = (self.value, self.low, self.high)
        return [None if math.isnan(number) else float(f"{number:.6g}") for number in ends]

    @classmethod
    def from_json(cls, numbers: Sequence[float | None]) -> Interval:
        """The interval that `as_json` described."""
        return cls(*(math.nan if number is None else number for number in numbers))


def percentile(values: Numbers, rank: float) -> float:
    """The nearest-rank percentile, so always a value that occurred; NaN of nothing.

    Args:
        values: In any order.
        rank: In [0, 1]; 0.99 for the 99th percentile.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    if ordered.size == 0:
        return math.nan
    return float(ordered[max(0, math.ceil(rank * ordered.size - 1e-9) - 1)])


def median_interval(
    values: Numbers, rng: np.random.Generator, confidence: float = 0.95
) -> Interval:
    """The median of `values` with its bootstrap interval.

    Raises:
        ValueError: If there are no values.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0:
        raise ValueError("there is no median of no values")
    middle = float(np.median(sample))
    if sample.size == 1:
        return Interval(middle, math.nan, math.nan, confidence)
    medians = np.median(_resampled(sample, rng), axis=1)
    return Interval(middle, *_ends(medians, sample.size, confidence), confidence)


def ratio_interval(
    above: Numbers,
    below: Numbers,
    rng: np.random.Generator,
    *,
    paired: bool,
    confidence: float = VERDICT_CONFIDENCE,
) -> Interval:
    """How many times `above` is `below`, by medians of logarithms.

    Args:
        above: Positive numbers, one per round.
        below: The same of the other.
        rng: Source of the resamples.
        paired: Whether equal positions come from the same round. Then what slows both (another
            program, a hot processor) cancels out; otherwise each side is resampled by itself,
            and the interval is widened for rounds that resemble their neighbours.
        confidence: Of the interval.

    Raises:
        ValueError: If one is empty, or they are paired and of different lengths.
    """
    upper, lower = np.log(np.asarray(above, float)), np.log(np.asarray(below, float))
    if upper.size == 0 or lower.size == 0:
        raise ValueError("a ratio needs at least one round of both")
    if paired:
        if upper.size != lower.size:
            raise ValueError(f"paired rounds must be as many: {upper.size} and {lower.size}")
        logs = median_interval(upper - lower, rng, confidence)
        low, high = math.exp(logs.low), math.exp(logs.high)
        return Interval(math.exp(logs.value), low, high, confidence)
    value = math.exp(np.median(upper) - np.median(lower))
    if min(upper.size, lower.size) == 1:
        return Interval(value, math.nan, math.nan, confidence)
    differences = np.median(_resampled(upper, rng), axis=1) - np.median(
        _resampled(lower, rng), axis=1
    )
    low, high = _ends(differences, min(upper.size, lower.size), confidence)
    middle, wider = math.log(value), max(inflation(upper), inflation(lower))
    low, high = (math.exp(middle + wider * (end - middle)) for end in (low, high))
    return Interval(value, low, high, confidence)


def inflation(values: Numbers) -> float:
    """How many times wider an interval must be as values resemble those before them; at least 1.

    With a correlation `r` from one value to the next, `n` values are worth `n (1 - r) / (1 + r)`
    independent ones (G. V. Bayley and J. M. Hammersley, Journal of the Royal Statistical Society
    Supplement 8, 1946). In short series `r` comes out too small by `(1 + 3 r) / n` (M. G. Kendall,
    Biometrika 41, 1954), which is put back; single slow rounds are cut off at three deviations.
    """
    sample = np.asarray(values, dtype=float)
    offsets = sample - np.median(sample)
    reach = 3 * 1.4826 * float(np.median(np.abs(offsets)))
    offsets = np.clip(offsets, -reach, reach)
    offsets -= offsets.mean()
    total = float(np.sum(offsets**2))
    if total == 0:
        return 1.0
    seen = float(np.sum(offsets[1:] * offsets[:-1])) / total
    correlation = min(_MAX_CORRELATION, max(0.0, seen + (1 + 3 * seen) / sample.size))
    return math.sqrt((1 + correlation) / (1 - correlation))


def _resampled(
    sample: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    picks = rng.integers(0, sample.size, (RESAMPLES, sample.size))
    resampled: npt.NDArray[np.float64] = sample[picks]
    return resampled


def _ends(statistics: npt.NDArray[np.float64], n: int, confidence: float) -> tuple[float, float]:
    t = student_quantile((1 + confidence) / 2, n - 1)
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * t)
    low, high = np.quantile(statistics, (tail, 1 - tail))
    return float(low), float(high)


def student_quantile(probability: float, degrees: int) -> float:
    """The Student t value below which `probability` (at least 0.5) of the distribution lies.

    Found by halving an interval on the distribution function.
    """
    low, high = 0.0, 1.0
    while _student_cdf(high, degrees) < probability:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _student_cdf(t: float, degrees: int) -> float:
    """Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4; t >= 0."""
    theta = math.atan(t / math.sqrt(degrees))
    cos2 = math.cos(theta) ** 2
    if degrees % 2:
        inside, term = theta, math.sin(theta) * math.cos(theta)
        for k in range(1, (degrees - 1) // 2 + 1):
            inside += term
            term *= cos2 * 2 * k / (2 * k + 1)
        return 0.5 + inside / math.pi
    total, term = 0.0, 1.0
    for k in range(degrees // 2):
        total += term
        term *= cos2 * (2 * k + 1) / (2 * k + 2)
    return 0.5 + math.sin(theta) * total / 2
