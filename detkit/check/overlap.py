"""What becomes of calls of one detector that overlap in time. The only place here with threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from detkit.api.replica import accepts_settings
from detkit.check.sameness import is_same
from detkit.detection.abstract import DetectionSettings
from detkit.errors import describe
from detkit.images import RGBImage
from detkit.results import DetectionResult

# A single difference is enough to prove a race, and races are rare: try often.
_THREADS = 4
_ROUNDS = 5


def calls_overlap(
    detector: Any,
    images: Sequence[RGBImage],
    alone: Sequence[DetectionResult],
    problems: list[str],
    patience_s: float,
) -> tuple[bool, bool]:
    """Whether overlapping calls of one object all return, and return the right results.

    Args:
        detector: The object.
        images: What it is called with.
        alone: Its results when nobody else calls.
        problems: Told what is wrong.
        patience_s: Until when all must have returned, in seconds.
    """
    wrong: list[str] = []

    def work(offset: int) -> None:
        for step in range(_ROUNDS * len(images)):
            index = (offset + step) % len(images)
            try:
                result = detector.detect(images[index])
            except Exception as error:  # noqa: BLE001
                wrong.append(describe(error))
            else:
                if not is_same([result], [alone[index]]):
                    wrong.append("another image's result")

    if not _together(work, _THREADS, patience_s):
        problems.append("overlapping calls do not return: it deadlocks")
        return False, False
    return True, not wrong


def settings_stay_apart(
    detector: Any, image: RGBImage, problems: list[str], patience_s: float
) -> bool | None:
    """Whether overlapping calls with different settings each get their own; None without any."""
    if not accepts_settings(detector):
        return None
    choices = [DetectionSettings(confidence_threshold=t) for t in (0.05, 0.5, 0.9)]
    try:
        alone = [detector.detect(image, settings=choice) for choice in choices]
    except Exception as error:  # noqa: BLE001
        problems.append(f"detect failed with settings: {describe(error)}")
        return False
    wrong: list[str] = []

    def work(offset: int) -> None:
        for step in range(_ROUNDS * len(choices)):
            index = (offset + step) % len(choices)
            try:
                result = detector.detect(image, settings=choices[index])
            except Exception as error:  # noqa: BLE001
                wrong.append(describe(error))
            else:
                if not is_same([result], [alone[index]]):
                    wrong.append("another call's settings")

    apart = _together(work, _THREADS, patience_s) and not wrong
    if not apart:
        problems.append("settings of one call change the result of another")
    return apart


def _together(work: Callable[[int], None], num_threads: int, patience_s: float) -> bool:
    """Run `work(index)` on threads that start at the same moment; False if one does not return."""
    start = threading.Barrier(num_threads)

    def run(index: int) -> None:
        start.wait()
        work(index)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(num_threads)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
