"""Decoding no more of a JPEG than is looked at: at 1/2, 1/4 or 1/8 of its size.

A JPEG stores blocks of 8 x 8 frequencies; leaving the higher ones out gives a smaller picture,
averaged as a good resize would, for a third of the work. Owns the choice of the fraction and the
way of boxes back to the whole picture. Knows files and boxes; never a detector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from detkit.boxes import clip_to_image
from detkit.image_files import (
    MAX_PIXELS,
    MIRRORED_X,
    MIRRORED_Y,
    TURNED,
    ImageSource,
    decode_prepared,
    orientation_of,
)
from detkit.images import RGBImage
from detkit.results import DetectionResult

_FACTORS = (8, 4, 2)

NeededSize: TypeAlias = Callable[[tuple[int, int]], "tuple[int, int] | None"]
"""From an image's height and width to the smallest that will do; `None` for all of it."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """How a decoded picture lies in the whole one, both the right way up.

    Attributes:
        image_hw: Height and width of the whole picture.
        factor: A pixel of the decoded picture stands for a square of this side: 1, 2, 4 or 8.
        offset_xy: Where the first of these squares begins: left of or above the whole picture
            where one that juts out of it was turned to the front.
    """

    image_hw: tuple[int, int]
    factor: int
    offset_xy: tuple[int, int]

    def to_whole(self, result: DetectionResult) -> DetectionResult:
        """A result of the decoded picture with boxes in pixels of the whole one, inside it."""
        if self.factor == 1:
            return result
        return _placed(result, (self.factor, self.factor), self.offset_xy, self.image_hw)


def enlarged(
    result: DetectionResult, found_in_hw: tuple[int, int], image_hw: tuple[int, int]
) -> DetectionResult:
    """A result of a picture that was scaled as a whole, with boxes in pixels of what it was.

    Args:
        result: Boxes in pixels of the scaled picture.
        found_in_hw: Height and width of the scaled picture.
        image_hw: Those it had before.
    """
    if found_in_hw == image_hw:
        return result
    (height, width), (whole_h, whole_w) = found_in_hw, image_hw
    return _placed(result, (whole_w / width, whole_h / height), (0, 0), image_hw)


def _placed(
    result: DetectionResult,
    factor_xy: tuple[float, float],
    offset_xy: tuple[int, int],
    image_hw: tuple[int, int],
) -> DetectionResult:
    factor = np.array(factor_xy * 2, dtype=np.float32)
    offset = np.array(offset_xy * 2, dtype=np.float32)
    boxes = clip_to_image(result.boxes * factor + offset, image_hw)
    facts = {**result.metadata, "image_hw": image_hw}
    return DetectionResult(boxes, result.scores, result.classes, facts)


class ReducedImage(NamedTuple):
    """uint8 RGB pixels of shape (H, W, 3), and what they are of."""

    pixels: RGBImage
    reduction: Reduction


def decode_reduced(
    source: ImageSource, needed_hw: NeededSize, *, max_pixels: int = MAX_PIXELS
) -> ReducedImage:
    """Read one image file, a JPEG at the smallest fraction that is as large as needed.

    Everything that `decode_image` promises holds: the same checks and limits, the right way up.

    Args:
        source: A path, or the bytes of a file.
        needed_hw: Told the height and width of the whole picture, the right way up.
        max_pixels: Refuse pictures of more pixels than this, counted whole.

    Raises:
        ImageDecodeError: As for `decode_image`.

    Example:
        >>> import cv2, numpy as np
        >>> data = cv2.imencode(".jpg", np.zeros((1000, 1500, 3), np.uint8))[1].tobytes()
        >>> pixels, reduction = decode_reduced(data, lambda hw: (200, 300))
        >>> pixels.shape, reduction.factor
        ((250, 375, 3), 4)
    """
    chosen: list[Reduction] = []

    def prepare(image: ImageFile) -> None:
        if isinstance(image, JpegImageFile):
            chosen.append(_reduce(image, needed_hw))

    pixels = decode_prepared(source, prepare, max_pixels=max_pixels)
    height, width = pixels.shape[:2]
    return ReducedImage(pixels, chosen[0] if chosen else Reduction((height, width), 1, (0, 0)))


def _reduce(image: JpegImageFile, needed_hw: NeededSize) -> Reduction:
    """Choose a fraction, tell it to the decoder, and say where its pixels will lie."""
    (width, height), orientation = image.size, orientation_of(image)
    if orientation in TURNED:
        width, height = height, width
    factor = _factor((height, width), needed_hw((height, width)))
    fraction_wh = (image.size[0] // factor, image.size[1] // factor)
    if factor == 1 or image.draft(None, fraction_wh) is None:
        return Reduction((height, width), 1, (0, 0))
    # Sides are rounded up, so the last square may jut out: to the right, or mirrored to the left.
    left = width - _parts(width, factor) * factor if orientation in MIRRORED_X else 0
    top = height - _parts(height, factor) * factor if orientation in MIRRORED_Y else 0
    return Reduction((height, width), factor, (left, top))


def _factor(whole_hw: tuple[int, int], needed_hw: tuple[int, int] | None) -> int:
    if needed_hw is None:
        return 1
    sides = list(zip(whole_hw, needed_hw, strict=True))
    for factor in _FACTORS:
        if all(whole >= factor and _parts(whole, factor) >= needed for whole, needed in sides):
            return factor
    return 1


def _parts(length: int, factor: int) -> int:
    return -(-length // factor)
