"""One detector object, called the way its author declared, and what it may be asked.

Owns the check of a detector's answers against `AbstractDetector`, and the defaults for what a
stranger's detector leaves out. Knows no queue, no thread but one lock per object.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
import weakref
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import numpy as np

from detkit.detection.abstract import DEFAULT_SETTINGS, DetectionSettings
from detkit.errors import DetectorContractError, UnsupportedSettingError, describe
from detkit.images import RGBImage
from detkit.results import DetectionResult

logger = logging.getLogger("detkit")

# What a detector says of itself, or what it raised when it was asked.
Facts: TypeAlias = "dict[str, Any] | Exception"


class Replica:
    """One detector object, called the way its author declared.

    Args:
        detector: Anything with `detect(image)`; see `AbstractDetector` for the optional members.
    """

    def __init__(self, detector: Any) -> None:
        self.detector = detector
        self._detect_batch = getattr(detector, "detect_batch", None)
        self._passes_settings = accepts_settings(detector)
        self._lock = call_lock(detector)

    def detect(
        self, images: Sequence[RGBImage], settings: DetectionSettings
    ) -> list[DetectionResult]:
        """Detect in images that share a batch key. One result each, in order.

        Raises:
            DetectorContractError: If the detector returned something else.
            Exception: Whatever the detector raised.
        """
        with self._lock:
            return self._detect(images, settings)

    def _detect(
        self, images: Sequence[RGBImage], settings: DetectionSettings
    ) -> list[DetectionResult]:
        extra = {"settings": settings} if self._passes_settings else {}
        if self._detect_batch is not None:
            raw = self._detect_batch(images, **extra)
        else:
            raw = [self.detector.detect(image, **extra) for image in images]
        results = checked_results(raw, len(images), self.detector)
        if self._passes_settings or settings == DEFAULT_SETTINGS:
            return results
        return [apply_settings(result, settings) for result in results]


def accepts_settings(detector: Any) -> bool:
    """Whether a detector takes the `settings` of a call."""
    method = getattr(detector, "detect_batch", None) or detector.detect
    try:
        return "settings" in inspect.signature(method).parameters
    except (TypeError, ValueError):  # a callable written in C has no signature to read
        return False


def check_settings(settings: DetectionSettings) -> None:
    """Refuse settings that only a detector itself could honour.

    Raises:
        UnsupportedSettingError: If non-maximum suppression is to be changed from outside.
    """
    for name in ("iou_threshold", "agnostic_nms"):
        if getattr(settings, name) is not None:
            raise UnsupportedSettingError(
                f"this detector takes no settings, so {name} cannot be set per call: "
                "give its detect methods a 'settings' keyword"
            )


def apply_settings(result: DetectionResult, settings: DetectionSettings) -> DetectionResult:
    """Narrow a result down, for a detector that takes no settings."""
    result = result.filter(
        confidence_threshold=settings.confidence_threshold, classes=settings.classes
    )
    if settings.max_detections is not None and len(result) > settings.max_detections:
        best = np.argsort(-result.scores, kind="stable")[: settings.max_detections]
        result = result.select(np.sort(best))
    return result


def checked_results(raw: object, num_images: int, detector: object) -> list[DetectionResult]:
    """Hold what a detector returned against the contract.

    Raises:
        DetectorContractError: If it is not one `DetectionResult` per image.
    """
    name = type(detector).__name__
    if not isinstance(raw, (list, tuple)):
        raise DetectorContractError(
            f"{name}.detect_batch must return a list of DetectionResult, got {type(raw).__name__}"
        )
    if len(raw) != num_images:
        raise DetectorContractError(
            f"{name}.detect_batch returned {len(raw)} results for {num_images} images"
        )
    for result in raw:
        if not isinstance(result, DetectionResult):
            raise DetectorContractError(
                f"{name} must return DetectionResult, got {type(result).__name__}"
            )
        # The constructor vouches for this; an object made round it does not.
        if len(result) and not np.isfinite(result.boxes.sum() + result.scores.sum()):
            raise DetectorContractError(f"{name} returned boxes or scores that are not finite")
    return list(raw)


_locks: weakref.WeakKeyDictionary[Any, threading.Lock] = weakref.WeakKeyDictionary()
_locks_guard = threading.Lock()


def _forget_locks() -> None:
    """In a forked child: a thread that stayed behind may hold any of them."""
    global _locks_guard
    _locks_guard = threading.Lock()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def call_lock(detector: Any) -> AbstractContextManager[Any]:
    """What to hold while calling `detector`: one lock per object, also between engines."""
    if getattr(detector, "thread_safe", False):
        return nullcontext()
    with _locks_guard:
        try:
            return _locks.setdefault(detector, threading.Lock())
        except TypeError:  # not hashable or not weakly referable
            return threading.Lock()


def read_only(image: RGBImage) -> RGBImage:
    """A view that the detector cannot write to: the caller's pixels stay as they are."""
    view: RGBImage = image.view()
    view.flags.writeable = False
    return view


class DetectorFacts:
    """What an engine asks of its detector from the caller's thread.

    A detector that is no `AbstractDetector` need not answer; then a sensible default does.
    """

    def __init__(self, detector: Any) -> None:
        if isinstance(detector, type):
            name = detector.__name__
            raise TypeError(f"detector must be an object, got the class {name}: write {name}()")
        if not callable(getattr(detector, "detect", None)):
            raise TypeError(
                f"detector must have a detect(image) method, got {type(detector).__name__}"
            )
        self.detector = detector
        self.accepts_settings = accepts_settings(detector)
        self._batch_key = getattr(detector, "batch_key", None)

    @property
    def is_loaded(self) -> bool:
        """Whether the detector says that it is ready; one that does not say is."""
        return bool(getattr(self.detector, "is_loaded", True))

    @property
    def facts(self) -> Facts:
        """Metadata that belongs to every result."""
        try:
            name = getattr(self.detector, "model_name", None) or type(self.detector).__name__
            names = getattr(self.detector, "class_names", None)
        except Exception as error:  # noqa: BLE001  told with each result
            return error
        return {"class_names": names if names is not None else {}, "model": name}

    @property
    def num_threads(self) -> int | None:
        """CPU threads that its user gave the detector, if it says so."""
        said = getattr(self.detector, "num_threads", None)
        return said if isinstance(said, int) and said > 0 else None

    def share_threads(self, num_threads: int, num_workers: int) -> None:
        """Tell the detector its threads, if it has an ear for that."""
        tell = getattr(self.detector, "share_threads", None)
        if tell is None:
            return
        try:
            tell(num_threads, num_workers)
        except Exception as error:  # noqa: BLE001  a stranger's; it can detect all the same
            logger.warning("the detector took no thread budget: %s", describe(error))

    def shape_key(self, image: RGBImage) -> Hashable:
        """The detector's batch key of an image, or the image's shape."""
        return image.shape if self._batch_key is None else self._batch_key(image)
