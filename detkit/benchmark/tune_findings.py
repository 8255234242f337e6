"""What a search for the best setting found, as a report.

Knows the search and the trials it was made of; decides nothing and measures nothing.
"""

from __future__ import annotations

import math

import numpy as np

from detkit.benchmark.advice import advise, gain_of_batching, gain_of_workers
from detkit.benchmark.drift import Drift, find_drift
from detkit.benchmark.intervals import Interval, median_interval
from detkit.benchmark.machine import Machine
from detkit.benchmark.runner import INTERRUPTED
from detkit.benchmark.search import Point, Search
from detkit.benchmark.trials import Trials
from detkit.benchmark.tune_report import TunePoint, TuneReport, TuningError

_SEED = 0


def report_of(
    search: Search, trials: Trials, seconds: float, machine: Machine, model: str
) -> TuneReport:
    """The table, the choice and the advice of a finished search.

    Args:
        search: What was measured.
        trials: What it was measured with.
        seconds: How long it was to take, in seconds.
        machine: Where.
        model: Label of the detector.

    Raises:
        TuningError: If every image failed with every setting.
    """
    best = search.best()
    if best is None:
        raise TuningError(
            f"every image failed with every setting that was tried: {trials.first_error}"
        )
    batching, parallel = gain_of_batching(search), gain_of_workers(search)
    advice = advise(
        best,
        search.goal,
        batching=batching,
        parallel=parallel,
        is_decided=search.is_decided,
        seconds=round(search.elapsed_s, 1) if search.was_interrupted else seconds,
    )
    return TuneReport(
        goal=str(search.goal),
        best=best.choice,
        points=tuple(_point(p, best) for p in search.ranked()),
        advice=advice,
        is_decided=search.is_decided,
        batching=batching,
        parallel=parallel,
        elapsed_s=search.elapsed_s,
        machine=machine,
        model=model,
        notes=tuple(_notes(search, trials)),
    )


def _point(point: Point, best: Point) -> TunePoint:
    rates = [t.images_per_s for t in point.tries]
    rate = median_interval(rates, np.random.default_rng(_SEED))
    fate = "chosen" if point is best else point.fate
    if not fate:
        fate = "raced" if point.race else "behind"
    if point.images_per_s == 0:
        fate = "failed"
        rate = Interval(0.0, math.nan, math.nan)
    return TunePoint(point.choice, rate, point.latency_s, len(point.tries), point.num_failed, fate)


def _notes(search: Search, trials: Trials) -> list[str]:
    notes = [INTERRUPTED, *trials.notes] if search.was_interrupted else list(trials.notes)
    drift = _drift(search)
    if drift.is_significant:
        notes.append(str(drift))
    if search.too_dear:
        sizes = ", ".join(str(c) for c in search.too_dear[:3])
        more = f" and {len(search.too_dear) - 3} more" if len(search.too_dear) > 3 else ""
        notes.append(f"not tried, as one try takes too large a part of the time: {sizes}{more}")
    num_failed = sum(p.num_failed for p in search.points.values())
    if num_failed and trials.first_error:
        notes.append(f"{num_failed} images failed meanwhile, the first with {trials.first_error}")
    return notes


def _drift(search: Search) -> Drift:
    """Whether the machine changed its speed during the race, by those who ran all of it."""
    rounds = range(search.num_rounds)
    points = [p for p in search.points.values() if all(k in p.race for k in rounds)]
    rates = [[p.race[k].images_per_s for k in rounds] for p in points]
    return find_drift([[1 / r if r > 0 else math.inf for r in of_one] for of_one in rates])
