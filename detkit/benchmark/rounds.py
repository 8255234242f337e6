"""`play_round`: one contestant meets one scenario once, and what came of it is a `Round`.

Waits through its instruments only, so that a simulated clock can stand in for the real one.
Knows scenarios and contestants; no statistics over rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from detkit.benchmark.contestants import Answer, Contestant
from detkit.benchmark.instruments import Instruments
from detkit.benchmark.intervals import percentile
from detkit.benchmark.scenarios import Query, Scenario, SingleStream, deadline_s
from detkit.errors import describe
from detkit.image_files import decode_image
from detkit.images import RGBImage

# Where an image's time goes, in the order it passes through them.
STAGES = ("decode", "queue", "preprocess", "inference", "postprocess", "other")
_TOLD_BY_RESULTS = {f"{s}_ms": s for s in ("queue", "preprocess", "inference", "postprocess")}

_DIGITS = 7

Sample = Any
Loader = Callable[[Sample], RGBImage]


def load_sample(sample: Sample) -> RGBImage:
    """An array as it is; anything else is read as an image file.

    Raises:
        ImageDecodeError: If the file is no readable image.
    """
    return sample if isinstance(sample, np.ndarray) else decode_image(sample)


@dataclass(frozen=True, slots=True)
class Round:
    """What one contestant did in one round. Times are kept to a tenth of a microsecond.

    Attributes:
        elapsed_s: From the first query to the last answer, in seconds.
        num_ok: Images with a result.
        num_failed: Images without.
        latencies_s: Seconds from when each query was due to its answer, in order of arrival;
            queries with a failed image are left out.
        cpu_s: Core-seconds that the process used.
        peak_bytes: Largest resident memory of the process; None if unknown.
        stages_s: Seconds by stage, summed over images; stages that nobody told are left out.
            Those of a batch are shared among its images.
        num_late: Queries answered after the scenario's deadline.
        first_error: The first failure in words; empty if there was none.
    """

    elapsed_s: float
    num_ok: int
    num_failed: int = 0
    latencies_s: tuple[float, ...] = ()
    cpu_s: float = 0.0
    peak_bytes: int | None = None
    stages_s: Mapping[str, float] = field(default_factory=dict)
    num_late: int = 0
    first_error: str = ""

    def __post_init__(self) -> None:
        stages = {name: round(s, _DIGITS) for name, s in self.stages_s.items()}
        object.__setattr__(self, "elapsed_s", round(self.elapsed_s, _DIGITS))
        object.__setattr__(self, "cpu_s", round(self.cpu_s, _DIGITS))
        object.__setattr__(self, "latencies_s", tuple(round(s, _DIGITS) for s in self.latencies_s))
        object.__setattr__(self, "stages_s", MappingProxyType(stages))

    @property
    def images_per_s(self) -> float:
        """Images with a result per second; 0 if there was none."""
        return self.num_ok / self.elapsed_s if self.num_ok and self.elapsed_s > 0 else 0.0

    def cost_s(self, is_paced: bool) -> float:
        """The one number that contestants are compared by, in seconds; infinite if all failed.

        Where arrivals are paced the rate is given, and the median latency is what differs;
        otherwise it is the time per image.
        """
        if not self.num_ok:
            return float("inf")
        if is_paced:
            return percentile(self.latencies_s, 0.5)
        return self.elapsed_s / self.num_ok

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        lists = {"latencies_s": list(self.latencies_s), "stages_s": dict(self.stages_s)}
        return {**values, **lists}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Round:
        """The round that `as_json` described."""
        return cls(**facts)

    def __reduce__(self) -> tuple[object, ...]:
        # A mapping proxy cannot be pickled.
        return (Round.from_json, (self.as_json(),))


def play_round(
    contestant: Contestant,
    samples: Sequence[Sample],
    scenario: Scenario,
    rng: np.random.Generator,
    instruments: Instruments,
    load: Loader = load_sample,
) -> Round:
    """Let `contestant` meet `scenario` once.

    Args:
        contestant: Who answers.
        samples: One image each; what `load` takes. Loading counts as "decode".
        scenario: When queries are due and how large they are.
        rng: Decides random arrivals.
        instruments: What is measured with.
        load: Makes an image of a sample.

    Raises:
        Exception: What `load` raises. What the contestant raises is counted as a failure.
    """
    queries = scenario.queries(len(samples), rng)
    instruments.collect()
    instruments.memory.reset()
    tally = _Tally(instruments.clock, deadline_s(scenario))
    cpu_before = instruments.cpu_clock()
    started = instruments.clock()
    for number, query in enumerate(queries):
        _wait_for_turn(contestant, query, started, tally)
        due = instruments.clock() if query.due_s is None else started + query.due_s
        tally.began(number, query, due)
        images = tally.load(samples[query.first : query.first + query.size], load)
        contestant.issue(number, images)
    while tally.num_open:
        tally.add(contestant.answers())
    elapsed_s = max(tally.last_answer, started) - started
    return Round(
        elapsed_s=elapsed_s,
        cpu_s=instruments.cpu_clock() - cpu_before,
        peak_bytes=instruments.memory.peak_bytes(),
        **tally.totals(is_additive=isinstance(scenario, SingleStream)),
    )


def _wait_for_turn(contestant: Contestant, query: Query, started: float, tally: _Tally) -> None:
    """Collect answers until this query is due: at its moment, or when nothing is under way."""
    if query.due_s is None:
        while tally.num_open:
            tally.add(contestant.answers())
        return
    due = started + query.due_s
    while tally.clock() < due:
        tally.add(contestant.answers(until=due))


class _Tally:
    """Counts answers as they come in."""

    def __init__(self, clock: Callable[[], float], deadline: float | None) -> None:
        self.clock = clock
        self.last_answer = -np.inf
        self._deadline_s = deadline
        self._open: dict[int, tuple[Query, float]] = {}
        self._latencies: dict[int, float] = {}
        self._stages: dict[str, float] = {}
        self._num_ok = self._num_failed = self._num_late = 0
        self._first_error = ""

    @property
    def num_open(self) -> int:
        """Queries without an answer."""
        return len(self._open)

    def began(self, number: int, query: Query, due: float) -> None:
        """A query is due."""
        self._open[number] = (query, due)

    def load(self, samples: Sequence[Sample], load: Loader) -> list[RGBImage]:
        """Make images of samples, on the clock."""
        if all(isinstance(sample, np.ndarray) for sample in samples) and load is load_sample:
            return list(samples)
        started = self.clock()
        images = [load(sample) for sample in samples]
        self._spent("decode", self.clock() - started)
        return images

    def add(self, answers: Sequence[Answer]) -> None:
        """Count answers."""
        for answer in answers:
            query, due = self._open.pop(answer.query)
            latency = answer.finished_at - due
            self.last_answer = max(self.last_answer, answer.finished_at)
            self._num_ok += len(answer.results)
            self._num_failed += query.size - len(answer.results)
            if answer.errors and not self._first_error:
                self._first_error = describe(answer.errors[0])
            if len(answer.results) == query.size:
                self._latencies[answer.query] = latency
                self._num_late += self._deadline_s is not None and latency > self._deadline_s
            for result in answer.results:
                self._add_stages(getattr(result, "metadata", None))

    def totals(self, *, is_additive: bool) -> dict[str, Any]:
        """The fields of a `Round`."""
        stages = dict(self._stages)
        latencies = tuple(self._latencies[number] for number in sorted(self._latencies))
        if is_additive and not self._num_failed and latencies:
            # One image at a time: what no stage accounts for is everything else.
            stages["other"] = max(0.0, sum(latencies) - sum(stages.values()))
        return {
            "num_ok": self._num_ok,
            "num_failed": self._num_failed,
            "num_late": self._num_late,
            "latencies_s": latencies,
            "stages_s": {name: stages[name] for name in STAGES if name in stages},
            "first_error": self._first_error,
        }

    def _add_stages(self, metadata: object) -> None:
        if not isinstance(metadata, Mapping):
            return
        for key, stage in _TOLD_BY_RESULTS.items():
            if isinstance(metadata.get(key), (int, float)):
                self._spent(stage, metadata[key] / 1000)

    def _spent(self, stage: str, seconds: float) -> None:
        self._stages[stage] = self._stages.get(stage, 0.0) + seconds
