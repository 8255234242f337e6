from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.detection.postprocess import (
    MAX_CANDIDATES,
    Detections,
    Level,
    as_anchors,
    decode_anchors,
    decode_levels,
    decode_rows,
    suppress,
)
from detkit.errors import InvalidResultError


def raw_output(boxes_xywh, scores) -> np.ndarray:
    """`(4 + nc, A)` from `(A, 4)` and `(A, nc)`."""
    both = np.concatenate([np.asarray(boxes_xywh), np.asarray(scores)], axis=1)
    return np.ascontiguousarray(both.T.astype(np.float32))


def slow_suppress(found: Detections, iou_threshold, max_detections, agnostic) -> list[int]:
    """The textbook: one box against another, in the order of the scores."""
    kept: list[int] = []
    for i in range(len(found.boxes)):
        for k in kept:
            if not agnostic and found.classes[i] != found.classes[k]:
                continue
            a, b = found.boxes[i], found.boxes[k]
            w = max(np.float32(0), min(a[2], b[2]) - max(a[0], b[0]))
            h = max(np.float32(0), min(a[3], b[3]) - max(a[1], b[1]))
            inter = np.float32(w * h)
            area_a = (a[2] - a[0]) * (a[3] - a[1])
            area_b = (b[2] - b[0]) * (b[3] - b[1])
            if inter > np.float32(iou_threshold) * (area_b + area_a - inter):
                break
        else:
            kept.append(i)
    return kept[:max_detections]


@st.composite
def candidates(draw) -> Detections:
    num = draw(st.integers(0, 60)) if draw(st.booleans()) else draw(st.integers(250, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grid = draw(st.sampled_from([4, 12, 50]))  # a coarse grid makes ties and equal boxes
    corner = rng.integers(0, grid, (num, 2)).astype(np.float32)
    wh = rng.integers(0, grid, (num, 2)).astype(np.float32)
    scores = np.sort(rng.integers(0, 5, num).astype(np.float32) / 5)[::-1]
    classes = rng.integers(0, draw(st.sampled_from([1, 3])), num)
    return Detections(np.concatenate([corner, corner + wh], axis=1), scores.copy(), classes)


@settings(deadline=None, max_examples=60)
@given(
    found=candidates(),
    iou=st.sampled_from([0.0, 0.25, 0.45, 0.5, 0.7, 1.0]),
    limit=st.sampled_from([1, 5, 300]),
    agnostic=st.booleans(),
)
def test_suppression_equals_the_textbook(found, iou, limit, agnostic):
    expected = slow_suppress(found, iou, limit, agnostic)
    kept = suppress(found, iou_threshold=iou, max_detections=limit, agnostic=agnostic)
    assert np.array_equal(kept.boxes, found.boxes[expected])
    assert np.array_equal(kept.scores, found.scores[expected])
    assert np.array_equal(kept.classes, found.classes[expected])


def test_suppression_equals_torchvision():
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("torchvision.ops")
    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 300, (3000, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 90, (3000, 2))], 1).astype(np.float32)
    scores = np.sort(rng.random(3000).astype(np.float32))[::-1].copy()
    found = Detections(boxes, scores, np.zeros(3000, np.int64))
    expected = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5).numpy()
    kept = suppress(found, iou_threshold=0.5, max_detections=3000)
    assert np.array_equal(kept.boxes, boxes[expected])


def test_decoding_keeps_scores_of_exactly_the_threshold_and_sorts():
    raw = raw_output(
        [[10, 10, 4, 8], [20, 20, 4, 4], [30, 30, 4, 4]], [[0.5, 0.1], [0.2, 0.75], [0.1, 0.4]]
    )
    found = decode_anchors(raw, confidence_threshold=0.5)
    assert found.scores.tolist() == [0.75, 0.5]
    assert found.classes.tolist() == [1, 0]
    assert found.boxes.tolist() == [[18, 18, 22, 22], [8, 6, 12, 14]]
    assert found.classes.dtype == np.int64


def test_a_class_filter_looks_at_the_best_class_of_an_anchor():
    raw = raw_output([[10, 10, 4, 8], [20, 20, 4, 4]], [[0.5, 0.6], [0.9, 0.75]])
    assert decode_anchors(raw, confidence_threshold=0.1, classes=(1,)).classes.tolist() == [1]
    assert len(decode_anchors(raw, confidence_threshold=0.1, classes=()).scores) == 0


def test_ties_keep_the_order_of_the_anchors():
    raw = raw_output([[i, 5, 2, 2] for i in range(1, 9)], [[0.5]] * 8)
    found = decode_anchors(raw, confidence_threshold=0.1)
    assert found.boxes[:, 0].tolist() == list(range(8))


def test_decoding_does_not_touch_or_keep_the_raw_output():
    raw = raw_output([[10, 10, 4, 8]], [[0.5, 0.1]])
    raw.flags.writeable = False
    found = decode_anchors(raw, confidence_threshold=0.1)
    found = suppress(found, iou_threshold=0.7, max_detections=9)
    assert not any(np.shares_memory(array, raw) for array in found)


def test_boxes_turned_inside_out_are_no_boxes():
    raw = raw_output([[10, 10, -4, 8], [10, 10, 4, 0]], [[0.9], [0.8]])
    assert decode_anchors(raw, confidence_threshold=0.1).scores.tolist() == [np.float32(0.8)]


@pytest.mark.parametrize("row, column", [(0, 0), (3, 1), (4, 0), (5, 1)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_errors_wherever_they_stand(row, column, value):
    raw = raw_output([[10, 10, 4, 8], [20, 20, 4, 4]], [[0.5, 0.1], [0.2, 0.75]])
    raw[row, column] = value
    with pytest.raises(InvalidResultError, match="NaN"):
        decode_anchors(raw, confidence_threshold=0.9)


def test_no_more_than_the_limit_of_candidates():
    num = MAX_CANDIDATES + 10
    raw = np.zeros((5, num), np.float32)
    raw[2:4] = 1
    raw[4] = np.linspace(0.1, 0.9, num)
    found = decode_anchors(raw, confidence_threshold=0)
    assert len(found.scores) == MAX_CANDIDATES
    assert found.scores[0] == raw[4].max()


def test_rows_are_filtered_and_sorted():
    rows = np.array(
        [[0, 0, 5, 5, 0.4, 1], [1, 1, 9, 9, 0.8, 0], [2, 2, 4, 4, 0.1, 0], [0, 0, 0, 0, 0, 0]],
        np.float32,
    )
    found = decode_rows(rows, confidence_threshold=0)
    assert found.scores.tolist() == [np.float32(s) for s in (0.8, 0.4, 0.1)]
    assert decode_rows(rows, confidence_threshold=0.2, classes=(1,)).classes.tolist() == [1]
    rows[2, 4] = np.nan
    with pytest.raises(InvalidResultError):
        decode_rows(rows, confidence_threshold=0.2)


def test_a_crowd_at_a_low_threshold_is_fully_judged():
    rng = np.random.default_rng(0)
    raw = np.empty((84, 8400), np.float32)
    raw[:2] = rng.uniform(0, 640, (2, 8400))
    raw[2:4] = rng.uniform(5, 60, (2, 8400))
    raw[4:] = rng.uniform(0, 0.4, (80, 8400))
    found = decode_anchors(raw, confidence_threshold=0.001)
    assert len(found.scores) == 8400
    kept = suppress(found, iou_threshold=0.7, max_detections=8400, agnostic=True)
    again = suppress(kept, iou_threshold=0.7, max_detections=8400, agnostic=True)
    assert np.array_equal(kept.boxes, again.boxes)


def head_output(seed: int, num_classes: int = 3) -> tuple[Level, ...]:
    """Three grids of a network's input of 64 x 96 with scores of every size."""
    rng = np.random.default_rng(seed)
    sizes = [(stride, 64 // stride, 96 // stride) for stride in (8, 16, 32)]
    return tuple(
        Level(
            stride,
            rng.normal(-2, 3, (num_classes, height, width)).astype(np.float32),
            rng.normal(0, 3, (64, height, width)).astype(np.float32),
        )
        for stride, height, width in sizes
    )


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    confidence=st.sampled_from([0, 1e-6, 0.05, 0.25, 0.5, 0.9, 0.999, 1]),
    classes=st.sampled_from([None, (1,), (0, 2), ()]),
)
def test_a_head_decoded_where_it_matters_is_the_whole_head_decoded(seed, confidence, classes):
    levels = head_output(seed)
    few = decode_levels(levels, confidence_threshold=confidence, classes=classes)
    every = decode_anchors(as_anchors(levels), confidence_threshold=confidence, classes=classes)
    assert np.array_equal(few.scores, every.scores)
    assert np.array_equal(few.classes, every.classes)
    assert np.allclose(few.boxes, every.boxes, atol=1e-3)
    assert (few.boxes.dtype, few.classes.dtype) == (np.float32, np.int64)


def test_sides_of_a_box_are_means_in_strides_from_the_middle_of_its_cell():
    logits, distances = np.full((1, 2, 4), -9, np.float32), np.full((64, 2, 4), -50, np.float32)
    logits[0, 1, 2] = 9
    for side, strides in enumerate((2, 1, 3, 0)):
        distances[16 * side + strides, 1, 2] = 50
    found = decode_levels((Level(8, logits, distances),), confidence_threshold=0.5)
    # The middle is at (20, 12).
    assert found.boxes.tolist() == [[4, 4, 44, 12]]
    assert found.scores[0] == pytest.approx(0.99988, abs=1e-5)


def test_a_logit_at_either_end_of_what_a_float_holds_is_a_score():
    level = head_output(1)[0]
    level.logits[:] = -1e4
    level.logits[1, 0, 0] = 1e4
    found = decode_levels((level,), confidence_threshold=1)
    assert found.scores.tolist() == [1]
    assert len(decode_levels((level,), confidence_threshold=0).scores) == 96


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_of_a_head_are_errors(value):
    levels = head_output(2)
    levels[1].logits[:, 2, 3] = value
    with pytest.raises(InvalidResultError, match="NaN"):
        decode_levels(levels, confidence_threshold=0.9999)
    levels = head_output(2)
    levels[1].logits[0, 2, 3] = 20
    levels[1].distances[17, 2, 3] = value
    with pytest.raises(InvalidResultError, match="NaN"):
        decode_levels(levels, confidence_threshold=0.9999)


def test_decoding_a_head_does_not_touch_or_keep_what_it_said():
    levels = head_output(3)
    for level in levels:
        level.logits.flags.writeable = level.distances.flags.writeable = False
    found = decode_levels(levels, confidence_threshold=0.5)
    assert len(found.scores) > 0
    every = [array for level in levels for array in (level.logits, level.distances)]
    assert not any(np.shares_memory(mine, array) for mine in found for array in every)
