"""`AbstractDetector`: the small contract that every detector fulfils, and per-call settings.

Knows results and errors; never an inference library, a thread or an event loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, fields, replace
from os import PathLike

import numpy as np

from detkit.errors import UnsupportedSettingError
from detkit.images import RGBImage
from detkit.results import DetectionResult


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """What one call asks of a detector. `None` means: the detector's own default.

    Attributes:
        confidence_threshold: Keep detections with a score of at least this, in [0, 1].
        iou_threshold: Overlap above which non-maximum suppression drops the weaker box,
            in [0, 1].
        max_detections: Keep at most this many detections, the best first.
        classes: Keep these class ids only. Class names are not accepted here: names come from
            a file and may repeat.
        agnostic_nms: Whether boxes of different classes suppress each other.

    Raises:
        UnsupportedSettingError: If a value lies outside its range.
    """

    confidence_threshold: float | None = None
    iou_threshold: float | None = None
    max_detections: int | None = None
    classes: tuple[int, ...] | None = None
    agnostic_nms: bool | None = None

    def __post_init__(self) -> None:
        for name in ("confidence_threshold", "iou_threshold"):
            value = getattr(self, name)
            # Written so that NaN fails as well.
            if value is None:
                continue
            if not (isinstance(value, (int, float, np.number)) and 0 <= value <= 1):
                raise UnsupportedSettingError(f"{name} must lie in [0, 1], got {value!r}")
        most = self.max_detections
        if most is not None and not (isinstance(most, (int, np.integer)) and most >= 1):
            raise UnsupportedSettingError(
                f"max_detections must be an integer of at least 1, got {most!r}"
            )
        if self.classes is not None:
            if isinstance(self.classes, (str, bytes)):
                raise UnsupportedSettingError(
                    f"classes must be a sequence of class ids, got {self.classes!r}"
                )
            try:
                ids = tuple(sorted({int(c) for c in self.classes}))
            except (TypeError, ValueError) as error:
                raise UnsupportedSettingError(
                    f"classes must be integer class ids, got {self.classes!r}"
                ) from error
            object.__setattr__(self, "classes", ids)

    def over(self, defaults: DetectionSettings) -> DetectionSettings:
        """These settings, with what is `None` taken from `defaults`."""
        return replace(
            defaults,
            **{
                f.name: getattr(self, f.name)
                for f in fields(self)
                if getattr(self, f.name) is not None
            },
        )


DEFAULT_SETTINGS = DetectionSettings()


class AbstractDetector(ABC):
    """One object detector. Subclass it, write three members, wrap it in `AsyncDetector`.

    The engine calls a detector with validated images only: C-contiguous, read-only uint8 RGB
    arrays of shape (H, W, 3). It calls one detector object from one thread at a time unless
    `thread_safe` says otherwise, and always from the same thread where `replicate` exists.

    Optional members, recognised when present:

    * `detect_batch(images)`: several images in one go, all with the same `batch_key`. A list with
      one result per image, in input order.
    * `settings` as a keyword of `detect` and `detect_batch`: a `DetectionSettings`. A detector
      without it gets `confidence_threshold`, `classes` and `max_detections` applied to its
      results by the engine.
    * `class_names`: mapping from class id to name. `model_name`: text.
    * `load_choices(num_threads)` and `reload(**choice)`: other ways to load the same model, as
      `YOLOv8Detector` has them; tuning tries them.
    * `share_threads(num_threads, num_workers)`: so many CPU threads are there for all workers
      together, and so many workers there may be. Told by the engine before its first call and when
      a number changes, perhaps while `detect` runs, to the detector that it was given, whose
      replicas keep to it as well. `num_threads`: how many its user gave it, or `None`.

    `detkit.testing.check_detector(detector)` tells whether an implementation keeps to this.

    Example:
        >>> import numpy as np
        >>> from detkit import AbstractDetector, DetectionResult
        >>> class BrightSpot(AbstractDetector):
        ...     is_loaded = True
        ...     def load_model(self, model_path, device="cpu"):
        ...         pass
        ...     def detect(self, image):
        ...         y, x = np.unravel_index(image.sum(axis=2).argmax(), image.shape[:2])
        ...         return DetectionResult([[x, y, x + 1, y + 1]], [1.0], [0])
        >>> BrightSpot().detect(np.zeros((4, 4, 3), np.uint8))
        DetectionResult(1 detection: class 0 1.00)
    """

    thread_safe: bool = False
    """Whether several threads may call this very object at the same time."""

    @abstractmethod
    def load_model(self, model_path: str | PathLike[str], device: str = "cpu") -> None:
        """Make the detector ready.

        Args:
            model_path: Path of the weights.
            device: "cpu", "cuda", "cuda:1", "mps" or "auto".

        Raises:
            ModelLoadError: If the weights are missing, corrupt or of the wrong kind.
        """

    @abstractmethod
    def detect(self, image: RGBImage) -> DetectionResult:
        """Detect the objects in one image.

        Args:
            image: uint8 RGB of shape (H, W, 3). Must not be written to.

        Returns:
            Boxes in pixels of `image`.
        """

    @property
    @abstractmethod
    def is_loaded(self) -> bool:
        """Whether `detect` can be called."""

    def replicate(self) -> AbstractDetector | None:
        """A second, independent detector that gives the same results, loaded and warm.

        Returns:
            The copy, or `None` where there can be only one. The default.
        """
        return None

    def batch_key(self, image: RGBImage) -> Hashable:
        """What two images must share to go through `detect_batch` together.

        The default is the shape, so that a result never depends on its neighbours.
        """
        return image.shape

    def scaled_hw(self, image_hw: tuple[int, int]) -> tuple[int, int] | None:
        """Height and width to which the detector itself scales an image of this size.

        A file need not be decoded any finer. The default is `None`: every pixel counts. Asked from
        threads that decode, also while the detector works.
        """
        return None

    def close(self) -> None:  # noqa: B027  optional: many detectors hold nothing
        """Release what the detector holds. Called by nobody but its owner; idempotent."""
