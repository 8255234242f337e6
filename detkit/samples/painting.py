"""From a layout to linear light: belt, then litter, then part after part with its shadow.

Owns the order in which a stretch of belt is painted. Knows nothing of cameras and frames.
"""

from __future__ import annotations

import cv2
import numpy as np

from detkit.samples.belt import Belt, Canvas, paint_belt
from detkit.samples.light import Light
from detkit.samples.litter import Litter, paint_litter
from detkit.samples.parts import Cutout, Part, paint_part


def paint_window(
    belt: Belt,
    light: Light,
    parts: list[Part],
    litter: list[Litter],
    x: int,
    size_wh: tuple[int, int],
) -> Canvas:
    """Belt, litter and parts of the window that begins at belt coordinate `x`, linear RGB."""
    canvas = paint_belt(belt, light, x, size_wh)
    for thing in litter:
        paint_litter(canvas, thing, light, x)
    for part in parts:
        _put(canvas, paint_part(part, light), part, light, x)
    return canvas


def _put(canvas: Canvas, cutout: Cutout, part: Part, light: Light, x: int) -> None:
    """Lay a painted part and its shadow on the canvas."""
    tall = part.shape.height * part.pose.scale
    reach = tall / np.tan(light.elevation)
    for share, spread, strength in ((0.30, 0.06, 0.60), (0.75, 0.16, 0.85)):
        dx, dy = (-share * reach * t for t in light.towards)
        sigma = 0.8 + spread * tall
        pad = int(2.6 * sigma) + 2
        mask = cv2.copyMakeBorder(cutout.alpha, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
        mask = cv2.GaussianBlur(mask, (0, 0), sigma)
        left, top = cutout.x - x - pad + round(dx), cutout.y - pad + round(dy)
        region, crop = _overlap(canvas, left, top, mask.shape)
        if region is not None:
            canvas[region] *= 1.0 - (strength * light.shadow) * mask[crop][..., None]
    region, crop = _overlap(canvas, cutout.x - x, cutout.y, cutout.alpha.shape)
    if region is not None:
        canvas[region] *= 1.0 - cutout.alpha[crop][..., None]
        canvas[region] += cutout.rgb[crop]


_Region = tuple[slice, slice]


def _overlap(
    canvas: Canvas, left: int, top: int, shape: tuple[int, ...]
) -> tuple[_Region | None, _Region]:
    """Where a picture of `shape` put at (left, top) meets the canvas: there, and in itself."""
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + shape[1], canvas.shape[1]), min(top + shape[0], canvas.shape[0])
    crop = (slice(y0 - top, max(y1, y0) - top), slice(x0 - left, max(x1, x0) - left))
    if x0 >= x1 or y0 >= y1:
        return None, crop
    return (slice(y0, y1), slice(x0, x1)), crop
