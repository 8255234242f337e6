"""`TuneReport`: what a tuner found, as a frozen value with one sentence of advice.

Knows choices and intervals, and sets an `AsyncDetector`'s knobs when told to; measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from detkit.api.async_detector import AsyncDetector
from detkit.benchmark.choices import Choice
from detkit.benchmark.intervals import Interval
from detkit.benchmark.machine import Machine
from detkit.errors import DetkitError

SCHEMA_VERSION = 1


class TuningError(DetkitError, RuntimeError):
    """Tuning gave nothing that could be used."""


@dataclass(frozen=True, slots=True)
class TunePoint:
    """One setting that was tried.

    Attributes:
        choice: The setting.
        images_per_s: Median over its tries; with an interval where it was tried several times.
        latency_s: Median seconds that one image took.
        num_tries: How often it was tried.
        num_failed: Images that failed meanwhile.
        fate: "chosen", "as good", "behind" or when the race dropped it.
    """

    choice: Choice
    images_per_s: Interval
    latency_s: float
    num_tries: int
    num_failed: int = 0
    fate: str = "behind"

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **choice_json(self.choice),
            "images_per_s": self.images_per_s.as_json(),
            "latency_s": self.latency_s if math.isfinite(self.latency_s) else None,
            "num_tries": self.num_tries,
            "num_failed": self.num_failed,
            "fate": self.fate,
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> TunePoint:
        """The point that `as_json` described."""
        rate = Interval.from_json(facts["images_per_s"])
        latency_s = math.inf if facts["latency_s"] is None else facts["latency_s"]
        rest = {name: facts[name] for name in ("num_tries", "num_failed", "fate")}
        return cls(choice_from_json(facts), rate, latency_s, **rest)


@dataclass(frozen=True, slots=True)
class TuneReport:
    """What `tune` found.

    Attributes:
        goal: As it was asked for.
        best: The chosen setting.
        points: Every setting that was tried, the best first.
        advice: One sentence for people.
        is_decided: Whether the time sufficed; if not, `best` is the best so far.
        batching: How many times better the best with batches is than the best without; None if
            that was not measured.
        parallel: The same of several workers beside one.
        elapsed_s: Seconds that tuning took.
        machine: Where.
        model: Name of the model.
        notes: What could not be tried, and what failed.
        from_cache: Whether this was found earlier and only checked now.
    """

    goal: str
    best: Choice
    points: tuple[TunePoint, ...]
    advice: str
    is_decided: bool
    batching: Interval | None
    parallel: Interval | None
    elapsed_s: float
    machine: Machine
    model: str = ""
    notes: tuple[str, ...] = ()
    from_cache: bool = False
    detector: AsyncDetector | None = field(default=None, repr=False, compare=False)
    make: Callable[..., Any] | None = field(default=None, repr=False, compare=False)

    def apply(self, detector: AsyncDetector | None = None) -> None:
        """Set workers and batch size, and load the model in the chosen way; also amid work.

        A model that was loaded anew takes the place of `detector.detector`, which is not closed.

        Args:
            detector: Whose; by default the one that was tuned.

        Raises:
            TuningError: If this report came from a file and no detector was given, or one that
                cannot be loaded in the chosen way.
            ModelLoadError: If the model file has gone meanwhile.
        """
        target = detector or self.detector
        if target is None:
            raise TuningError("this report knows no detector: use apply(detector)")
        if self.best.variant:
            make = self.make or getattr(target.detector, "reload", None)
            if make is None:
                raise TuningError(
                    f"the best setting needs a detector made with {dict(self.best.variant)}, and "
                    f"{type(target.detector).__name__} has no reload() that could make it"
                )
            target.detector = make(**dict(self.best.variant))
        target.max_workers = self.best.max_workers
        target.default_batch_size = self.best.batch_size

    def build(self) -> AsyncDetector:
        """A new `AsyncDetector` with the chosen setting, from the factory that was given.

        Raises:
            TuningError: If there was no factory.
        """
        if self.make is None:
            raise TuningError("there was no factory to build with: use apply()")
        made = self.make(**dict(self.best.variant))
        return AsyncDetector(made, self.best.max_workers, self.best.batch_size)

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        intervals = {"batching": self.batching, "parallel": self.parallel}
        return {
            "schema_version": SCHEMA_VERSION,
            "goal": self.goal,
            "model": self.model,
            "best": choice_json(self.best),
            "advice": self.advice,
            "is_decided": self.is_decided,
            "from_cache": self.from_cache,
            "elapsed_s": round(self.elapsed_s, 3),
            **{name: i.as_json() if i else None for name, i in intervals.items()},
            "notes": list(self.notes),
            "machine": self.machine.as_json(),
            "points": [point.as_json() for point in self.points],
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> TuneReport:
        """The report that `as_json` described; it has no detector.

        Raises:
            ValueError: If it is of another version, or no report.
        """
        if not isinstance(facts, Mapping) or facts.get("schema_version") != SCHEMA_VERSION:
            raise ValueError("this is no tuning report that this version of detkit reads")
        try:
            same = ("goal", "advice", "is_decided", "elapsed_s", "model", "from_cache")
            return cls(
                best=choice_from_json(facts["best"]),
                points=tuple(TunePoint.from_json(p) for p in facts["points"]),
                batching=_interval(facts["batching"]),
                parallel=_interval(facts["parallel"]),
                machine=Machine.from_json(facts["machine"]),
                notes=tuple(facts["notes"]),
                **{name: facts[name] for name in same},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no tuning report of detkit: {error!r}") from error

    def __str__(self) -> str:
        return self.advice


def choice_json(choice: Choice) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "max_workers": choice.max_workers,
        "batch_size": choice.batch_size,
        "variant": dict(choice.variant),
    }


def choice_from_json(facts: Mapping[str, Any]) -> Choice:
    """The choice that `choice_json` described; JSON's lists become tuples again."""
    pairs = ((k, tuple(v) if isinstance(v, list) else v) for k, v in facts["variant"].items())
    return Choice(facts["max_workers"], facts["batch_size"], tuple(sorted(pairs)))


def _interval(numbers: list[float | None] | None) -> Interval | None:
    return None if numbers is None else Interval.from_json(numbers)
