"""`crops`: every box of one image cut out, side by side.

Knows tiles and their layout; never a detector.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from detkit.boxes import clip_to_image
from detkit.errors import ItemFailure, describe
from detkit.images import RGBImage
from detkit.notebook.figures import Picture
from detkit.notebook.layout import Caption, class_legend, laid_out, tile_width
from detkit.notebook.outcomes import Outcome, Record, outcome_list
from detkit.notebook.picture_lists import AnyImage, images_of
from detkit.notebook.tiles import make_tile, read_pixels
from detkit.results import DetectionResult


def crops(
    image: AnyImage | Outcome | Record,
    result: Outcome | Record | None = None,
    *,
    columns: int = 6,
    max_crops: int = 24,
    margin: float = 0.1,
) -> Picture:
    """Cut out what was found, the most confident first, each with its class and score.

    Args:
        image: A uint8 RGB array of shape (H, W, 3), a path, or the bytes of an image file.
        result: What was found in it; may be passed alone where its image is known, as for
            `show_grid`.
        columns: Crops side by side, at most.
        max_crops: Crops in all, at most.
        margin: How much of the surroundings to show, as a share of the box's longer side.

    Returns:
        A matplotlib figure. As the last value of a cell it is shown once.

    Raises:
        ValueError: If nothing was found, the image cannot be read, or a number is out of range.
    """
    given: Any = image
    if result is None:
        result, given = given, images_of(given)[0]
    (outcome,) = outcome_list(result)
    if isinstance(outcome, ItemFailure):
        raise ValueError(f"the detection in this image failed: {describe(outcome.exception)}")
    result = outcome
    if not len(result):
        raise ValueError("nothing was found in this image, so there is nothing to cut out")
    if columns < 1 or max_crops < 1 or not margin >= 0:
        raise ValueError(f"{columns=} and {max_crops=} must be at least 1, {margin=} at least 0")
    pixels = read_pixels(given)
    best = np.argsort(-result.scores, kind="stable")[:max_crops].tolist()
    columns = min(columns, len(best))
    width = tile_width(columns, 220)
    tiles = [
        make_tile(_cut_out(pixels, result, i, margin), None, (width, width), False) for i in best
    ]
    captions = [
        Caption(result.class_name(result.classes[i]), f"{result.scores[i]:.2f}") for i in best
    ]
    footer = "" if len(best) == len(result) else f"the surest {len(best)} of {len(result)} boxes"
    return laid_out(tiles, captions, columns, width, class_legend([result]), footer)


def _cut_out(pixels: RGBImage, result: DetectionResult, index: int, margin: float) -> RGBImage:
    """The box and its surroundings, at least one pixel, inside the image."""
    height, width = pixels.shape[:2]
    box = result.boxes[index].astype(np.float64)
    extra = margin * max(box[2] - box[0], box[3] - box[1])
    grown = (box + np.array([-extra, -extra, extra, extra]))[None]
    left, top, right, bottom = clip_to_image(grown, (height, width))[0]
    x, y = min(int(left), width - 1), min(int(top), height - 1)
    x_end, y_end = max(x + 1, int(np.ceil(right))), max(y + 1, int(np.ceil(bottom)))
    return np.ascontiguousarray(pixels[y:y_end, x:x_end])
