"""`DetectionResult`: what a detector found in one image, as a frozen value.

Knows numpy and `errors`; never pixels, models, tables or pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from detkit.errors import InvalidResultError

Metadata: TypeAlias = Mapping[str, Any]

# Metadata that holds one entry per box; `filter` keeps it aligned.
PER_BOX_KEYS = ("tracker_ids",)

# A score may leave [0, 1] by this much through float16 or bfloat16 rounding; it is clipped.
_SCORE_TOLERANCE = 1e-3


class DetectionResult:
    """Boxes, scores and classes found in one image.

    Frozen: attributes cannot be reassigned and the arrays are read-only. An empty result
    means that the detector looked and found nothing.

    Args:
        boxes: `(N, 4)` x_min, y_min, x_max, y_max in pixels of the original image; anything
            numpy turns into float32. An empty sequence means no boxes.
        scores: `(N,)` confidences in [0, 1], stored as float32.
        classes: `(N,)` integer class ids, not negative, stored as int64.
        metadata: Facts about the result. `num_detections` is filled in. Results that come out
            of the engine also carry `image_hw`, `class_names`, `inference_ms`, `model`,
            `queue_ms`, `worker` and `batch_size`.

    Raises:
        InvalidResultError: If shapes do not agree, a value is NaN or infinite, a box has its
            corners swapped, a score lies outside [0, 1] or a class is no integer.

    Example:
        >>> result = DetectionResult([[10, 20, 110, 220]], [0.9], [0])
        >>> result
        DetectionResult(1 detection: class 0 0.90)
        >>> result.metadata["num_detections"]
        1
    """

    __slots__ = ("__weakref__", "boxes", "classes", "metadata", "scores")

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    metadata: Metadata

    def __init__(
        self,
        boxes: npt.ArrayLike,
        scores: npt.ArrayLike,
        classes: npt.ArrayLike,
        metadata: Metadata | None = None,
    ) -> None:
        box_array = _checked_boxes(boxes)
        num = len(box_array)
        _fill(
            self,
            box_array,
            _checked_scores(scores, num),
            _checked_classes(classes, num),
            MappingProxyType({**(metadata or {}), "num_detections": num}),
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"DetectionResult is frozen: cannot assign {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"DetectionResult is frozen: cannot delete {name!r}")

    def __len__(self) -> int:
        return len(self.scores)

    def __bool__(self) -> bool:
        # A result is something even when nothing was found; `len` asks for the number.
        return True

    def __eq__(self, other: object) -> bool:
        """Equal boxes, scores and classes, to the bit; metadata such as timings is ignored."""
        if not isinstance(other, DetectionResult):
            return NotImplemented
        return (
            np.array_equal(self.boxes, other.boxes)
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.classes, other.classes)
        )

    def __hash__(self) -> int:
        return hash((self.boxes.tobytes(), self.scores.tobytes(), self.classes.tobytes()))

    def __reduce__(self) -> tuple[object, ...]:
        arguments = (self.boxes, self.scores, self.classes, dict(self.metadata))
        return (DetectionResult, arguments)

    def __repr__(self) -> str:
        num = len(self)
        count = f"{num} detection" + ("" if num == 1 else "s")
        if num == 0:
            return f"DetectionResult({count})"
        best = np.argsort(-self.scores, kind="stable")[:3]
        shown = ", ".join(f"{self.class_name(self.classes[i])} {self.scores[i]:.2f}" for i in best)
        return f"DetectionResult({count}: {shown}{', …' if num > 3 else ''})"

    def class_name(self, class_id: int | np.integer[Any]) -> str:
        """The name of a class id, or "class 7" where the detector gave no name.

        The text comes from the model file: escape it before it meets HTML.
        """
        names = self.metadata.get("class_names")
        key = int(class_id)
        if isinstance(names, Mapping) and key in names:
            return str(names[key])
        if isinstance(names, (list, tuple)) and 0 <= key < len(names):
            return str(names[key])
        return f"class {key}"

    @property
    def names(self) -> list[str]:
        """The class name of every box, in order."""
        return [self.class_name(class_id) for class_id in self.classes]

    def filter(
        self,
        *,
        confidence_threshold: float | None = None,
        classes: Iterable[int | str] | None = None,
        min_area: float | None = None,
        predicate: Callable[[DetectionResult], npt.ArrayLike] | None = None,
    ) -> DetectionResult:
        """A new result with the boxes that pass every test given, in the same order.

        Args:
            confidence_threshold: Keep scores of at least this.
            classes: Keep these class ids or class names.
            min_area: Keep boxes of at least this many square pixels.
            predicate: Given this result, returns an `(N,)` boolean mask of what to keep.

        Raises:
            InvalidResultError: If the predicate returns a mask of another shape.

        Example:
            >>> DetectionResult([[0, 0, 9, 9]], [0.4], [2]).filter(confidence_threshold=0.5)
            DetectionResult(0 detections)
        """
        keep = np.ones(len(self), dtype=bool)
        if confidence_threshold is not None:
            keep &= self.scores >= np.float32(confidence_threshold)
        if classes is not None:
            wanted = set(classes)
            keep &= np.array(
                [int(c) in wanted or self.class_name(c) in wanted for c in self.classes], dtype=bool
            )
        if min_area is not None:
            wh = self.boxes[:, 2:] - self.boxes[:, :2]
            keep &= wh[:, 0] * wh[:, 1] >= min_area
        if predicate is not None:
            mask = np.asarray(predicate(self), dtype=bool)
            if mask.shape != keep.shape:
                raise InvalidResultError(
                    f"predicate must return a mask of shape {keep.shape}, got {mask.shape}"
                )
            keep &= mask
        return self if keep.all() else self.select(keep)

    def select(
        self, index: npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]]
    ) -> DetectionResult:
        """A new result with the boxes that a numpy mask or index array picks."""
        metadata = dict(self.metadata)
        for key in PER_BOX_KEYS:
            if key in metadata:
                metadata[key] = np.asarray(metadata[key])[index]
        return DetectionResult(self.boxes[index], self.scores[index], self.classes[index], metadata)

    def with_metadata(self, **facts: Any) -> DetectionResult:
        """The same boxes with `facts` added to, or put in place of, the metadata."""
        copy = object.__new__(DetectionResult)
        merged = {**self.metadata, **facts, "num_detections": len(self)}
        _fill(copy, self.boxes, self.scores, self.classes, MappingProxyType(merged))
        return copy

    @classmethod
    def empty(cls, metadata: Metadata | None = None) -> DetectionResult:
        """A result that says: looked, and found nothing."""
        return cls(np.empty((0, 4)), np.empty(0), np.empty(0, dtype=np.int64), metadata)


def _fill(
    result: DetectionResult,
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    metadata: Metadata,
) -> None:
    object.__setattr__(result, "boxes", boxes)
    object.__setattr__(result, "scores", scores)
    object.__setattr__(result, "classes", classes)
    object.__setattr__(result, "metadata", metadata)


def _own(array: npt.NDArray[Any], given: object) -> npt.NDArray[Any]:
    """Freeze `array`, after a copy if the caller could still write to the same memory."""
    if array is given or array.base is not None:
        if not array.flags.writeable and array.base is None:
            return array
        array = array.copy()
    array.flags.writeable = False
    return array


def _numbers(values: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InvalidResultError(f"{what} must be an array of numbers: {error}") from error
    if array.dtype.kind not in "iufb" and array.size:
        raise InvalidResultError(f"{what} must be numbers, got dtype {array.dtype}")
    return array


def _checked_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.float32]:
    array = _numbers(boxes, "boxes")
    if array.size == 0 and array.shape in {(0,), (0, 4), (1, 0)}:
        array = np.empty((0, 4), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InvalidResultError(f"boxes must have shape (N, 4), got {array.shape}")
    array = _own(np.ascontiguousarray(array, dtype=np.float32), boxes)
    if not np.isfinite(array).all():
        raise InvalidResultError("boxes must be finite, got NaN or infinity")
    if (array[:, 2:] < array[:, :2]).any():
        row = int(np.argmax((array[:, 2:] < array[:, :2]).any(axis=1)))
        raise InvalidResultError(
            "boxes must be x_min, y_min, x_max, y_max with x_max >= x_min and y_max >= y_min, "
            f"got {array[row].tolist()} in row {row}"
        )
    return array


def _checked_scores(scores: npt.ArrayLike, num: int) -> npt.NDArray[np.float32]:
    array = _numbers(scores, "scores")
    if array.shape != (num,):
        raise InvalidResultError(f"scores must have shape ({num},) like boxes, got {array.shape}")
    array = _own(np.ascontiguousarray(array, dtype=np.float32), scores)
    if num == 0:
        return array
    low, high = float(array.min()), float(array.max())
    if not (low >= -_SCORE_TOLERANCE and high <= 1 + _SCORE_TOLERANCE):
        raise InvalidResultError(f"scores must lie in [0, 1], got {low:.4g} to {high:.4g}")
    if low < 0 or high > 1:
        array = np.clip(array, 0, 1)
        array.flags.writeable = False
    return array


def _checked_classes(classes: npt.ArrayLike, num: int) -> npt.NDArray[np.int64]:
    array = _numbers(classes, "classes")
    if array.shape != (num,):
        raise InvalidResultError(f"classes must have shape ({num},) like boxes, got {array.shape}")
    if array.dtype.kind not in "iu":
        # Up to 2**53 a float64 holds every integer; beyond, the cast would be undefined.
        whole = array.dtype.kind == "f" and bool(
            np.all((array == np.floor(array)) & (np.abs(array) <= 2**53))
        )
        if num and not whole:
            raise InvalidResultError(f"classes must be integers, got dtype {array.dtype}")
    array = _own(np.ascontiguousarray(array, dtype=np.int64), classes)
    if num and int(array.min()) < 0:
        raise InvalidResultError(f"classes must not be negative, got {int(array.min())}")
    return array
