"""`YuvPlanes`: RGB pictures as the three planes that H.264 stores, colour at half the size.

Owns that conversion. Knows numpy and OpenCV; never a codec or a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from detkit.images import RGBImage

Plane: TypeAlias = npt.NDArray[np.uint8]
# Luma (H, W), blue and red (H / 2, W / 2); H and W are even, rows may lie apart.
Planes: TypeAlias = tuple[Plane, Plane, Plane]
# Left, top, right and bottom; the latter two are the first pixels beyond it.
Area: TypeAlias = tuple[int, int, int, int]

# ITU-R BT.709-6: luma from items 3.2 and 3.3, limited range from 3.4 at 8 bits.
_LUMA = np.array([0.2126, 0.7152, 0.0722])
_BLUE = (np.array([0.0, 0.0, 1.0]) - _LUMA) / 1.8556
_RED = (np.array([1.0, 0.0, 0.0]) - _LUMA) / 1.5748
_GAIN = np.array([[219], [224], [224]]) / 255
_FROM_RGB = np.column_stack([_GAIN * [_LUMA, _BLUE, _RED], [16, 128, 128]])

# To begin with an area takes as long as so many of its pixels: some 10 µs.
_AREA_COST_PX = 8_000


class YuvPlanes:
    """Writes pictures of one size as BT.709 YUV 4:2:0 of limited range into the same three planes.

    FFmpeg's swscale takes 1.5 to 4 times as long and is less exact about colour: here 1280×720
    takes 1.0 core-ms, and no value is off by more than one.

    Args:
        planes: Luma, blue and red, to be written to.

    Example:
        >>> luma, blue, red = (np.empty(hw, np.uint8) for hw in ((2, 2), (1, 1), (1, 1)))
        >>> YuvPlanes((luma, blue, red)).fill(np.full((2, 2, 3), (255, 0, 0), np.uint8))
        >>> luma[0, 0], blue[0, 0], red[0, 0]
        (np.uint8(63), np.uint8(102), np.uint8(240))
    """

    def __init__(self, planes: Planes) -> None:
        self._planes = planes
        luma, blue, _ = planes
        self._full = np.empty((*luma.shape, 3), np.uint8)
        self._half = np.empty((*blue.shape, 3), np.uint8)

    def fill(self, image: RGBImage) -> None:
        """Write one uint8 RGB picture of shape (H, W, 3)."""
        height, width = self._planes[0].shape
        self._convert(image, (0, 0, width, height), self._full, self._half)

    def fill_drawn(self, planes: Planes, canvas: RGBImage, areas: Iterable[Area]) -> None:
        """Write the picture that `planes` hold, and over it what was drawn.

        Args:
            planes: Of the same size and colours as those that are written.
            canvas: uint8 RGB of shape (H, W, 3); read in the areas only.
            areas: Left, top, right and bottom, the latter two beyond; all even.
        """
        for mine, theirs in zip(self._planes, planes, strict=True):
            np.copyto(mine, theirs)
        for area in areas:
            left, top, right, bottom = area
            self._convert(canvas[top:bottom, left:right], area)

    def _convert(
        self,
        image: RGBImage,
        area: Area,
        full: RGBImage | None = None,
        half: RGBImage | None = None,
    ) -> None:
        left, top, right, bottom = area
        # Row by row, where rows lie apart, it takes up to four times as long.
        colours = cv2.transform(np.ascontiguousarray(image), _FROM_RGB, dst=full)
        size_wh = (right - left) // 2, (bottom - top) // 2
        averaged = cv2.resize(colours, size_wh, dst=half, interpolation=cv2.INTER_AREA)
        luma, blue, red = self._planes
        there = np.s_[top // 2 : bottom // 2, left // 2 : right // 2]
        cv2.extractChannel(colours, 0, dst=luma[top:bottom, left:right])
        cv2.extractChannel(averaged, 1, dst=blue[there])
        cv2.extractChannel(averaged, 2, dst=red[there])


def even_areas(areas: Iterable[Area], image_hw: tuple[int, int]) -> list[Area]:
    """The areas grown to whole squares of four pixels, within a picture whose sides are even.

    Where converting them takes longer than the whole picture, it is one area.

    Example:
        >>> even_areas([(1, 2, 4, 5)], (90, 160))
        [(0, 2, 4, 6)]
    """
    even = [
        (left & ~1, top & ~1, (right + 1) & ~1, (bottom + 1) & ~1)
        for left, top, right, bottom in areas
    ]
    height, width = image_hw
    pixels = sum((right - left) * (bottom - top) for left, top, right, bottom in even)
    if pixels + len(even) * _AREA_COST_PX > height * width:
        return [(0, 0, width, height)]
    return even
