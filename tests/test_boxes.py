"""Arithmetic on boxes against the plainest possible counting of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detkit.boxes import Agreement, agreement, area, clip_to_image, match, pairwise_iou

SIDE = 12
CORNER = st.integers(0, SIDE)


@st.composite
def whole_boxes(draw: st.DrawFn, max_size: int = 6) -> np.ndarray:
    """Boxes with whole corners, so that counting pixels is exact."""
    rows = draw(st.lists(st.tuples(CORNER, CORNER, CORNER, CORNER), max_size=max_size))
    boxes = np.array(rows, dtype=np.float32).reshape(-1, 4)
    return np.hstack(
        [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])]
    )


def painted(box: np.ndarray) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    x_min, y_min, x_max, y_max = box.astype(int)
    mask[y_min:y_max, x_min:x_max] = True
    return mask


@given(whole_boxes())
def test_area_counts_pixels(boxes: np.ndarray) -> None:
    np.testing.assert_array_equal(area(boxes), [painted(box).sum() for box in boxes])


@given(whole_boxes(), whole_boxes())
def test_iou_counts_pixels(a: np.ndarray, b: np.ndarray) -> None:
    iou = pairwise_iou(a, b)
    assert iou.shape == (len(a), len(b))
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            union = (painted(first) | painted(second)).sum()
            both = (painted(first) & painted(second)).sum()
            assert iou[i, j] == pytest.approx(both / union if union else 0.0)


def test_swapped_corners_have_no_area() -> None:
    assert area(np.array([[5.0, 5.0, 1.0, 1.0]])).tolist() == [0.0]


@given(whole_boxes())
def test_clipping_keeps_what_is_inside(boxes: np.ndarray) -> None:
    np.testing.assert_array_equal(clip_to_image(boxes, (SIDE, SIDE)), boxes)
    clipped = clip_to_image(boxes - 5, (4, 3))
    assert clipped.dtype == boxes.dtype
    assert (clipped >= 0).all()
    assert (clipped <= [3, 4, 3, 4]).all()


@given(whole_boxes(), whole_boxes(), st.data())
def test_each_box_is_matched_at_most_once(
    a: np.ndarray, b: np.ndarray, data: st.DataObject
) -> None:
    classes_a = np.array([data.draw(st.integers(0, 1)) for _ in a], dtype=int)
    classes_b = np.array([data.draw(st.integers(0, 1)) for _ in b], dtype=int)
    pairs = match(a, classes_a, b, classes_b)
    assert len({i for i, _, _ in pairs}) == len({j for _, j, _ in pairs}) == len(pairs)
    for i, j, iou in pairs:
        assert iou >= 0.5
        assert classes_a[i] == classes_b[j]
    overlaps = [iou for _, _, iou in pairs]
    assert overlaps == sorted(overlaps, reverse=True)


@given(whole_boxes())
def test_boxes_with_an_area_agree_with_themselves(boxes: np.ndarray) -> None:
    boxes = boxes[area(boxes) > 0]
    classes = np.zeros(len(boxes), dtype=int)
    found = agreement(boxes, classes, boxes, classes)
    assert (found.f1, found.precision, found.recall) == (1.0, 1.0, 1.0)
    assert found.mean_iou == pytest.approx(1.0 if len(boxes) else 0.0)


def test_counts_of_a_small_example() -> None:
    truth = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [40, 0, 50, 10]], dtype=np.float32)
    found = np.array([[0, 0, 10, 9], [20, 20, 30, 30], [70, 70, 80, 80]], dtype=np.float32)
    result = agreement(found, np.array([0, 1, 0]), truth, np.array([0, 0, 0]))
    assert result[:3] == (1, 2, 2)
    assert result.precision == result.recall == result.f1 == pytest.approx(1 / 3)
    assert result.mean_iou == pytest.approx(0.9)


def test_agreements_add_up() -> None:
    both = Agreement(1, 0, 2, 0.9).plus(Agreement(2, 1, 0, 1.5))
    assert both == Agreement(3, 1, 2, 2.4)


def test_nothing_against_nothing_is_perfect_and_against_something_is_not() -> None:
    none, one = np.empty((0, 4)), np.array([[0.0, 0, 4, 4]])
    no_class, a_class = np.empty(0, int), np.zeros(1, int)
    assert agreement(none, no_class, none, no_class).f1 == 1
    assert agreement(none, no_class, one, a_class).f1 == 0
    assert agreement(one, a_class, none, no_class).f1 == 0
