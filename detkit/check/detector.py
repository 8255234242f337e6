"""`check_detector`: try a detector out and tell which promises of its contract it keeps.

Calls the detector directly, as the engine's workers would, and compares answers. Knows no
engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from detkit.api.replica import checked_results
from detkit.boxes import agreement
from detkit.check.overlap import calls_overlap, settings_stay_apart
from detkit.check.report import DetectorReport, Mode
from detkit.check.sameness import is_same, is_shuffled
from detkit.errors import describe
from detkit.images import RGBImage
from detkit.results import DetectionResult


def check_detector(
    detector: Any,
    images: Sequence[RGBImage] | None = None,
    *,
    expected: Sequence[DetectionResult] | None = None,
    try_threads: bool = True,
    patience_s: float = 60.0,
) -> DetectorReport:
    """Try a detector out and tell which mode suits it.

    Args:
        detector: A loaded `AbstractDetector`, or anything with `detect(image)`.
        images: Some different RGB uint8 arrays of shape (H, W, 3) in which it finds something.
            None: coloured test cards.
        expected: The true objects of each image. With them the colour order is judged by F1,
            otherwise by the sum of scores.
        try_threads: Whether to call one object from several threads at once. A detector with
            native code that does not expect it may crash the process.
        patience_s: Overlapping calls that have not all come back after so many seconds count as
            a deadlock. Their threads are left behind.

    Returns:
        The findings. Print it.
    """
    return _Check(detector, images or test_cards(), expected, patience_s).run(try_threads)


def test_cards(number: int = 4, hw: tuple[int, int] = (96, 128)) -> list[RGBImage]:
    """Different images with coloured rectangles, the same on every machine."""
    cards: list[RGBImage] = []
    for index in range(number):
        card = np.full((*hw, 3), 40 + 20 * index, dtype=np.uint8)
        for k in range(3):
            y, x = 10 + 25 * k, 8 + 30 * ((index + k) % number)
            card[y : y + 20, x : x + 24] = np.roll((230, 60, 30), k + index)
        cards.append(card)
    return cards


test_cards.__test__ = False  # type: ignore[attr-defined]  # pytest must not take it for a test


class _Check:
    def __init__(
        self,
        detector: Any,
        images: Sequence[RGBImage],
        expected: Sequence[DetectionResult] | None,
        patience_s: float,
    ) -> None:
        self.patience_s = patience_s
        self.keeps_contract = True
        self.detector = detector
        self.images = [_read_only(image) for image in images]
        self.expected = expected
        self.problems: list[str] = []

    def run(self, try_threads: bool) -> DetectorReport:
        """All checks, the cheap ones first; those that cannot be run stay undecided."""
        alone = self._singles()
        if alone is None:
            return DetectorReport(
                False, False, None, None, None, None, None, None, False, "locked",
                tuple(self.problems),
            )  # fmt: skip
        deterministic = is_same(self._singles(), alone)
        if not deterministic:
            self.problems.append("the same image gives different results")
        ordered, invariant = self._batches(alone)
        can_replicate = self._replicates(alone)
        colour_order = self._colour_order(alone)
        # Last, because nothing can be asked of a detector that is stuck.
        reentrant, thread_safe = self._threads(alone) if try_threads else (None, None)
        declared = bool(getattr(self.detector, "thread_safe", False))
        if declared and thread_safe is False:
            self.problems.append("it declares thread_safe, and is not")
        shared = declared and thread_safe is not False
        mode: Mode = "shared" if shared else "replicated" if can_replicate else "locked"
        return DetectorReport(
            keeps_contract=self.keeps_contract,
            is_deterministic=deterministic,
            is_ordered=ordered,
            is_batch_invariant=invariant,
            is_reentrant=reentrant,
            is_thread_safe=thread_safe,
            keeps_settings_apart=self._settings_apart() if try_threads and shared else None,
            colour_order=colour_order,
            can_replicate=can_replicate,
            mode=mode,
            problems=tuple(self.problems),
        )

    def _singles(self) -> list[DetectionResult] | None:
        results = []
        for index, image in enumerate(self.images):
            try:
                result = self.detector.detect(image)
            except Exception as error:  # noqa: BLE001  whatever it is, it is the finding
                self.problems.append(f"detect failed on image {index}: {describe(error)}")
                self.keeps_contract = False
                return None
            if not isinstance(result, DetectionResult):
                self.problems.append(
                    f"detect returned {type(result).__name__}, not DetectionResult"
                )
                return None
            results.append(result)
        return results

    def _batches(self, alone: list[DetectionResult]) -> tuple[bool | None, bool | None]:
        """Whether a batch answers in order, and each image as it does alone."""
        if getattr(self.detector, "detect_batch", None) is None:
            return None, None
        batch_key = getattr(self.detector, "batch_key", None) or (lambda image: image.shape)
        first = batch_key(self.images[0])
        indices = [i for i, image in enumerate(self.images) if batch_key(image) == first]
        forward = self._batch(indices)
        backward = None if forward is None else self._batch(indices[::-1])
        if forward is None or backward is None:
            return None, None
        truth = [alone[i] for i in indices]
        if is_same(forward, truth) and is_same(backward, truth[::-1]):
            can_tell_order = not is_same(truth, truth[::-1])
            return True if can_tell_order else None, True if len(indices) > 1 else None
        if is_shuffled(forward, truth) and is_shuffled(backward, truth):
            self.problems.append("detect_batch does not answer in input order")
            return False, None
        self.problems.append("a result depends on its neighbours in the batch")
        return None, False

    def _batch(self, indices: Sequence[int]) -> list[DetectionResult] | None:
        try:
            raw = self.detector.detect_batch([self.images[i] for i in indices])
            return checked_results(raw, len(indices), self.detector)
        except Exception as error:  # noqa: BLE001
            self.problems.append(f"detect_batch failed: {describe(error)}")
            self.keeps_contract = False
            return None

    def _threads(self, alone: list[DetectionResult]) -> tuple[bool, bool]:
        return calls_overlap(self.detector, self.images, alone, self.problems, self.patience_s)

    def _settings_apart(self) -> bool | None:
        image = self.images[0]
        return settings_stay_apart(self.detector, image, self.problems, self.patience_s)

    def _replicates(self, alone: list[DetectionResult]) -> bool:
        replicate = getattr(self.detector, "replicate", None)
        if replicate is None:
            return False
        try:
            copy = replicate()
            if copy is None:
                return False
            results = [copy.detect(image) for image in self.images]
        except Exception as error:  # noqa: BLE001
            self.problems.append(f"replicate failed: {describe(error)}")
            return False
        if not is_same(results, alone):
            self.problems.append("a replica gives other results")
            return False
        return True

    def _colour_order(self, alone: list[DetectionResult]) -> Literal["rgb", "bgr"] | None:
        try:
            swapped = [
                self.detector.detect(_read_only(np.ascontiguousarray(image[..., ::-1])))
                for image in self.images
            ]
        except Exception as error:  # noqa: BLE001
            self.problems.append(f"detect failed on other colours: {describe(error)}")
            self.keeps_contract = False
            return None
        as_rgb, as_bgr = self._quality(alone), self._quality(swapped)
        if as_bgr > as_rgb * 1.05 + 1e-6:
            self.problems.append("it does better on BGR: convert RGB to what it expects")
            return "bgr"
        return "rgb" if as_rgb > as_bgr * 1.01 + 1e-6 else None

    def _quality(self, results: Sequence[DetectionResult]) -> float:
        if self.expected is None:
            return float(sum(result.scores.sum() for result in results))
        return sum(
            agreement(r.boxes, r.classes, t.boxes, t.classes).f1
            for r, t in zip(results, self.expected, strict=True)
        )


def _read_only(image: RGBImage) -> RGBImage:
    view: RGBImage = image.view()
    view.flags.writeable = False
    return view
