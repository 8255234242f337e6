"""Where an optimised model and its float32 original disagree most, side by side.

Owns the pairing of pictures; the layout is that of `show_grid`. Knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from detkit.detection.optimization_report import OptimizationReport
from detkit.notebook.figures import Picture
from detkit.notebook.grids import show_grid
from detkit.notebook.picture_lists import AnyImage
from detkit.results import DetectionResult


def show_worst(
    report: OptimizationReport, images: Sequence[AnyImage], *, max_images: int = 4
) -> Picture:
    """Draw the images on which two models disagree most: float32 left, the optimised one right.

    Args:
        report: What `optimize` returned, or the `report` of its `AccuracyLossError`.
        images: The images that `optimize` was given, in the same order.
        max_images: How many of the worst, at most.

    Returns:
        A matplotlib figure. As the last value of a cell it is shown once.

    Raises:
        ValueError: If `images` are others, or `max_images` is less than 1.
    """
    if max_images < 1:
        raise ValueError(f"{max_images=} must be at least 1")
    pictures: list[AnyImage] = []
    results: list[DetectionResult] = []
    names: list[str] = []
    for entry in report.worst[:max_images]:
        if entry.index >= len(images):
            raise ValueError(
                f"the report speaks of image {entry.index}, but {len(images)} images were given: "
                "pass those that optimize was given"
            )
        pictures += [images[entry.index]] * 2
        results += [entry.expected, entry.found]
        name = os.path.basename(entry.source)  # noqa: PTH119  it may be no file at all
        names += [f"float32, {name}", f"{report.precision}, {name}"]
    return show_grid(pictures, results, names, columns=2, max_images=len(pictures))
