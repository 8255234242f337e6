"""Crops, comparisons and charts show what is there; all pictures look as they did when looked at.

The references were looked at by a person. Fonts are drawn a little differently from one version of
a library to the next, so a picture may differ from its reference by `MEAN_TOLERANCE` levels of 255
on average, and by more than `LEVELS` in at most `SHARE_TOLERANCE` of its pixels. Written anew with
`DETKIT_WRITE_REFERENCES=1`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from detkit.errors import DetectorContractError, ItemFailure
from detkit.notebook import (
    compare,
    crops,
    plot_class_counts,
    plot_confidence,
    plot_timeline,
    show,
    show_grid,
)
from detkit.results import DetectionResult

REFERENCES = Path(__file__).parent / "references"
MEAN_TOLERANCE = 1.0
LEVELS = 48
SHARE_TOLERANCE = 0.002

NAMES = {0: "bolt", 1: "nut", 2: "gear"}
FACTS = {"class_names": NAMES, "image_hw": (180, 320)}


def picture_of(seed: int) -> np.ndarray:
    """Smooth shapes: they compress well and scale without surprises."""
    image = np.full((180, 320, 3), 40 + 12 * seed, np.uint8)
    cv2.rectangle(image, (20, 30), (120, 110), (190, 150, 60), -1)
    cv2.circle(image, (230, 100), 46, (90, 140, 190), -1)
    return image


IMAGES = [picture_of(seed) for seed in range(3)]
TWO = DetectionResult([[20, 30, 121, 111], [184, 54, 277, 147]], [0.92, 0.55], [0, 1], FACTS)
OTHER = DetectionResult([[22, 28, 121, 111], [150, 20, 200, 60]], [0.9, 0.4], [0, 2], FACTS)
NONE = DetectionResult.empty(FACTS)
FAILED = ItemFailure(2, "detect", DetectorContractError("it returned None"), "bad.jpg")
SERIES = [TWO, TWO, NONE, OTHER, FAILED, TWO]
TIMED = [
    o if isinstance(o, ItemFailure) else o.with_metadata(pts_seconds=i / 2)
    for i, o in enumerate(SERIES)
]

PICTURES: dict[str, Callable[[], Figure]] = {
    "grid": lambda: show_grid(IMAGES, [TWO, NONE, FAILED], ["a.jpg", "b.jpg", None], columns=3),
    "crops": lambda: crops(IMAGES[0], TWO, columns=2),
    "compare": lambda: compare(TWO, OTHER, IMAGES[0], names=("fast", "truth")),
    "confidence": lambda: plot_confidence(SERIES, threshold=0.5),
    "class_counts": lambda: plot_class_counts(SERIES),
    "timeline": lambda: plot_timeline(TIMED),
}


def drawn(figure: Figure, scale: float = 1) -> np.ndarray:
    file = io.BytesIO()
    # On white: the corners are open.
    figure.savefig(file, format="png", dpi=figure.dpi * scale, facecolor="white")
    return np.asarray(cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR_RGB))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_looks_as_it_did_when_it_was_looked_at(name: str) -> None:
    path = REFERENCES / f"{name}.png"
    pixels = drawn(PICTURES[name]())
    if os.environ.get("DETKIT_WRITE_REFERENCES"):
        cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    reference = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert reference is not None
    assert pixels.shape == reference.shape
    difference = np.abs(pixels.astype(int) - reference.astype(int))
    assert difference.mean() <= MEAN_TOLERANCE
    assert (difference.max(axis=2) > LEVELS).mean() <= SHARE_TOLERANCE


@pytest.mark.parametrize("name", PICTURES)
def test_at_twice_the_resolution_it_is_the_same_picture_only_sharper(name: str) -> None:
    once, twice = drawn(PICTURES[name]()), drawn(PICTURES[name](), scale=2)
    assert twice.shape[:2] == (2 * once.shape[0], 2 * once.shape[1])
    small = cv2.resize(twice, (once.shape[1], once.shape[0]), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - once.astype(int)).mean() <= 3 * MEAN_TOLERANCE


def test_one_missing_box_is_more_than_the_tolerance() -> None:
    """Else the references would prove nothing."""
    whole = drawn(show_grid(IMAGES[:2], [TWO, NONE], columns=2))
    less = drawn(show_grid(IMAGES[:2], [TWO.filter(classes=[0]), NONE], columns=2))
    rows = slice(40, 300)  # the tiles, without the captions and the legend
    difference = np.abs(whole[rows].astype(int) - less[rows].astype(int))
    assert (difference.max(axis=2) > LEVELS).mean() > SHARE_TOLERANCE


def test_crops_come_with_class_and_score_the_surest_first() -> None:
    assert texts(crops(IMAGES[0], TWO))[:4] == ["bolt", "0.92", "nut", "0.55"]
    limited = crops(IMAGES[0], TWO, max_crops=1)
    assert texts(limited)[-1] == "the surest 1 of 2 boxes"


def test_crops_of_boxes_at_the_edge_and_of_no_area_are_drawn() -> None:
    edge = DetectionResult(
        [[-50, -50, 10, 10], [319, 179, 400, 400], [5, 5, 5, 5], [900, 900, 950, 950]],
        [0.9, 0.8, 0.7, 0.6],
        [0, 0, 1, 2],
        FACTS,
    )
    figure = crops(IMAGES[0], edge)
    assert len(figure.axes) == 4


def test_a_comparison_counts_agreement_by_class_and_overlap() -> None:
    figure = compare([TWO, NONE], [OTHER, NONE], IMAGES[:2], names=("x", "y"))
    said = texts(figure)
    assert said[:4] == ["x · image 0", "2 found, 1 agreed", "y · image 0", "2 found, 1 agreed"]
    assert said[-3:] == ["agreed 1", "only x 1", "only y 1"]
    same_box_other_class = DetectionResult(TWO.boxes, TWO.scores, [2, 1], FACTS)
    assert "agreed 1" in texts(compare(TWO, same_box_other_class, IMAGES[0]))


def test_a_comparison_shows_the_worst_first_and_a_failure_above_all() -> None:
    figure = compare([TWO, TWO, TWO], [TWO, FAILED, OTHER], IMAGES, max_images=2)
    assert [t for t in texts(figure) if t.startswith("a ·")] == ["a · image 1", "a · image 2"]
    assert "2 of 3 images" in texts(figure)
    assert "failed at detect" in texts(figure)


def test_a_comparison_finds_the_images_that_somebody_holds() -> None:
    image = picture_of(0)
    assert len(compare(TWO.with_image(image), OTHER).axes) == 2
    with pytest.raises(ValueError, match="not held by anybody"):
        compare(TWO.with_image(picture_of(1)), OTHER)


def test_charts_say_how_many_images_failed_and_where_the_threshold_parts() -> None:
    assert "8 boxes in 6 images · 1 failed" in texts(plot_class_counts(SERIES))
    assert "8 boxes · 7 at 0.5 or more, 1 below" in texts(plot_confidence(SERIES, threshold=0.5))
    assert "8 boxes in 6 frames · 1 failed" in texts(plot_timeline(TIMED))
    assert plot_timeline(TIMED).axes[0].get_xlabel() == "seconds"
    assert plot_timeline(SERIES).axes[0].get_xlabel() == "number of the frame"


def test_many_classes_are_counted_together_beyond_a_dozen() -> None:
    many = DetectionResult(np.tile([0, 0, 5, 5], (40, 1)), np.full(40, 0.5), np.arange(40))
    figure = plot_class_counts([many])
    assert "29 other classes" in texts(figure)
    assert sum(bar.get_width() for bar in figure.axes[0].patches) == 40  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: crops(IMAGES[0], NONE), "nothing was found"),
        (lambda: crops(IMAGES[0], TWO, columns=0), "at least 1"),
        (lambda: compare([], []), "got 0 and 0"),
        (lambda: compare([TWO], [TWO, TWO]), "got 1 and 2"),
        (lambda: compare([TWO, TWO], [TWO, TWO], IMAGES), "3 images were given for 2 results"),
        (lambda: compare(TWO, TWO, IMAGES[0], iou_threshold=0), "iou_threshold"),
        (lambda: compare(TWO, TWO, np.zeros((9, 9, 3), np.uint8)), "same order"),
        (lambda: plot_confidence([NONE]), "nothing was found"),
        (lambda: plot_timeline([FAILED]), "nothing was found"),
    ],
)
def test_wrong_calls_are_told_apart(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_names_from_data_are_only_text() -> None:
    evil = {"class_names": {0: r"$\frac{$<b>" + "x" * 300, 1: "a\nb"}, "image_hw": (180, 320)}
    result = TWO.with_metadata(**evil, source="rtsp://me:hunter2@camera/$1")
    figures = [
        crops(IMAGES[0], result),
        compare([result, result], [result, OTHER], IMAGES[:2]),
        plot_confidence([result]),
        plot_class_counts([result]),
        plot_timeline([result, result]),
        show(IMAGES[0], result),
    ]
    for figure in figures:
        drawn(figure)
        assert "hunter2" not in " ".join(texts(figure))
        assert all(len(text) < 100 and "\n" not in text for text in texts(figure))
