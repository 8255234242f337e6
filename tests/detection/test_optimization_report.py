"""Agreement of two models, counted by hand."""

from __future__ import annotations

import pytest

from detkit.detection.optimization_report import MAX_WORST, OptimizationReport, compare
from detkit.results import DetectionResult

BOX, NEAR, FAR = [0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]


def found(*boxes, scores=None, classes=None) -> DetectionResult:
    num = len(boxes)
    return DetectionResult(boxes, scores or [0.9] * num, classes or [0] * num)


def judge(expected, results):
    names = [(4 * i + 3, f"image {4 * i + 3}") for i in range(len(expected))]
    return compare(names, expected, results)


def test_identical_results_agree_in_full():
    fidelity = judge([found(BOX, FAR), found()], [found(BOX, FAR), found()])
    assert (fidelity.f1, fidelity.mean_iou, fidelity.score_drift) == (1, 1, 0)
    assert fidelity.num_boxes == 2


def test_pairs_misses_and_false_alarms_are_counted():
    expected = [found(BOX, FAR, scores=[0.9, 0.8]), found(BOX)]
    results = [found(NEAR, scores=[0.7]), found(BOX, classes=[1])]
    fidelity = judge(expected, results)
    assert fidelity.f1 == pytest.approx(2 * 1 / (3 + 2))
    assert fidelity.mean_iou == pytest.approx(0.8)
    assert fidelity.score_drift == pytest.approx(0.2)
    assert fidelity.num_boxes == 3
    assert [entry.index for entry in fidelity.worst] == [7, 3]
    assert [entry.num_wrong for entry in fidelity.worst] == [2, 1]
    assert fidelity.worst[1].expected is expected[0]
    assert fidelity.worst[1].found is results[0]


def test_only_the_worst_are_kept():
    many = [found(BOX)] * 40
    fidelity = judge(many, [found(BOX, scores=[0.9 - i / 100]) for i in range(40)])
    assert [entry.index for entry in fidelity.worst] == [4 * i + 3 for i in range(39, 27, -1)]
    assert len(fidelity.worst) == MAX_WORST


def test_nothing_on_either_side_agrees():
    fidelity = judge([found()], [found()])
    assert (fidelity.f1, fidelity.mean_iou, fidelity.num_boxes) == (1, 0, 0)


@pytest.mark.parametrize(("after_ms", "is_faster"), [(6.0, True), (8.9, False), (12.0, False)])
def test_it_says_plainly_when_int8_is_not_faster(after_ms, is_faster):
    fidelity = compare([], [], [])
    report = OptimizationReport(
        "nuts", "int8", None, "the head", 6, 2, 0.95, fidelity, "bf16", 9.0, after_ms, (384, 640)
    )
    assert report.is_faster is is_faster
    assert ("int8 is not faster here" in repr(report)) is not is_faster
    assert f"{9 / after_ms:.2f} times as fast at 384x640" in repr(report)
