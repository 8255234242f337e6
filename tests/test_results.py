"""`DetectionResult` is frozen, checked, and honest about what it holds."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from detkit.errors import InvalidResultError
from detkit.results import DetectionResult

BOXES = [[0, 0, 10, 20], [5, 5, 6, 6], [1, 2, 3, 4]]
NAMES = {0: "bolt", 2: "nut"}


def result(**metadata: Any) -> DetectionResult:
    return DetectionResult(BOXES, [0.9, 0.25, 0.5], [0, 2, 7], {"class_names": NAMES, **metadata})


def test_arrays_have_the_promised_types() -> None:
    made = result()
    assert (made.boxes.dtype, made.boxes.shape) == (np.float32, (3, 4))
    assert (made.scores.dtype, made.scores.shape) == (np.float32, (3,))
    assert (made.classes.dtype, made.classes.shape) == (np.int64, (3,))
    assert made.metadata["num_detections"] == len(made) == 3


@pytest.mark.parametrize("empty", [[], [[]], np.empty((0, 4)), np.empty((0, 4), np.float64)])
def test_no_boxes_is_a_result(empty: Any) -> None:
    made = DetectionResult(empty, [], [])
    assert made.boxes.shape == (0, 4)
    assert made == DetectionResult.empty()
    assert bool(made)
    assert len(made) == 0


BAD: dict[str, tuple[Any, Any, Any]] = {
    "three numbers": ([[0, 0, 1]], [0.5], [0]),
    "flat box": ([0, 0, 1, 1], [0.5], [0]),
    "ragged": ([[0, 0, 1, 1], [0]], [0.5, 0.5], [0, 0]),
    "text": ([["a", "b", "c", "d"]], [0.5], [0]),
    "none": (None, [0.5], [0]),
    "nan box": ([[0, 0, np.nan, 1]], [0.5], [0]),
    "infinite box": ([[0, 0, np.inf, 1]], [0.5], [0]),
    "swapped corners": ([[5, 0, 1, 1]], [0.5], [0]),
    "too few scores": ([[0, 0, 1, 1]], [], [0]),
    "column of scores": ([[0, 0, 1, 1]], [[0.5]], [0]),
    "nan score": ([[0, 0, 1, 1]], [np.nan], [0]),
    "score in per cent": ([[0, 0, 1, 1]], [87], [0]),
    "negative score": ([[0, 0, 1, 1]], [-0.5], [0]),
    "too many classes": ([[0, 0, 1, 1]], [0.5], [0, 1]),
    "half a class": ([[0, 0, 1, 1]], [0.5], [0.5]),
    "nan class": ([[0, 0, 1, 1]], [0.5], [np.nan]),
    "infinite class": ([[0, 0, 1, 1]], [0.5], [np.inf]),
    "negative class": ([[0, 0, 1, 1]], [0.5], [-1]),
    "class name": ([[0, 0, 1, 1]], [0.5], ["bolt"]),
    "class beyond int64": ([[0, 0, 1, 1]], [0.5], [2**63]),
    "class 1e300": ([[0, 0, 1, 1]], [0.5], [1e300]),
}


@pytest.mark.parametrize("name", BAD)
def test_nonsense_is_refused(name: str) -> None:
    with pytest.raises(InvalidResultError):
        DetectionResult(*BAD[name])


def test_rounding_just_beyond_one_is_clipped() -> None:
    made = DetectionResult([[0, 0, 1, 1]] * 2, [1.0005, -0.0005], [0, 0])
    assert made.scores.tolist() == [1.0, 0.0]


def test_nothing_can_be_changed() -> None:
    made = result()
    with pytest.raises(AttributeError, match="frozen"):
        made.boxes = made.boxes  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del made.scores
    for array in (made.boxes, made.scores, made.classes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(TypeError):
        made.metadata["model"] = "x"  # type: ignore[index]


def test_the_callers_arrays_stay_the_callers() -> None:
    boxes = np.array(BOXES, dtype=np.float32)
    scores = np.full(3, 0.5, dtype=np.float32)
    classes = np.zeros(3, dtype=np.int64)
    made = DetectionResult(boxes, scores, classes)
    boxes[0], scores[0], classes[0] = 99, 0.1, 4
    assert made.boxes[0].tolist() == BOXES[0]
    assert made.scores[0] == np.float32(0.5)
    assert made.classes[0] == 0


def test_a_view_of_the_callers_memory_is_copied() -> None:
    table = np.zeros((3, 6), dtype=np.float32)
    table[:, 2:4] = 5
    made = DetectionResult(table[:, :4], table[:, 4], table[:, 5])
    table[:] = 77
    assert made.boxes.max() == 5


def test_equality_ignores_metadata_and_nothing_else() -> None:
    assert result(inference_ms=1.0) == result(inference_ms=2.0)
    assert hash(result(a=1)) == hash(result(a=2))
    assert result() != result().filter(confidence_threshold=0.3)
    assert result() != DetectionResult(BOXES, [0.9, 0.25, 0.5], [0, 2, 6])
    assert result() != "result"


def test_pickling_keeps_everything() -> None:
    copy = pickle.loads(pickle.dumps(result(model="m")))
    assert copy == result()
    assert dict(copy.metadata) == dict(result(model="m").metadata)
    with pytest.raises(ValueError, match="read-only"):
        copy.boxes[0] = 0


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (NAMES, ["bolt", "nut", "class 7"]),
        (["bolt", "washer", "nut"], ["bolt", "nut", "class 7"]),
        (("bolt",), ["bolt", "class 2", "class 7"]),
        (None, ["class 0", "class 2", "class 7"]),
    ],
)
def test_names_come_from_the_metadata(names: Any, expected: list[str]) -> None:
    assert result(class_names=names).names == expected


def test_repr_names_the_best_three() -> None:
    assert repr(result()) == "DetectionResult(3 detections: bolt 0.90, class 7 0.50, nut 0.25)"
    assert repr(DetectionResult.empty()) == "DetectionResult(0 detections)"
    many = DetectionResult([[0, 0, 1, 1]] * 50, [0.5] * 50, [0] * 50)
    assert repr(many).endswith(", …)")
    assert len(repr(many)) < 120


def test_repr_is_short_and_one_line_whatever_a_class_is_called() -> None:
    names = {0: "\x1b[31m" + "x" * 10_000, 1: "a\nb"}
    said = repr(DetectionResult([[0, 0, 1, 1]] * 2, [0.9, 0.5], [0, 1], {"class_names": names}))
    assert said.isprintable()
    assert said.endswith("x… 0.90, a b 0.50)")
    assert len(said) < 120


def test_filter_keeps_order_and_per_box_metadata() -> None:
    tracked = result(tracker_ids=np.array([11, 12, 13]))
    kept = tracked.filter(confidence_threshold=0.3)
    assert kept.classes.tolist() == [0, 7]
    assert kept.metadata["tracker_ids"].tolist() == [11, 13]
    assert kept.metadata["num_detections"] == 2
    assert tracked.filter(classes=["nut", 7]).classes.tolist() == [2, 7]
    assert tracked.filter(min_area=4).classes.tolist() == [0, 7]
    assert tracked.filter(predicate=lambda r: r.boxes[:, 0] > 0).classes.tolist() == [2, 7]
    assert tracked.filter(confidence_threshold=0.25).classes.tolist() == [0, 2, 7]
    assert tracked.filter() is tracked


def test_a_threshold_is_compared_in_float32() -> None:
    # float32(0.9) is a little less than 0.9: an inclusive threshold must not lose it.
    assert len(DetectionResult([[0, 0, 1, 1]], [0.9], [0]).filter(confidence_threshold=0.9)) == 1


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(InvalidResultError, match=r"shape \(3,\)"):
        result().filter(predicate=lambda r: [True])


def test_with_metadata_adds_and_keeps_the_count_right() -> None:
    more = result().with_metadata(model="m", num_detections=99)
    assert more.metadata["model"] == "m"
    assert more.metadata["num_detections"] == 3
    assert more.boxes is not None
    assert more == result()
