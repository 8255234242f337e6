"""`measure`: how fast a detector is with certain settings, in rounds over the same images.

Sets the knobs of the detector it is given and puts them back, so that nothing is copied and
nothing is left changed. Knows the engine and trials; never a widget, a chart or a thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from detkit.errors import DetectorClosed, ItemFailure, PartialBatchError
from detkit.widgets.trials import Round, Trial, TrialRun, summarize_rounds

if TYPE_CHECKING:
    from detkit.api.async_detector import AsyncDetector
    from detkit.images import RGBImage

Clock = Callable[[], float]

_MEASURED = "this detector is being measured, and has its settings back then: wait, or stop it"


_lock = threading.Lock()
_measured: weakref.WeakSet[AsyncDetector] = weakref.WeakSet()


@contextmanager
def knobs(detector: AsyncDetector, trial: Trial) -> Iterator[None]:
    """Set the knobs of a live detector, and put them back at the end.

    Raises:
        RuntimeError: If another measurement has set them: neither would know what to put back.
    """
    with _lock:
        if detector in _measured:
            raise RuntimeError(_MEASURED)
        _measured.add(detector)
    before = (detector.max_workers, detector.default_batch_size, detector.batch_timeout_s)
    try:
        _set(detector, trial)
        yield
    finally:
        detector.max_workers, detector.default_batch_size, detector.batch_timeout_s = before
        with _lock:
            _measured.discard(detector)


def apply(detector: AsyncDetector, trial: Trial) -> None:
    """Set the knobs of a live detector for good; work that is running goes on with them.

    Raises:
        RuntimeError: While it is measured.
        DetectorClosed: If it was shut down.
    """
    if detector.get_stats()["shutdown"]:
        raise DetectorClosed("the detector has been shut down: there is nothing left to set")
    with _lock:
        if detector in _measured:
            raise RuntimeError(_MEASURED)
        _set(detector, trial)


def _set(detector: AsyncDetector, trial: Trial) -> None:
    detector.max_workers = trial.max_workers
    detector.default_batch_size = trial.batch_size
    detector.batch_timeout_s = trial.batch_timeout_ms / 1e3


async def measure(
    detector: AsyncDetector,
    images: Sequence[RGBImage],
    trial: Trial,
    *,
    min_seconds: float = 1.0,
    min_rounds: int = 3,
    on_round: Callable[[Sequence[Round]], None] = lambda rounds: None,
    clock: Clock = time.perf_counter,
) -> TrialRun:
    """Measure one trial. The first round, in which workers load their models, is not counted.

    Args:
        detector: Stays open. Other work on it disturbs the numbers, and is disturbed.
        images: uint8 RGB arrays of shape (H, W, 3).
        trial: What to set, and how to call.
        min_seconds: Go on for at least this long, in seconds.
        min_rounds: And for at least this many passes over the images.
        on_round: Called after each round with all rounds so far.
        clock: Seconds, steady.

    Raises:
        ValueError: If there are no images.
        RuntimeError: If another measurement of this detector is under way.
        DetectorClosed: If the detector was or is shut down.
        Exception: What the detector raised, if not one image has a result.
    """
    if not len(images):
        raise ValueError("there are no images to measure with")
    rounds: list[Round] = []
    with knobs(detector, trial):
        await _one_round(detector, images, trial, clock)
        started = clock()
        while len(rounds) < min_rounds or clock() - started < min_seconds:
            rounds.append(await _one_round(detector, images, trial, clock))
            on_round(rounds)
    return summarize_rounds(trial, rounds)


async def _one_round(
    detector: AsyncDetector, images: Sequence[RGBImage], trial: Trial, clock: Clock
) -> Round:
    call = {
        "loop": _loop,
        "batch": _batch,
        "concurrent awaits": _awaits,
        "stream": _stream,
    }[trial.way]
    started = clock()
    latencies, errors = await call(detector, images, trial, clock)
    elapsed_s = clock() - started
    for error in errors:
        if isinstance(error, DetectorClosed):
            raise error
    if not latencies and errors:
        raise errors[0]
    return Round(len(images), len(errors), elapsed_s, tuple(latencies))


_Outcome = tuple[list[float], list[BaseException]]


async def _loop(
    detector: AsyncDetector, images: Sequence[RGBImage], trial: Trial, clock: Clock
) -> _Outcome:
    latencies: list[float] = []
    errors: list[BaseException] = []
    for image in images:
        started = clock()
        try:
            await detector.detect_async(image)
            latencies.append(clock() - started)
        except Exception as error:  # noqa: BLE001  counted, and raised if all fail
            errors.append(error)
    return latencies, errors


async def _batch(
    detector: AsyncDetector, images: Sequence[RGBImage], trial: Trial, clock: Clock
) -> _Outcome:
    started = clock()
    try:
        await detector.detect_batch_async(images, trial.batch_size)
    except PartialBatchError as error:
        took = clock() - started
        return [took] * error.successful, [failure.exception for failure in error.failures]
    return [clock() - started] * len(images), []


async def _awaits(
    detector: AsyncDetector, images: Sequence[RGBImage], trial: Trial, clock: Clock
) -> _Outcome:
    async def timed(image: RGBImage) -> float:
        started = clock()
        await detector.detect_async(image)
        return clock() - started

    outcomes = await asyncio.gather(*map(timed, images), return_exceptions=True)
    return (
        [o for o in outcomes if not isinstance(o, BaseException)],
        [o for o in outcomes if isinstance(o, BaseException)],
    )


async def _stream(
    detector: AsyncDetector, images: Sequence[RGBImage], trial: Trial, clock: Clock
) -> _Outcome:
    starts: list[float] = []

    async def source() -> AsyncIterator[RGBImage]:
        for image in images:
            starts.append(clock())
            yield image

    latencies: list[float] = []
    errors: list[BaseException] = []
    index = 0
    async for outcome in detector.stream(source(), on_error="yield"):
        if isinstance(outcome, ItemFailure):
            errors.append(outcome.exception)
        else:
            latencies.append(clock() - starts[index])
        index += 1
    return latencies, errors
