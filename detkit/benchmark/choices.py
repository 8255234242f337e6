"""What a tuner may choose from, what it is after, and what it measured of one choice.

Pure values; knows no detector, no clock and no search.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

GoalKind = Literal["throughput", "latency", "fps"]
# Arguments of a factory by name, sorted; empty for the detector as it is.
Variant = tuple[tuple[str, Any], ...]

# Twice as much each time: a finer grid would differ by less than the noise.
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
# Further workers need a model's memory each; who wants more says so.
_MOST_WORKERS = 16
# A rate that is just reached will not be reached on a bad day.
_FPS_MARGIN = 1.05


@dataclass(frozen=True, slots=True)
class Choice:
    """One setting.

    Attributes:
        max_workers: Worker threads.
        batch_size: Most images in one call of the detector.
        variant: Arguments of the factory that makes the detector, by name; empty for the
            detector as it is.
    """

    max_workers: int
    batch_size: int
    variant: Variant = ()

    @property
    def in_flight(self) -> int:
        """Images that are worked on at once when there is enough to do."""
        return self.max_workers * self.batch_size

    def __str__(self) -> str:
        workers = f"{self.max_workers} worker" + ("s" if self.max_workers > 1 else "")
        batch = f"batches of {self.batch_size}" if self.batch_size > 1 else "single images"
        variant = "".join(f", {name}={value}" for name, value in self.variant)
        return f"{workers}, {batch}{variant}"


@dataclass(frozen=True, slots=True)
class Space:
    """All choices: every combination of what is listed.

    Attributes:
        workers: Worker counts, ascending.
        batch_sizes: Batch sizes, ascending.
        variants: Arguments for the factory; an empty tuple is the detector as it is.
    """

    workers: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    variants: tuple[Variant, ...] = ((),)

    def __post_init__(self) -> None:
        for name in ("workers", "batch_sizes"):
            given = getattr(self, name)
            whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in given)
            if not given or not whole:
                raise ValueError(f"{name} must be integers of at least 1, got {given!r}")
            object.__setattr__(self, name, tuple(sorted(set(given))))
        if not self.variants:
            raise ValueError("options must leave at least one variant")

    def __len__(self) -> int:
        return len(self.workers) * len(self.batch_sizes) * len(self.variants)

    def all(self) -> list[Choice]:
        """Every choice, the small ones first."""
        product = itertools.product(self.workers, self.batch_sizes, self.variants)
        return sorted((Choice(*given) for given in product), key=lambda c: c.in_flight)

    def start(self) -> list[Choice]:
        """A coarse grid to begin with: every other worker count, every other batch size.

        Only the first variant gets the whole of it. The others are tried with the most workers,
        which fill the cores however many threads each has: first find the variant, then its size.
        """
        product = itertools.product(self.workers[::2], self.batch_sizes[::2], self.variants[:1])
        others = itertools.product(self.workers[-1:], self.batch_sizes[:1], self.variants[1:])
        chosen = [Choice(*given) for given in (*product, *others)]
        return sorted(chosen, key=lambda c: c.in_flight)

    def neighbours(self, choice: Choice) -> list[Choice]:
        """One step along each axis, and along both."""
        workers = _around(self.workers, choice.max_workers)
        sizes = _around(self.batch_sizes, choice.batch_size)
        return [Choice(w, b, choice.variant) for w in workers for b in sizes]


def default_workers(cores: int) -> tuple[int, ...]:
    """Worker counts worth trying: powers of two up to twice the cores, and the cores."""
    most = max(2, min(2 * cores, _MOST_WORKERS))
    counts = {2**k for k in range(most.bit_length()) if 2**k <= most}
    return tuple(sorted(counts | {min(cores, most)}))


def variants_of(options: Mapping[str, Sequence[Any]]) -> tuple[Variant, ...]:
    """Every combination of a factory's options.

    Example:
        >>> variants_of({"num_threads": [1, 2]})
        ((('num_threads', 1),), (('num_threads', 2),))
    """
    pairs = [[(name, value) for value in values] for name, values in sorted(options.items())]
    return tuple(itertools.product(*pairs))


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted.

    Attributes:
        kind: "throughput": most images per second. "latency": least time for one image. "fps":
            least time for one image among those that keep up with `min_fps`.
        min_fps: Images per second that must be reached, with "fps".
    """

    kind: GoalKind
    min_fps: float = 0.0

    def value(self, images_per_s: float, latency_s: float) -> tuple[int, float]:
        """How good that is: first whether it suffices at all, then how much; more is better."""
        if self.kind == "throughput":
            return 1, images_per_s
        if self.kind == "fps" and images_per_s < self.min_fps * _FPS_MARGIN:
            return 0, images_per_s
        return 1, 1 / latency_s if 0 < latency_s < math.inf else 0.0

    def __str__(self) -> str:
        return f"fps>={self.min_fps:g}" if self.kind == "fps" else self.kind


def parse_goal(text: str) -> Goal:
    """The goal that a user wrote.

    Raises:
        ValueError: If it is none of "throughput", "latency" and "fps>=30" with any number.
    """
    found = re.fullmatch(r"\s*fps\s*>=\s*(\d+(?:\.\d+)?)\s*", text)
    if found and float(found[1]) > 0:
        return Goal("fps", float(found[1]))
    if text == "throughput":
        return Goal("throughput")
    if text == "latency":
        return Goal("latency")
    raise ValueError(f"goal must be 'throughput', 'latency' or like 'fps>=30', got {text!r}")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one try of a choice gave.

    Attributes:
        num_ok: Images with a result.
        elapsed_s: Seconds for all of them.
        latency_s: Seconds that one image took, as its caller sees it.
        num_failed: Images without a result.
    """

    num_ok: int
    elapsed_s: float
    latency_s: float
    num_failed: int = 0

    @property
    def images_per_s(self) -> float:
        """Images with a result per second."""
        return self.num_ok / self.elapsed_s if self.elapsed_s > 0 else 0.0


def _around(axis: tuple[int, ...], value: int) -> tuple[int, ...]:
    place = axis.index(value)
    return axis[max(0, place - 1) : place + 2]
