"""One image and its outcome as a small annotated picture.

Owns reading, scaling and drawing of a single tile, and how a failed one looks. Knows pixels and
outcomes; never matplotlib.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from detkit.drawing import annotate
from detkit.errors import ImageDecodeError, ItemFailure, describe
from detkit.image_files import ImageSource, decode_image
from detkit.images import RGBImage, validate_image
from detkit.notebook.outcomes import Outcome
from detkit.results import DetectionResult

_ALARM_RGB = (180, 35, 24)
_PLACEHOLDER_RGB = (243, 244, 246)
_FRAME_PX = 3


# Tiles hold this many pixels for each one of the figure, so that a figure saved at twice its
# resolution, or looked at closely, is sharp.
DENSITY = 2
LINE_PX = 2 * DENSITY

Draw: TypeAlias = Callable[[RGBImage, DetectionResult], RGBImage]


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture ready to be placed.

    Attributes:
        pixels: uint8 RGB of shape (H, W, 3), `DENSITY` times as large as it is placed.
        outcome: What the detector said, if it was asked.
        stage: Where it failed, or `None`.
        error: What went wrong, or `None`.
    """

    pixels: RGBImage
    outcome: Outcome | None
    stage: str | None = None
    error: str | None = None

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height at which it is placed, in figure pixels."""
        height, width = self.pixels.shape[:2]
        return -(-width // DENSITY), -(-height // DENSITY)


def make_tile(
    image: RGBImage | ImageSource,
    outcome: Outcome | None,
    max_wh: tuple[int, int],
    show_labels: bool,
    draw: Draw | None = None,
) -> Tile:
    """Read, shrink and annotate one image; whatever fails is shown as failed.

    Args:
        image: An array, or a path or the bytes of a file, which is read now.
        outcome: Its result or failure, or `None` to show it plain.
        max_wh: The picture is placed within this width and height, aspect kept.
        show_labels: Whether boxes carry names and scores.
        draw: Draws the boxes in place of `annotate`.

    Raises:
        ValueError: If the result belongs to an image of another size.
    """
    max_wh = (max_wh[0] * DENSITY, max_wh[1] * DENSITY)
    try:
        pixels = read_pixels(image)
    except ValueError as error:
        failure = outcome if isinstance(outcome, ItemFailure) else None
        stage = "decode" if isinstance(error, ImageDecodeError) else "validate"
        return Tile(
            _framed(np.full((max_wh[0] * 9 // 16, max_wh[0], 3), _PLACEHOLDER_RGB, np.uint8)),
            outcome,
            failure.stage if failure else stage,
            describe(failure.exception if failure else error),
        )
    small, scale = _fitted(pixels, max_wh)
    if isinstance(outcome, ItemFailure):
        faded = _framed(_faded(small))
        return Tile(faded, outcome, outcome.stage, describe(outcome.exception))
    if outcome is None:
        return Tile(small, None)
    _check_size(pixels, outcome)
    scaled = DetectionResult(
        outcome.boxes * np.float32(scale), outcome.scores, outcome.classes, outcome.metadata
    )
    if draw is not None:
        return Tile(draw(small, scaled), outcome)
    return Tile(annotate(small, scaled, show_labels=show_labels, thickness=LINE_PX), outcome)


def read_pixels(image: RGBImage | ImageSource) -> RGBImage:
    """The array itself, or the image that a path or bytes stand for.

    Raises:
        InvalidImageError: A `ValueError`; if it is neither.
    """
    if isinstance(image, (str, os.PathLike, bytes, bytearray, memoryview)):
        return decode_image(image)
    return validate_image(image)


def _fitted(pixels: RGBImage, max_wh: tuple[int, int]) -> tuple[RGBImage, float]:
    height, width = pixels.shape[:2]
    scale = min(max_wh[0] / width, max_wh[1] / height)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size_wh, interpolation=how), dtype=np.uint8), scale


def _check_size(pixels: RGBImage, result: DetectionResult) -> None:
    size_hw = result.metadata.get("image_hw")
    if size_hw is not None and tuple(size_hw) != pixels.shape[:2]:
        raise ValueError(
            f"the result is of an image of height and width {tuple(size_hw)}, "
            f"but the image beside it has {pixels.shape[:2]}: are both in the same order?"
        )


def _faded(pixels: RGBImage) -> RGBImage:
    grey = pixels.mean(axis=2, keepdims=True)
    return np.repeat(grey * 0.25 + 255 * 0.75, 3, axis=2).astype(np.uint8)


def _framed(pixels: RGBImage) -> RGBImage:
    for strip in (
        pixels[:_FRAME_PX],
        pixels[-_FRAME_PX:],
        pixels[:, :_FRAME_PX],
        pixels[:, -_FRAME_PX:],
    ):
        strip[:] = _ALARM_RGB
    return pixels
