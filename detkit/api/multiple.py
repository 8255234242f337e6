"""`detect_multiple_async`: many single detections at once, answered together.

Knows `AsyncDetector` by its `detect_async` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from detkit.api.batches import partial_batch_error
from detkit.errors import (
    DetectorClosed,
    DroppedError,
    InvalidImageError,
    ItemFailure,
    QueueFullError,
    Stage,
)
from detkit.images import RGBImage
from detkit.progress import Progress
from detkit.results import DetectionResult

if TYPE_CHECKING:
    from detkit.api.async_detector import AsyncDetector


async def detect_multiple_async(
    detector: AsyncDetector, images: Iterable[RGBImage], *, progress: bool = False
) -> list[DetectionResult]:
    """Detect in several images at once with `asyncio.gather`.

    Args:
        detector: The detector to use.
        images: RGB uint8 arrays of shape (H, W, 3).
        progress: Whether to show a bar: images per second, failures, time left.

    Returns:
        One result per image, in input order; an empty list for no images.

    Raises:
        PartialBatchError: If some images have no result; it holds all the others.
        DetectorClosed: A `RuntimeError`; after shutdown.
        CancelledError: If interrupted; what was finished is in `detector.last_run`.
    """
    calls = [asyncio.ensure_future(detector.detect_async(image)) for image in images]
    bar = Progress(len(calls)) if progress else None
    if bar is not None:
        for call in calls:
            call.add_done_callback(partial(_count, bar))
    try:
        answers = await asyncio.gather(*calls, return_exceptions=True)
    except asyncio.CancelledError:
        detector.last_run = [_so_far(index, call) for index, call in enumerate(calls)]
        raise
    finally:
        if bar is not None:
            bar.close()
    outcomes = [_outcome(index, answer) for index, answer in enumerate(answers)]
    results = [o for o in outcomes if isinstance(o, DetectionResult)]
    if len(results) == len(calls):
        return results
    if all(isinstance(answer, DetectorClosed) for answer in answers):
        raise DetectorClosed("the detector has been shut down")
    raise partial_batch_error(outcomes)


def _count(bar: Progress, call: asyncio.Future[DetectionResult]) -> None:
    if not call.cancelled():
        bar.add(failed=call.exception() is not None)


def _so_far(
    index: int, call: asyncio.Future[DetectionResult]
) -> DetectionResult | ItemFailure | None:
    if not call.done() or call.cancelled():
        return None
    return _outcome(index, call.exception() or call.result())


def _outcome(index: int, answer: DetectionResult | BaseException) -> DetectionResult | ItemFailure:
    if isinstance(answer, DetectionResult):
        return answer
    return ItemFailure(index, _stage(answer), answer)


def _stage(error: BaseException) -> Stage:
    if isinstance(error, InvalidImageError):
        return "validate"
    turned_away = (DetectorClosed, QueueFullError, DroppedError)
    return "queue" if isinstance(error, turned_away) else "detect"
