"""The lines of `annotate`: frames round boxes and the trails of objects, placed first, then drawn.

Owns where they lie to the pixel. Knows numpy and OpenCV; never a result, a class or a text.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from detkit.images import RGBImage
from detkit.labels import Area, Color, Corners

_RIM: Color = (16, 18, 22)
# What half of the rim's colour makes of every level, as OpenCV's tables are laid out.
_RIM_OVER = ((np.arange(256)[:, None] + _RIM) // 2).astype(np.uint8).reshape(1, 256, 3)
_RIM_OVER_BGR = np.ascontiguousarray(_RIM_OVER[:, :, ::-1])

_TRAIL_STRETCHES = 4  # of growing width, so that a trail ends in a point
_TRAIL_SHIFT = 4  # bits behind the point: a slow object's trail is no staircase
_FAR_PX = 1 << 15  # OpenCV takes no line that reaches further

# One area of so many pixels is copied and converted as fast as four strips of its frame.
_SMALL_PX = 24_000


class Outline(NamedTuple):
    """A frame in the class colour, with a dark rim that keeps it visible on any background.

    Lines grow inwards, so that a box at the edge of the picture keeps its full width.
    """

    box: Corners
    width: int
    color: Color
    rims: list[Area]  # without a colour of their own: the picture is seen through them

    @property
    def areas(self) -> list[Area]:
        """Where anything is drawn; a small frame with what is inside it."""
        if not self.rims:
            left, top, right, bottom = self.box
            return [Area(left, top, right + 1, bottom + 1)]
        lefts, tops, rights, bottoms = zip(*self.rims, strict=True)
        whole = Area(min(lefts), min(tops), max(rights), max(bottoms))
        is_small = (whole.right - whole.left) * (whole.bottom - whole.top) <= _SMALL_PX
        return [whole] if is_small else self.rims

    def draw(self, canvas: RGBImage, *, is_bgr: bool = False) -> None:
        """Draw it into uint8 RGB, or BGR, of shape (H, W, 3)."""
        rim_over = _RIM_OVER_BGR if is_bgr else _RIM_OVER
        for left, top, right, bottom in self.rims:
            strip = canvas[top:bottom, left:right]
            cv2.LUT(strip, rim_over, dst=strip)
        color = self.color[::-1] if is_bgr else self.color
        left, top, right, bottom = self.box
        # Line by line: exact in width, where OpenCV's thick lines are rounded and uneven.
        for i in range(self.width):
            corners = (left + i, top + i), (right - i, bottom - i)
            cv2.rectangle(canvas, *corners, color)


def place_outline(box: Corners, color: Color, width: int, image_hw: tuple[int, int]) -> Outline:
    """The frame of a box, with lines `width` pixels wide where it is large enough."""
    grow = max(1, min(width, (min(box.right - box.left, box.bottom - box.top) + 1) // 2))
    rim = max(1, width // 3)
    has_rim = box.right - box.left > 4 * width and box.bottom - box.top > 4 * width
    rims = _strips(box, rim, grow + 2 * rim, image_hw) if has_rim else []
    return Outline(box, grow, color, rims)


def _strips(box: Corners, outset: int, width: int, image_hw: tuple[int, int]) -> list[Area]:
    """The four sides of a frame, as far as they are inside the picture."""
    height, full_width = image_hw
    left, top = box.left - outset, box.top - outset
    right, bottom = box.right + outset + 1, box.bottom + outset + 1
    x0, y0, x1, y1 = max(0, left), max(0, top), min(full_width, right), min(height, bottom)
    inner_y0, inner_y1 = max(0, top + width), min(height, bottom - width)
    strips = (
        (x0, y0, x1, top + width),
        (x0, bottom - width, x1, y1),
        (x0, inner_y0, left + width, inner_y1),
        (right - width, inner_y0, x1, inner_y1),
    )
    return [Area(*s) for s in strips if s[0] < s[2] and s[1] < s[3]]


class Trail(NamedTuple):
    """A line along the last centres of a box, thinner the older, on a dark rim."""

    stretches: list[npt.NDArray[np.int32]]  # in fixed point
    widths: list[int]
    color: Color
    areas: list[Area]

    def draw(self, canvas: RGBImage, *, is_bgr: bool = False) -> None:
        """Draw it into uint8 RGB, or BGR, of shape (H, W, 3)."""
        for extra, color in ((2, _RIM), (0, self.color)):
            tint = color[::-1] if is_bgr else color
            for stretch, thickness in zip(self.stretches, self.widths, strict=True):
                cv2.polylines(
                    canvas, [stretch], False, tint, thickness + extra, cv2.LINE_AA, _TRAIL_SHIFT
                )


def place_trail(
    points: npt.NDArray[np.float64], color: Color, width: int, image_hw: tuple[int, int]
) -> Trail:
    """A trail through at least two `(x, y)` points, the newest last and widest."""
    near = np.clip(np.nan_to_num(points), -_FAR_PX, _FAR_PX)
    fixed = np.rint(near * (1 << _TRAIL_SHIFT)).astype(np.int32)
    cuts = np.linspace(0, len(fixed) - 1, _TRAIL_STRETCHES + 1).astype(int)
    stretches = [fixed[a : b + 1] for a, b in pairwise(cuts.tolist()) if a < b]
    widths = np.linspace(width + 1, 1, len(stretches)).round().astype(int).tolist()[::-1]
    reach = width + 4  # half of the widest rim, and the blur of its edge
    low, high = near.min(axis=0) - reach, near.max(axis=0) + reach + 1
    height, full_width = image_hw
    area = Area(
        max(0, int(low[0])),
        max(0, int(low[1])),
        min(full_width, int(high[0])),
        min(height, int(high[1])),
    )
    is_seen = area.left < area.right and area.top < area.bottom
    return Trail(stretches, widths, color, [area] if is_seen else [])
