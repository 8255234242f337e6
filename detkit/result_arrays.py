"""What may be the boxes, scores and classes of a result: checked, converted, read-only.

Each function raises `InvalidResultError`. Knows numpy and `errors` only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from detkit.errors import InvalidResultError

# A score may leave [0, 1] by this much through float16 or bfloat16 rounding; it is clipped.
_SCORE_TOLERANCE = 1e-3


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


def checked_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """`(N, 4)` float32, finite, corners in order."""
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


def checked_scores(scores: npt.ArrayLike, num: int) -> npt.NDArray[np.float32]:
    """`(num,)` float32 in [0, 1]."""
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


def checked_classes(classes: npt.ArrayLike, num: int) -> npt.NDArray[np.int64]:
    """`(num,)` int64, not negative."""
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
