"""`DetectionResult`: what a detector found in one image, as a frozen value.

Knows numpy and `errors`; never pixels, models, tables or pictures.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from detkit.errors import InvalidResultError
from detkit.result_arrays import checked_boxes, checked_classes, checked_scores

Metadata: TypeAlias = Mapping[str, Any]

# Metadata that holds one entry per box; `filter` keeps it aligned.
PER_BOX_KEYS = ("tracker_ids",)

# Of a class name in a `repr`: one from a model file may have any length.
_MAX_NAME = 40


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

    __slots__ = ("__weakref__", "_image", "boxes", "classes", "metadata", "scores")

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    metadata: Metadata
    _image: Callable[[], npt.NDArray[np.uint8] | None]

    def __init__(
        self,
        boxes: npt.ArrayLike,
        scores: npt.ArrayLike,
        classes: npt.ArrayLike,
        metadata: Metadata | None = None,
    ) -> None:
        box_array = checked_boxes(boxes)
        num = len(box_array)
        _fill(
            self,
            box_array,
            checked_scores(scores, num),
            checked_classes(classes, num),
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
        shown = ", ".join(
            f"{_short(self.class_name(self.classes[i]))} {self.scores[i]:.2f}" for i in best
        )
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
        picked = (self.boxes[index], self.scores[index], self.classes[index])
        return _seen(DetectionResult(*picked, metadata), self._image)

    def with_metadata(self, **facts: Any) -> DetectionResult:
        """The same boxes with `facts` added to, or put in place of, the metadata."""
        return _retold(self, {**self.metadata, **facts}, self._image)

    def completed(
        self, metadata: dict[str, Any], image: npt.NDArray[np.uint8] | None
    ) -> DetectionResult:
        """The same boxes with this metadata alone, which know their image: the engine's last word.

        Args:
            metadata: Becomes part of the result and is not copied.
            image: The array, of which a weak reference is kept.
        """
        return _retold(self, metadata, _no_image if image is None else weakref.ref(image))

    @property
    def image(self) -> npt.NDArray[np.uint8] | None:
        """The image, as long as somebody else holds it: a result keeps no pixels alive.

        None for a result that never saw one, or was copied to another process. An array that was
        written to since shows what is in it now.
        """
        return self._image()

    def with_image(self, image: npt.NDArray[np.uint8]) -> DetectionResult:
        """The same result, which knows its image; the engine does this for every result.

        Args:
            image: The array, of which a weak reference is kept.
        """
        return self.with_image_from(weakref.ref(image))

    def with_image_from(self, image: Callable[[], npt.NDArray[np.uint8] | None]) -> DetectionResult:
        """The same result, which asks for its image where somebody wants to see it.

        Args:
            image: Gives the array, or `None` where it is gone; is to keep no pixels alive.
        """
        copy = object.__new__(DetectionResult)
        _fill(copy, self.boxes, self.scores, self.classes, self.metadata)
        return _seen(copy, image)

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
    image: Callable[[], npt.NDArray[np.uint8] | None] | None = None,
) -> None:
    object.__setattr__(result, "boxes", boxes)
    object.__setattr__(result, "scores", scores)
    object.__setattr__(result, "classes", classes)
    object.__setattr__(result, "metadata", metadata)
    object.__setattr__(result, "_image", image or _no_image)


def _no_image() -> None:
    """Stands in for a weak reference that is dead."""


def _retold(
    result: DetectionResult,
    metadata: dict[str, Any],
    image: Callable[[], npt.NDArray[np.uint8] | None],
) -> DetectionResult:
    copy = object.__new__(DetectionResult)
    metadata["num_detections"] = len(result.boxes)
    said = MappingProxyType(metadata)
    _fill(copy, result.boxes, result.scores, result.classes, said, image)
    return copy


def _seen(
    result: DetectionResult, image: Callable[[], npt.NDArray[np.uint8] | None]
) -> DetectionResult:
    object.__setattr__(result, "_image", image)
    return result


def _short(name: str) -> str:
    """A name from a model file as a terminal can take it."""
    kept = name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
    return "".join(c if c.isprintable() else " " for c in kept)
