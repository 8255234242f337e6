"""Trials of a benchmark: what was set, what was measured, which one is best, and what is noise.

Pure values and arithmetic. Knows pandas for the table; never a detector, a clock or a widget.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Literal, get_args

import pandas as pd

Way = Literal["loop", "batch", "concurrent awaits", "stream"]
WAYS: tuple[Way, ...] = get_args(Way)
Verdict = Literal["best", "as good as the best", ""]

# Rounds of one second on a machine with other things to do differ by about this much even where
# nothing was changed; three rounds that happen to agree do not prove less.
_LEAST_NOISE = 0.03
# Of a normal distribution.
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class Trial:
    """What one run of the benchmark sets.

    Attributes:
        way: How the detector is called: "loop" (one `detect_async` after the other), "batch"
            (`detect_batch_async`), "concurrent awaits" (all `detect_async` at once) or "stream".
        max_workers: Worker threads.
        batch_size: Most images in one call of the model.
        batch_timeout_ms: How long a lone image waits for company, in milliseconds.
        runtime: The library that runs the network; empty: the one that it is loaded with.
        precision: Number format of the arithmetic; likewise.
        image_size: Longest side in pixels that images are scaled to; 0: as loaded.
        num_threads: Most CPU threads of one worker; 0: as loaded.

    Raises:
        ValueError: If a value is out of range.
    """

    way: Way = "batch"
    max_workers: int = 1
    batch_size: int = 1
    batch_timeout_ms: float = 0.0
    runtime: str = ""
    precision: str = ""
    image_size: int = 0
    num_threads: int = 0

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise ValueError(f"way must be one of {', '.join(WAYS)}, got {self.way!r}")
        if self.max_workers < 1 or self.batch_size < 1:
            raise ValueError(
                f"max_workers and batch_size must be at least 1, got {self.max_workers} "
                f"and {self.batch_size}"
            )
        if not self.batch_timeout_ms >= 0:
            raise ValueError(f"batch_timeout_ms must be at least 0, got {self.batch_timeout_ms}")
        if self.image_size < 0 or self.num_threads < 0:
            raise ValueError(
                f"image_size and num_threads must be at least 0, got {self.image_size} "
                f"and {self.num_threads}"
            )

    @property
    def load_options(self) -> dict[str, str | int]:
        """Arguments of `load_model` that this trial changes."""
        names = ("runtime", "precision", "image_size", "num_threads")
        return {name: value for name in names if (value := getattr(self, name))}

    @property
    def loaded_as(self) -> str:
        """The same in words; empty if it changes none."""
        parts = [self.runtime, self.precision]
        parts.append(f"{self.image_size} px" if self.image_size else "")
        threads = f"{self.num_threads} thread{'s' if self.num_threads > 1 else ''}"
        parts.append(threads if self.num_threads else "")
        return " ".join(filter(None, parts))

    def __str__(self) -> str:
        delay = f", {self.batch_timeout_ms:g} ms delay" if self.batch_timeout_ms else ""
        workers = f"{self.max_workers} worker{'s' if self.max_workers > 1 else ''}"
        loaded = f", {self.loaded_as}" if self.loaded_as else ""
        return f"{self.way}, {workers}, batch {self.batch_size}{delay}{loaded}"


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over all images.

    Attributes:
        num_images: Images given.
        num_failed: Those of them without a result.
        elapsed_s: Wall time in seconds.
        latencies_s: From call to result of every image with one, in seconds.
    """

    num_images: int
    num_failed: int
    elapsed_s: float
    latencies_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TrialRun:
    """What one run measured.

    Attributes:
        trial: What was set.
        num_rounds: Passes over all images that were measured.
        num_images: Images in all rounds together.
        num_failed: Those of them without a result.
        images_per_s: Median of the rounds.
        noise_per_s: How much one round differs from another: the median absolute deviation,
            scaled to a standard deviation, and at least 3 %.
        latency_p50_ms: Median time from call to result.
        latency_p95_ms: The same, 95th percentile.
    """

    trial: Trial
    num_rounds: int
    num_images: int
    num_failed: int
    images_per_s: float
    noise_per_s: float
    latency_p50_ms: float
    latency_p95_ms: float


def summarize_rounds(trial: Trial, rounds: Sequence[Round]) -> TrialRun:
    """All rounds of a trial as one run.

    Raises:
        ValueError: If there are none.
    """
    if not rounds:
        raise ValueError("a run needs at least one round")
    rates = [(r.num_images - r.num_failed) / max(r.elapsed_s, 1e-9) for r in rounds]
    median = statistics.median(rates)
    # Not the range: one round that another program disturbed would make every run look equal.
    spread = statistics.median(abs(rate - median) for rate in rates)
    latencies = sorted(latency for r in rounds for latency in r.latencies_s)
    return TrialRun(
        trial,
        len(rounds),
        sum(r.num_images for r in rounds),
        sum(r.num_failed for r in rounds),
        median,
        max(_MAD_TO_SIGMA * spread, _LEAST_NOISE * median),
        1e3 * _percentile(latencies, 0.5),
        1e3 * _percentile(latencies, 0.95),
    )


def verdicts(runs: Sequence[TrialRun]) -> list[Verdict]:
    """Which run is best; a difference smaller than both noises together is none.

    Example:
        >>> def run(rate):
        ...     return TrialRun(Trial(), 3, 9, 0, rate, 1.0, 5.0, 9.0)
        >>> verdicts([run(10), run(20), run(19)])
        ['', 'best', 'as good as the best']
    """
    if not runs:
        return []
    best = max(range(len(runs)), key=lambda i: runs[i].images_per_s)
    said: list[Verdict] = []
    for index, run in enumerate(runs):
        gap = runs[best].images_per_s - run.images_per_s
        if index == best:
            said.append("best")
        else:
            within = gap <= run.noise_per_s + runs[best].noise_per_s
            said.append("as good as the best" if within else "")
    return said


def sweep(trial: Trial, max_workers: int, max_batch_size: int) -> list[Trial]:
    """Trials over workers and batch sizes that share everything else.

    Workers double from 1; batch sizes are 1, 4, 16 and so on; both end with the slider's value.
    """
    workers = _up_to(max_workers, 2)
    sizes = _up_to(max_batch_size, 4)
    return [
        replace(trial, max_workers=count, batch_size=size)
        for count, size in product(workers, sizes)
    ]


def runs_dataframe(runs: Sequence[TrialRun]) -> pd.DataFrame:
    """One row per run, in the order they were made.

    Returns:
        Columns `way`, `max_workers`, `batch_size`, `batch_timeout_ms`, `runtime`, `precision`,
        `image_size`, `num_threads` (empty or 0 where as loaded), `images_per_s`, `noise_per_s`,
        `latency_p50_ms`, `latency_p95_ms`, `num_images`, `num_failed`, `num_rounds`, `verdict`.
    """
    rows = [
        {**asdict(run.trial), **_numbers(run), "verdict": verdict}
        for run, verdict in zip(runs, verdicts(runs), strict=True)
    ]
    empty = TrialRun(Trial(), 0, 0, 0, 0.0, 0.0, 0.0, 0.0)
    columns = [*asdict(Trial()), *_numbers(empty), "verdict"]
    table: pd.DataFrame = pd.DataFrame(rows, columns=columns)
    return table


def code_for(trial: Trial) -> str:
    """Python that sets a detector up like this trial and measures it in the same way."""
    options = "".join(f"    {name}={value!r},\n" for name, value in trial.load_options.items())
    loading = f"detector = detector.reload(\n{options})\n" if options else ""
    return f"""from detkit import AsyncDetector
from detkit.widgets.measuring import measure
from detkit.widgets.trials import Trial

# `detector` is the detector to measure, `images` a list of RGB arrays.
{loading}trial = Trial(
    way={trial.way!r},
    max_workers={trial.max_workers},
    batch_size={trial.batch_size},
    batch_timeout_ms={trial.batch_timeout_ms!r},
)
async with AsyncDetector(
    detector,
    max_workers=trial.max_workers,
    default_batch_size=trial.batch_size,
    batch_timeout_s=trial.batch_timeout_ms / 1e3,
) as measured:
    run = await measure(measured, images, trial)
run
"""


def _numbers(run: TrialRun) -> dict[str, float]:
    return {
        "images_per_s": run.images_per_s,
        "noise_per_s": run.noise_per_s,
        "latency_p50_ms": run.latency_p50_ms,
        "latency_p95_ms": run.latency_p95_ms,
        "num_images": run.num_images,
        "num_failed": run.num_failed,
        "num_rounds": run.num_rounds,
    }


def _percentile(ordered: Sequence[float], rank: float) -> float:
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(rank * len(ordered)))]


def _up_to(limit: int, factor: int) -> list[int]:
    values = [1]
    while values[-1] * factor < limit:
        values.append(values[-1] * factor)
    return values if values[-1] >= limit else [*values, limit]
