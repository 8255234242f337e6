"""From a network's raw numbers to boxes: threshold, class filter, suppression, limit.

Pure numpy on arrays. There is no time limit anywhere: every candidate is judged. Knows
nothing of images, models or runtimes.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from detkit.errors import InvalidResultError

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

# More candidates than this, and the weakest are left out, as ultralytics does (`max_nms`).
MAX_CANDIDATES = 30_000
# Candidates judged together. Larger blocks waste comparisons, smaller ones waste Python.
_BLOCK = 256
_DAMAGED = (
    "the network returned NaN or infinity; the weights may be damaged, or the precision too low "
    "for this model: try precision='fp32'"
)


class Detections(NamedTuple):
    """Boxes `(N, 4)` xyxy float32, scores `(N,)` float32, class ids `(N,)` int64, best first."""

    boxes: F32
    scores: F32
    classes: I64


_NOTHING = Detections(
    np.empty((0, 4), dtype=np.float32),
    np.empty(0, dtype=np.float32),
    np.empty(0, dtype=np.int64),
)


class Level(NamedTuple):
    """What a YOLOv8 or YOLO11 head says of one grid of anchors, before it is decoded.

    Attributes:
        stride: Distance between neighbouring anchors, in pixels of the network's input.
        logits: `(num_classes, h, w)` float32, the scores before the logistic function.
        distances: `(4 * bins, h, w)` float32. For the left, upper, right and lower side in turn:
            how likely it is 0, 1, … strides away from the anchor, before the softmax. (That is
            distribution focal loss, Li et al. 2020.)
    """

    stride: int
    logits: F32
    distances: F32


RawOutput: TypeAlias = F32 | list[tuple[Level, ...]]
"""Of a whole batch: one array, or the levels of each image."""


def decode_levels(
    levels: tuple[Level, ...],
    *,
    confidence_threshold: float,
    classes: tuple[int, ...] | None = None,
) -> Detections:
    """As `decode_anchors`, of a head that left its decoding to us: it is done for few anchors.

    Raises:
        InvalidResultError: If the network returned NaN or infinity.
    """
    planes = [level.logits.reshape(len(level.logits), -1) for level in levels]
    best = np.concatenate([plane.max(axis=0) for plane in planes])
    if not np.isfinite(best).all():  # a NaN anywhere in the logits reaches `best`
        raise InvalidResultError(_DAMAGED)
    (index,) = np.nonzero(best >= np.float32(_logit(confidence_threshold)))
    # Rounding must not decide: the score itself is compared.
    scores = _logistic(best[index])
    wanted = scores >= np.float32(confidence_threshold)
    index, scores = index[wanted], scores[wanted]
    ids, boxes = [_NOTHING.classes], [_NOTHING.boxes]
    first = 0
    for level, plane in zip(levels, planes, strict=True):
        end = first + plane.shape[1]
        start, stop = np.searchsorted(index, (first, end))
        if stop > start:
            here = index[start:stop] - first
            ids.append(plane[:, here].argmax(axis=0))
            boxes.append(_boxes_of(level, here))
        first = end
    found = Detections(np.concatenate(boxes), scores, np.concatenate(ids))
    if classes is not None:
        found = _pick(found, np.nonzero(np.isin(found.classes, classes))[0])
    return _pick(found, np.argsort(-found.scores, kind="stable")[:MAX_CANDIDATES])


def as_anchors(levels: tuple[Level, ...]) -> F32:
    """All that the head says, decoded: what `decode_anchors` takes."""
    scores, boxes = [], []
    for level in levels:
        num_classes, height, width = level.logits.shape
        scores.append(_logistic(level.logits.reshape(num_classes, -1)))
        xyxy = _boxes_of(level, np.arange(height * width)).T
        boxes.append(np.concatenate([(xyxy[:2] + xyxy[2:]) / 2, xyxy[2:] - xyxy[:2]]))
    return np.concatenate([np.concatenate(boxes, axis=1), np.concatenate(scores, axis=1)])


def _pick(found: Detections, index: I64) -> Detections:
    return Detections(found.boxes[index], found.scores[index], found.classes[index])


def _logit(score: float) -> float:
    """A little less than the logit of a score in [0, 1]."""
    likely = min(max(score, 1e-36), 1 - 1e-7)  # of a float32
    return math.log(likely / (1 - likely)) - 1e-3 if score > 0 else -math.inf


def _boxes_of(level: Level, index: I64) -> F32:
    """`(N, 4)` xyxy of these anchors of a grid."""
    bins, width = len(level.distances) // 4, level.distances.shape[2]
    sides = level.distances.reshape(4, bins, -1)[:, :, index]
    if not np.isfinite(sides).all():
        raise InvalidResultError(_DAMAGED)
    weights = np.exp(sides - sides.max(axis=1, keepdims=True))
    far = np.arange(bins, dtype=np.float32)[:, None]
    away = (weights * far).sum(axis=1) / weights.sum(axis=1)
    row, column = np.divmod(index, width)
    centre = np.stack([column, row]).astype(np.float32) + np.float32(0.5)
    corners = np.concatenate([centre - away[:2], centre + away[2:]])
    boxes: F32 = np.ascontiguousarray(corners.T) * np.float32(level.stride)
    return boxes


def _logistic(logits: F32) -> F32:
    # Below the limit a float32 would overflow; the score is nothing anyway.
    scores: F32 = 1 / (1 + np.exp(-np.maximum(logits, np.float32(-80))))
    return scores


def decode_anchors(
    raw: F32, *, confidence_threshold: float, classes: tuple[int, ...] | None = None
) -> Detections:
    """Candidates of a YOLOv8 or YOLO11 head: one per anchor, with its best class.

    Args:
        raw: `(4 + num_classes, A)` float32: centre x, centre y, width and height in pixels of
            the network's input, then one score per class. Not written to.
        confidence_threshold: Keep scores of at least this.
        classes: Keep these class ids only. An anchor counts with its best class.

    Returns:
        Candidates sorted by score, ties in the order of the anchors, in memory of their own.

    Raises:
        InvalidResultError: If the network returned NaN or infinity.
    """
    best = raw[4:].max(axis=0)
    # A NaN anywhere in the scores reaches `best`.
    if not (np.isfinite(best).all() and np.isfinite(raw[:4]).all()):
        raise InvalidResultError(_DAMAGED)
    # A head without distribution focal loss can return boxes turned inside out: no boxes.
    real = (raw[2] >= 0) & (raw[3] >= 0)
    (index,) = np.nonzero((best >= np.float32(confidence_threshold)) & real)
    scores = best[index]
    ids = raw[4:, index].argmax(axis=0) if len(index) else np.empty(0, dtype=np.int64)
    if classes is not None:
        wanted = np.isin(ids, classes)
        index, scores, ids = index[wanted], scores[wanted], ids[wanted]
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    xywh = raw[:4, index[order]].T
    half = xywh[:, 2:] * np.float32(0.5)
    boxes = np.concatenate([xywh[:, :2] - half, xywh[:, :2] + half], axis=1)
    return Detections(boxes, scores[order], ids[order].astype(np.int64, copy=False))


def decode_rows(
    raw: F32, *, confidence_threshold: float, classes: tuple[int, ...] | None = None
) -> Detections:
    """Detections of a head that has done its own suppression.

    Args:
        raw: `(N, 6)` float32 rows of x_min, y_min, x_max, y_max, score, class id.
        confidence_threshold: Keep scores of at least this.
        classes: Keep these class ids only.

    Raises:
        InvalidResultError: If the network returned NaN or infinity.
    """
    if not np.isfinite(raw).all():
        raise InvalidResultError("the network returned NaN or infinity")
    keep = raw[:, 4] >= np.float32(confidence_threshold)
    # Such heads fill the rows that they do not need with zeros.
    keep &= (raw[:, 2] > raw[:, 0]) & (raw[:, 3] > raw[:, 1])
    if classes is not None:
        keep &= np.isin(raw[:, 5], classes)
    rows = raw[keep]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    return Detections(rows[:, :4].copy(), rows[:, 4].copy(), rows[:, 5].astype(np.int64))


def suppress(
    candidates: Detections, *, iou_threshold: float, max_detections: int, agnostic: bool = False
) -> Detections:
    """Greedy non-maximum suppression: a box falls to a better one that overlaps it too much.

    The definition is that of `torchvision.ops.nms`: best first, and a box goes when its IoU
    with a kept box is greater than `iou_threshold`. Blocks of candidates are compared at
    once, and the work ends as soon as `max_detections` boxes are kept.

    Args:
        candidates: Sorted by score, best first.
        iou_threshold: In [0, 1].
        max_detections: Keep at most this many.
        agnostic: Whether boxes of different classes suppress each other.

    Returns:
        What is left, in the same order, in memory of its own.
    """
    boxes = candidates.boxes
    classes = None if agnostic else candidates.classes
    kept = np.empty(0, dtype=np.int64)
    for start in range(0, len(boxes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(boxes)))
        if len(kept):
            fallen = _overlaps(boxes, classes, kept, block, iou_threshold).any(axis=0)
            block = block[~fallen]
        block = block[_greedy(_overlaps(boxes, classes, block, block, iou_threshold))]
        kept = np.concatenate([kept, block])[:max_detections]
        if len(kept) == max_detections:
            break
    return _pick(candidates, kept)


def _overlaps(
    boxes: F32, classes: I64 | None, a: I64, b: I64, iou_threshold: float
) -> npt.NDArray[np.bool_]:
    """`(len(a), len(b))`: whether box `a` and box `b` overlap by more than the threshold."""
    one, two = boxes[a], boxes[b]
    width = np.minimum(one[:, None, 2], two[None, :, 2])
    width -= np.maximum(one[:, None, 0], two[None, :, 0])
    height = np.minimum(one[:, None, 3], two[None, :, 3])
    height -= np.maximum(one[:, None, 1], two[None, :, 1])
    inter = np.maximum(width, 0, out=width)
    inter *= np.maximum(height, 0, out=height)
    union = _area(one)[:, None] + _area(two)[None, :]
    union -= inter
    union *= np.float32(iou_threshold)
    result: npt.NDArray[np.bool_] = inter > union
    if classes is not None:
        result &= classes[a][:, None] == classes[b][None, :]
    return result


def _area(boxes: F32) -> F32:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _greedy(overlaps: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which of a block stay: walk it best first, each survivor strikes out those after it."""
    alive = np.ones(len(overlaps), dtype=bool)
    # Only rows that overlap another box can strike anything out.
    for row in np.nonzero(np.triu(overlaps, 1).any(axis=1))[0]:
        if alive[row]:
            alive[row + 1 :] &= ~overlaps[row, row + 1 :]
    return alive
