"""`tune`: which setting suits this detector, these images and this machine.

Joins the trials on the living detector, the search and the cache. The search decides; see there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from detkit.api.async_detector import AsyncDetector
from detkit.benchmark.choices import (
    BATCH_SIZES,
    Choice,
    Goal,
    Measurement,
    Space,
    Variant,
    default_workers,
    parse_goal,
    variants_of,
)
from detkit.benchmark.instruments import Instruments
from detkit.benchmark.labels import label_of
from detkit.benchmark.machine import describe_machine
from detkit.benchmark.search import Measure, Search
from detkit.benchmark.trials import Trials, can_use_workers, ways_to_load
from detkit.benchmark.tune_cache import cache_file, recall, remember
from detkit.benchmark.tune_findings import report_of
from detkit.benchmark.tune_report import TuneReport
from detkit.images import RGBImage, validate_image
from detkit.progress import NoProgress, Progress, shown_if

# A remembered answer is trusted while its setting runs within this of its old speed. A new
# model of the same name, a busier machine or another power plan all show as more.
_SAME_SPEED = 0.25


def tune(
    detector: AsyncDetector,
    images: Iterable[RGBImage],
    *,
    seconds: float = 20.0,
    goal: str = "throughput",
    workers: Sequence[int] | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    make: Callable[..., Any] | None = None,
    options: Mapping[str, Sequence[Any]] | None = None,
    num_callers: int = 1,
    use_cache: bool = True,
    keep_on_interrupt: bool = False,
    progress: bool = False,
    instruments: Instruments | None = None,
) -> TuneReport:
    """Find the setting that suits this detector, these images and this machine.

    Blocks for about `seconds`. The detector's own setting is the same before and after; call
    `apply()` on the report to take the chosen one. Other work on the detector disturbs the
    measurement.

    Workers and batch size are searched, and for a detector that can be loaded in several ways
    (`YOLOv8Detector`) the library, the precision and the threads of one worker as well, as far as
    `load_model` left them open.

    Args:
        detector: What to tune.
        images: Images like those to come, uint8 RGB; used round and round. One is enough, but
            says nothing about others.
        seconds: How long to search, in seconds.
        goal: "throughput" (most images per second), "latency" (least time for one image), or
            like "fps>=30" (least time among those that keep up).
        workers: Worker counts to try; by default powers of two up to twice the cores.
        batch_sizes: Batch sizes to try.
        make: Makes a loaded detector, called as `make(**choice)` with one value of each option;
            by default the detector's own `reload`.
        options: What `make` may be called with, such as
            `{"num_threads": [1, 2], "precision": ["fp32", "bf16"]}`; `{}` searches workers and
            batch size alone. By default what the detector's `load_choices` offers.
        num_callers: With "latency": how many callers wait for single images at once.
        use_cache: Whether an earlier answer to the same question may be taken after one check,
            and this one kept.
        keep_on_interrupt: Whether Ctrl-C ends the search with the best so far, once something was
            measured, in place of an exception.
        progress: Whether to show a bar: how much of the time is over, what is left, failed images.
        instruments: Clocks; the machine's own by default.

    Returns:
        The table of what was tried, the chosen setting, and one sentence of advice. Where the
        time was too short it says so, and the choice is the best so far.

    Raises:
        ValueError: If there are no images, or a number is out of range.
        InvalidImageError: If an image is not uint8 RGB.
        TuningError: If every image failed with every setting.
        DetectorClosed: After shutdown.

    Example:
        >>> from detkit import AsyncDetector
        >>> from detkit.testing import FakeDetector, numbered_image
        >>> with AsyncDetector(FakeDetector(delay_s=0.002)) as detector:
        ...     report = tune(detector, [numbered_image(1)], seconds=0.5, use_cache=False)
        ...     report.apply()
        >>> detector.default_batch_size == report.best.batch_size
        True
    """
    checked = [validate_image(image) for image in images]
    _check(checked, seconds, num_callers)
    wanted = parse_goal(goal)
    machine = describe_machine()
    tools = instruments or Instruments()
    make, variants = _variants(detector, make, options, machine.cores)
    space = _space(detector, workers, batch_sizes, variants, machine.cores)
    path = cache_file(machine, detector.detector, checked, wanted, space, num_callers)
    with Trials(detector, checked, wanted, make, num_callers, tools) as trials:
        report = _recalled(recall(path), trials) if use_cache else None
        if report is None:
            with shown_if(progress, math.ceil(seconds), "seconds") as bar:
                measure = _watched(trials.measure, bar, seconds, tools.clock)
                search = _search(
                    detector, measure, space, wanted, seconds, tools, keep_on_interrupt
                )
            report = report_of(search, trials, seconds, machine, label_of(detector.detector))
            if use_cache and report.is_decided:
                remember(path, report)
    return replace(report, detector=detector, make=make)


def _search(
    detector: AsyncDetector,
    measure: Measure,
    space: Space,
    goal: Goal,
    seconds: float,
    tools: Instruments,
    keep_on_interrupt: bool,
) -> Search:
    today = Choice(detector.max_workers, detector.default_batch_size)
    witnesses = (today,) if today in space.all() else ()
    search = Search(space, goal, measure, tools.clock, seconds, witnesses)
    search.run(keep_on_interrupt=keep_on_interrupt)
    return search


def _watched(
    measure: Measure, bar: Progress | NoProgress, seconds: float, clock: Callable[[], float]
) -> Measure:
    """The same measuring, with a bar that says how much of the time is over."""
    started, num_failed = clock(), 0

    def measure_and_tell(choice: Choice, num_images: int) -> Measurement:
        nonlocal num_failed
        made = measure(choice, num_images)
        num_failed += made.num_failed
        bar.set(round(min(clock() - started, seconds)), num_failed)
        return made

    return measure_and_tell


def _recalled(report: TuneReport | None, trials: Trials) -> TuneReport | None:
    """An earlier answer, if its setting still runs as fast as it did."""
    if report is None or not report.points:
        return None
    known = next((p for p in report.points if p.choice == report.best), None)
    if known is None:
        return None
    made = trials.measure(report.best, 4 * report.best.in_flight)
    by_latency = report.goal == "latency"
    now, then = (
        (made.latency_s, known.latency_s)
        if by_latency
        else (made.images_per_s, known.images_per_s.value)
    )
    if not (now > 0 and then > 0) or math.isinf(now) or abs(math.log(now / then)) > _SAME_SPEED:
        return None
    return replace(report, from_cache=True)


def _space(
    detector: AsyncDetector,
    workers: Sequence[int] | None,
    batch_sizes: Sequence[int],
    variants: tuple[Variant, ...],
    cores: int,
) -> Space:
    counts: tuple[int, ...] = (1,)
    if workers is not None:
        counts = tuple(workers)
    elif can_use_workers(detector.detector):
        counts = default_workers(cores)
    return Space(counts, tuple(batch_sizes), variants)


def _variants(
    detector: AsyncDetector,
    make: Callable[..., Any] | None,
    options: Mapping[str, Sequence[Any]] | None,
    cores: int,
) -> tuple[Callable[..., Any] | None, tuple[Variant, ...]]:
    """What makes detectors, and what it may be called with."""
    if options is None:
        if make is not None or not detector.get_stats()["detector_loaded"]:
            return make, ((),)
        return ways_to_load(detector.detector, cores)
    make = make or getattr(detector.detector, "reload", None)
    if options and make is None:
        raise ValueError("options need a factory: pass make as well")
    return make, variants_of(options)


def _check(
    images: Sequence[RGBImage],
    seconds: float,
    num_callers: int,
) -> None:
    if not images:
        raise ValueError("there are no images to tune with")
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be positive, got {seconds!r}")
    if num_callers < 1:
        raise ValueError(f"num_callers must be at least 1, got {num_callers!r}")
