"""Plain arithmetic on boxes: `(N, 4)` arrays of `x_min, y_min, x_max, y_max` in pixels.

Knows numpy only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.integer]


def area(boxes: FloatArray) -> FloatArray:
    """Areas in square pixels, shape `(N,)`; a degenerate box has area 0."""
    wh = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(wh[:, 0] * wh[:, 1])


def pairwise_iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of every box of `a` with every box of `b`.

    Args:
        a: `(N, 4)` xyxy.
        b: `(M, 4)` xyxy.

    Returns:
        `(N, M)` array in [0, 1]; 0 where both boxes are degenerate.
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    wh = np.maximum(bottom_right - top_left, 0)
    intersection = wh[..., 0] * wh[..., 1]
    union = area(a)[:, None] + area(b)[None, :] - intersection
    return np.asarray(intersection / np.maximum(union, np.finfo(np.float32).tiny))


def clip_to_image(boxes: FloatArray, image_hw: tuple[int, int]) -> FloatArray:
    """A copy of `boxes` with every corner inside an image of height and width `image_hw`."""
    height, width = image_hw
    return np.clip(boxes, 0, np.array([width, height, width, height], dtype=boxes.dtype))


class Agreement(NamedTuple):
    """How well predictions match the truth: counts, and what follows from them."""

    true_positives: int
    false_positives: int
    false_negatives: int
    sum_iou: float

    @property
    def precision(self) -> float:
        """Share of predictions that are right; 1 when there are none."""
        predicted = self.true_positives + self.false_positives
        return self.true_positives / predicted if predicted else 1.0

    @property
    def recall(self) -> float:
        """Share of true objects that were found; 1 when there are none."""
        actual = self.true_positives + self.false_negatives
        return self.true_positives / actual if actual else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 when there is nothing on either side."""
        total = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / total if total else 1.0

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the matched pairs; 0 when none matched."""
        return self.sum_iou / self.true_positives if self.true_positives else 0.0

    def plus(self, other: Agreement) -> Agreement:
        """Both together, as if their images had been judged in one go."""
        return Agreement(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.sum_iou + other.sum_iou,
        )


def match(
    boxes: FloatArray,
    classes: IntArray,
    true_boxes: FloatArray,
    true_classes: IntArray,
    iou_threshold: float = 0.5,
) -> list[tuple[int, int, float]]:
    """Pair predictions with true objects of the same class, best overlap first.

    Args:
        boxes: `(N, 4)` predicted boxes.
        classes: `(N,)` predicted class ids.
        true_boxes: `(M, 4)`.
        true_classes: `(M,)`.
        iou_threshold: Smallest overlap that counts as a match.

    Returns:
        `(index of prediction, index of truth, IoU)` triples, each index at most once.
    """
    if len(boxes) == 0 or len(true_boxes) == 0:
        return []
    iou = pairwise_iou(boxes, true_boxes)
    iou = np.where(classes[:, None] == true_classes[None, :], iou, -1.0)
    pairs: list[tuple[int, int, float]] = []
    used_a: set[int] = set()
    used_b: set[int] = set()
    candidates = np.argwhere(iou >= iou_threshold)
    order = np.argsort(-iou[candidates[:, 0], candidates[:, 1]], kind="stable")
    for i, j in candidates[order].tolist():
        if i not in used_a and j not in used_b:
            used_a.add(i)
            used_b.add(j)
            pairs.append((i, j, float(iou[i, j])))
    return pairs


def agreement(
    boxes: FloatArray,
    classes: IntArray,
    true_boxes: FloatArray,
    true_classes: IntArray,
    iou_threshold: float = 0.5,
) -> Agreement:
    """Count matches, false alarms and misses of one image; see `match` for the arguments."""
    pairs = match(boxes, classes, true_boxes, true_classes, iou_threshold)
    found = len(pairs)
    sum_iou = float(sum(iou for _, _, iou in pairs))
    return Agreement(found, len(boxes) - found, len(true_boxes) - found, sum_iou)
