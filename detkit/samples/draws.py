"""Random draws that stay the same for ever: the only source of chance in `detkit.samples`.

Owns the mapping from a seed to numbers. It stands on `numpy.random.RandomState`, whose streams
NumPy has frozen (NEP 19), and uses only its uniform and normal doubles, so that a seed gives
the same scene under any NumPy. Knows nothing of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from detkit.errors import UnsupportedSettingError

T = TypeVar("T")

_WORD = 0xFFFFFFFF


class Draws:
    """One stream of random numbers, named by a seed and any number of stream numbers.

    Args:
        seed: Any integer >= 0.
        *stream: Further integers >= 0; each combination is a stream of its own, so that one
            more draw for the belt does not move the parts.

    Raises:
        UnsupportedSettingError: If a number is negative.
    """

    def __init__(self, seed: int, *stream: int) -> None:
        words: list[int] = []
        for number in (seed, *stream):
            if number < 0:
                raise UnsupportedSettingError(f"a seed must be an integer >= 0, got {number}")
            words += [number & _WORD, (number >> 32) & _WORD]
        self._state = np.random.RandomState(np.array(words, dtype=np.uint32))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * float(self._state.random_sample())

    def log_uniform(self, low: float, high: float) -> float:
        """A number in [low, high), every octave equally likely."""
        return float(np.exp(self.uniform(float(np.log(low)), float(np.log(high)))))

    def normal(self, mean: float = 0.0, sigma: float = 1.0) -> float:
        """A number from the normal distribution."""
        return mean + sigma * float(self._state.standard_normal())

    def integer(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return low + int(self.uniform() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def pick(self, choices: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of `choices`, each as likely as its weight says (all the same if None)."""
        if weights is None:
            return choices[self.integer(0, len(choices) - 1)]
        target = self.uniform(0.0, float(sum(weights)))
        for choice, weight in zip(choices, weights, strict=True):
            target -= weight
            if target < 0.0:
                return choice
        return choices[-1]

    def normals(self, *shape: int) -> npt.NDArray[np.float32]:
        """An array of standard normal float32 numbers."""
        return self._state.standard_normal(shape).astype(np.float32)
