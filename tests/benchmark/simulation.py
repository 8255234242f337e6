"""A machine made of numbers: a clock that only moves when something takes time, and its noise.

The noise model, after what shared and laptop machines were seen to do:

* jitter: every round of every contestant takes `exp(N(0, 0.03))` times as long;
* disturbance: one round in twenty takes longer by an exponential share of mean 25 %, for that
  contestant alone (another program woke up);
* weather: all contestants of a round share a factor that wanders like an AR(1) process of 2 %
  steps with memory 0.8;
* drift, where a test asks for it: the machine slows down steadily or falls to a lower clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detkit.benchmark import Answer, Contestant, Instruments, Machine
from detkit.results import DetectionResult

MACHINE = Machine("simulated", 2, 8, "nowhere", python="3", packages={"numpy": "2"})
EMPTY = DetectionResult.empty()


@dataclass
class Clock:
    """Simulated seconds."""

    now: float = 1000.0

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Memory:
    peak: int = 100 * 2**20

    def reset(self) -> None:
        return

    def peak_bytes(self) -> int:
        return self.peak


def instruments(clock: Clock) -> Instruments:
    return Instruments(clock.read, clock.read, clock.sleep, Memory(), collect=lambda: None)


@dataclass
class Weather:
    """What the whole machine does to everybody, by round."""

    rng: np.random.Generator
    drift: Callable[[int], float] = lambda number: 1.0
    step: float = 0.02
    memory: float = 0.8
    _logs: list[float] = field(default_factory=list)

    def __call__(self, number: int) -> float:
        while len(self._logs) <= number:
            last = self._logs[-1] if self._logs else 0.0
            self._logs.append(self.memory * last + self.rng.normal(0, self.step))
        return float(np.exp(self._logs[number])) * self.drift(number)


class NoisyContestant(Contestant):
    """Needs `image_s` seconds per image, on a machine with noise. Answers at once."""

    def __init__(
        self,
        clock: Clock,
        image_s: float,
        weather: Weather,
        rng: np.random.Generator,
        jitter: float = 0.03,
        disturbed: float = 0.05,
    ) -> None:
        self._clock, self._image_s, self._weather, self._rng = clock, image_s, weather, rng
        self._jitter, self._disturbed = jitter, disturbed
        self._num_rounds = 0
        self._done: list[Answer] = []

    def issue(self, query: int, images: Sequence[Any]) -> None:
        if query == 0:
            self._factor = self._weather(self._num_rounds) * np.exp(
                self._rng.normal(0, self._jitter)
            )
            if self._rng.random() < self._disturbed:
                self._factor *= 1 + self._rng.exponential(0.25)
            self._num_rounds += 1
        self._clock.sleep(self._image_s * len(images) * self._factor)
        self._done.append(Answer(query, self._clock.now, [EMPTY] * len(images)))

    def answers(self, until: float | None = None) -> list[Answer]:
        if not self._done and until is not None:
            self._clock.sleep(max(0.0, until - self._clock.now))
        done, self._done = self._done, []
        return done


class QueueContestant(Contestant):
    """Servers that each need `image_s` for an image and work while the caller waits."""

    def __init__(self, clock: Clock, image_s: float, num_servers: int = 1) -> None:
        self._clock, self._image_s = clock, image_s
        self._free_at = [0.0] * num_servers
        self._under_way: list[tuple[float, int, int]] = []

    def issue(self, query: int, images: Sequence[Any]) -> None:
        end = self._clock.now
        for _ in images:
            begin = max(self._clock.now, heapq.heappop(self._free_at))
            heapq.heappush(self._free_at, begin + self._image_s)
            end = max(end, begin + self._image_s)
        heapq.heappush(self._under_way, (end, query, len(images)))

    def answers(self, until: float | None = None) -> list[Answer]:
        if not self._under_way or (until is not None and self._under_way[0][0] > until):
            if until is not None:
                self._clock.now = max(self._clock.now, until)
            return []
        end, query, size = heapq.heappop(self._under_way)
        self._clock.now = max(self._clock.now, end)
        return [Answer(query, end, [EMPTY] * size)]


def noisy_pair(
    seed: int,
    slower_by: float,
    drift: Callable[[int], float] = lambda number: 1.0,
    weather_step: float = 0.02,
) -> tuple[dict[str, Contestant], Instruments]:
    """Two contestants on one noisy machine; the second needs `slower_by` times as long."""
    clock = Clock()
    rng = np.random.default_rng(seed)
    weather = Weather(rng, drift, weather_step)
    pair = {
        "a": NoisyContestant(clock, 0.020, weather, rng),
        "b": NoisyContestant(clock, 0.020 * slower_by, weather, rng),
    }
    return dict(pair), instruments(clock)
