"""`Trials`: tries a setting on a living `AsyncDetector` and says what it gave.

Turns knobs, warms up, measures, and leaves the detector as it was. Knows the engine's public
face; decides nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

from detkit.api.async_detector import AsyncDetector
from detkit.benchmark.choices import Choice, Goal, Measurement, Variant
from detkit.benchmark.contestants import EngineContestant, attempt
from detkit.benchmark.instruments import Instruments
from detkit.detection.abstract import AbstractDetector
from detkit.errors import CircuitOpenError, DetectorClosed, DetectorNotLoadedError, describe
from detkit.images import RGBImage

# One lone call is at the mercy of the scheduler.
_FEWEST_CALLS = 4

Factory = Callable[..., Any]


class Trials:
    """Measures choices; a context manager that puts everything back.

    Args:
        detector: Whose knobs are turned.
        images: Valid ones; taken round and round where a try needs more.
        goal: Decides what is measured.
        make: Makes a detector for a variant.
        num_callers: With the goal "latency": how many callers wait for single images at once.
        instruments: What is measured with.
    """

    def __init__(
        self,
        detector: AsyncDetector,
        images: Sequence[RGBImage],
        goal: Goal,
        make: Factory | None,
        num_callers: int,
        instruments: Instruments,
    ) -> None:
        self._detector = detector
        self._images = itertools.cycle(images)
        self._goal = goal
        self._make = make
        self._num_callers = num_callers
        self._instruments = instruments
        self._before = (detector.max_workers, detector.default_batch_size)
        self._made: dict[Variant, AsyncDetector | None] = {(): detector}
        self._warm: set[tuple[Variant, int]] = set()
        self.first_error = ""
        self.notes: list[str] = []

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._detector.get_stats()["shutdown"]:
            self._detector.max_workers, self._detector.default_batch_size = self._before
        for made in self._made.values():
            if made is not None and made is not self._detector:
                made.shutdown()
                close = getattr(made.detector, "close", None)
                if close is not None:
                    close()

    def measure(self, choice: Choice, num_images: int) -> Measurement:
        """Try a choice once.

        Raises:
            DetkitError: If the detector takes no work at all: closed, not loaded.
        """
        engine = self._engine(choice)
        if engine is None:
            return Measurement(0, 0.0, math.inf, num_images)
        self._turn_knobs(engine, choice)
        if self._goal.kind == "latency":
            return self._call_singly(engine, max(_FEWEST_CALLS, 2 * self._num_callers))
        return self._work_through(engine, choice, num_images)

    def _engine(self, choice: Choice) -> AsyncDetector | None:
        if choice.variant not in self._made:
            assert self._make is not None, "variants come with a factory"
            try:
                made = self._make(**dict(choice.variant))
                self._made[choice.variant] = AsyncDetector(made)
            except Exception as error:  # noqa: BLE001  e.g. a precision this CPU does not have
                self._made[choice.variant] = None
                words = ", ".join(f"{name}={value}" for name, value in choice.variant)
                self.notes.append(f"{words} cannot be used here: {describe(error)}")
        return self._made[choice.variant]

    def _turn_knobs(self, engine: AsyncDetector, choice: Choice) -> None:
        """Set workers and batch size; let new workers and new sizes run once, uncounted."""
        is_new = all(variant != choice.variant for variant, _ in self._warm)
        has_new_workers = is_new or engine.max_workers != choice.max_workers
        engine.max_workers = choice.max_workers
        engine.default_batch_size = choice.batch_size
        warmth = (choice.variant, choice.batch_size)
        if has_new_workers:
            self._detect(engine, choice.max_workers, 1)
        if warmth not in self._warm:
            self._warm.add(warmth)
            self._detect(engine, choice.batch_size, choice.batch_size)

    def _work_through(self, engine: AsyncDetector, choice: Choice, num: int) -> Measurement:
        clock = self._instruments.clock
        started = clock()
        num_ok = self._detect(engine, num, None)
        elapsed_s = clock() - started
        if not num_ok:
            return Measurement(0, elapsed_s, math.inf, num)
        # With `in_flight` images always under way each is under way for in_flight / rate
        # (J. D. C. Little, Operations Research 9, 1961).
        latency_s = choice.in_flight * elapsed_s / num_ok
        return Measurement(num_ok, elapsed_s, latency_s, num - num_ok)

    def _call_singly(self, engine: AsyncDetector, num: int) -> Measurement:
        """`num_callers` callers, each of which hands in an image when its last one is answered."""
        clock = self._instruments.clock
        contestant = EngineContestant(engine, self._instruments)
        begun: dict[int, float] = {}
        latencies: list[float] = []
        started = clock()
        next_number = 0
        while next_number < num or begun:
            while next_number < num and len(begun) < self._num_callers:
                begun[next_number] = clock()
                contestant.issue(next_number, [next(self._images)])
                next_number += 1
            for answer in contestant.answers():
                begun_at = begun.pop(answer.query)
                if answer.results:
                    latencies.append(answer.finished_at - begun_at)
                else:
                    self._note_error(answer.errors[0])
        elapsed_s = clock() - started
        latency_s = median(latencies) if latencies else math.inf
        return Measurement(len(latencies), elapsed_s, latency_s, num - len(latencies))

    def _detect(self, engine: AsyncDetector, num: int, batch_size: int | None) -> int:
        images = list(itertools.islice(self._images, num))
        results, errors = attempt(partial(engine.detect_batch, images, batch_size), num)
        if errors:
            self._note_error(errors[0])
        return len(results)

    def _note_error(self, error: BaseException) -> None:
        if isinstance(error, (DetectorClosed, DetectorNotLoadedError, CircuitOpenError)):
            raise error
        self.first_error = self.first_error or describe(error)


def can_use_workers(detector: Any) -> bool:
    """Whether a detector can serve more than one worker at a time."""
    inherited = (None, AbstractDetector.replicate)
    can_replicate = getattr(type(detector), "replicate", None) not in inherited
    return can_replicate or bool(getattr(detector, "thread_safe", False))


def ways_to_load(detector: Any, cores: int) -> tuple[Factory | None, tuple[Variant, ...]]:
    """How a detector makes others of the same model, and what it may be asked for.

    Args:
        detector: Loaded. One without `reload` and `load_choices` has one way, as it is.
        cores: Of the machine.
    """
    reload, load_choices = (getattr(detector, n, None) for n in ("reload", "load_choices"))
    if reload is None or load_choices is None:
        return None, ((),)
    # All cores is what a library takes by itself.
    threads = sorted({1, max(1, cores // 4), max(1, cores // 2)} - {cores})
    offered = [tuple(sorted(choice.items())) for choice in load_choices(threads)]
    return reload, ((), *offered)
