"""`show_worst`: two pictures for each image, of the images that the report means."""

from __future__ import annotations

import numpy as np
import pytest

from detkit.detection.optimization_report import OptimizationReport, compare
from detkit.notebook import show_worst
from detkit.results import DetectionResult

IMAGES = [np.full((90, 160, 3), 10 * i, np.uint8) for i in range(8)]


def result(*boxes: list[float]) -> DetectionResult:
    facts = {"image_hw": (90, 160), "class_names": {0: "nut"}}
    return DetectionResult(boxes, [0.5] * len(boxes), [0] * len(boxes), facts)


@pytest.fixture
def report() -> OptimizationReport:
    box = [10, 10, 40, 40]
    fidelity = compare(
        [(3, "photos/a.jpg"), (7, "image 7")],
        [result(box), result(box, [60, 20, 90, 80])],
        [result(box), result()],
    )
    return OptimizationReport(
        "nuts", "int8", None, "the head", 6, 2, 0.95, fidelity, "bf16", 9.0, 6.0, (384, 640)
    )


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_the_worst_come_first_with_float32_on_the_left(report):
    shown = texts(show_worst(report, IMAGES))
    titles = [text for text in shown if text.startswith(("float32", "int8"))]
    assert titles == ["float32, image 7", "int8, image 7", "float32, a.jpg", "int8, a.jpg"]
    assert [t for t in shown if "found" in t] == ["2 found", "nothing found", "1 found", "1 found"]


def test_no_more_than_asked(report):
    assert [t for t in texts(show_worst(report, IMAGES, max_images=1)) if "found" in t] == [
        "2 found",
        "nothing found",
    ]
    with pytest.raises(ValueError, match="max_images=0"):
        show_worst(report, IMAGES, max_images=0)


def test_other_images_are_noticed(report):
    with pytest.raises(ValueError, match="image 7, but 5 images were given"):
        show_worst(report, IMAGES[:5])
    with pytest.raises(ValueError, match="image of height and width"):
        show_worst(report, [np.zeros((50, 50, 3), np.uint8)] * 8)
