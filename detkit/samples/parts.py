"""The six kinds of part: their names, how often and how large they come, and their sprites.

Owns the class list and the step from a posed shape to a small picture with transparency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from detkit.samples.draws import Draws
from detkit.samples.geometry import Pose, pose_of_size
from detkit.samples.light import Light
from detkit.samples.long_parts import make_bolt, make_spring
from detkit.samples.names import CLASS_NAMES
from detkit.samples.round_parts import make_bearing, make_gear, make_nut, make_washer
from detkit.samples.surface import Shape, Sprite

_MAKERS: dict[str, Callable[[Draws], Shape]] = {
    "bolt": make_bolt,
    "nut": make_nut,
    "washer": make_washer,
    "gear": make_gear,
    "spring": make_spring,
    "bearing": make_bearing,
}
# Median and spread (of the natural logarithm) of the longer box side in pixels.
_SIZE_PX = {
    "bolt": (110.0, 0.42),
    "nut": (72.0, 0.42),
    "washer": (72.0, 0.45),
    "gear": (118.0, 0.45),
    "spring": (112.0, 0.42),
    "bearing": (108.0, 0.42),
}
MIN_SIZE_PX, MAX_SIZE_PX = 24.0, 240.0


@dataclass(frozen=True)
class Part:
    """One part on the belt.

    Attributes:
        class_id: Index into `CLASS_NAMES`.
        shape: What it is.
        pose: Where it lies, in belt pixels.
        phase: Number that makes its surface unlike its neighbours'.
    """

    class_id: int
    shape: Shape
    pose: Pose
    phase: int


def draw_part(draws: Draws) -> Part:
    """A random part at the origin, 24 to 240 px along the longer side of its box."""
    class_id = draws.integer(0, len(CLASS_NAMES) - 1)
    name = CLASS_NAMES[class_id]
    shape = _MAKERS[name](draws)
    median, spread = _SIZE_PX[name]
    size = float(np.clip(median * np.exp(draws.normal(0.0, spread)), MIN_SIZE_PX, MAX_SIZE_PX))
    pose = pose_of_size(shape.outline, size, draws.uniform(0.0, 2 * np.pi))
    return Part(class_id, shape, pose, draws.integer(0, 4095))


@dataclass(frozen=True)
class Cutout:
    """A painted part: premultiplied linear RGB and coverage, and where its corner lies."""

    x: int
    y: int
    rgb: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.float32]


def paint_part(part: Part, light: Light) -> Cutout:
    """Paint a part at two to four times its size and shrink it, so that edges are smooth."""
    box = part.pose.box()
    assert box is not None
    x0, y0 = int(np.floor(box[0])) - 2, int(np.floor(box[1])) - 2
    width, height = int(np.ceil(box[2])) + 2 - x0, int(np.ceil(box[3])) + 2 - y0
    factor = 2 if max(width, height) > 90 else 3 if max(width, height) > 50 else 4
    xs = x0 + (np.arange(width * factor) + 0.5) / factor - part.pose.x
    ys = y0 + (np.arange(height * factor) + 0.5) / factor - part.pose.y
    x = (xs / part.pose.scale).astype(np.float32)[None, :]
    y = (ys / part.pose.scale).astype(np.float32)[:, None]
    c, s = np.float32(np.cos(part.pose.angle)), np.float32(np.sin(part.pose.angle))
    sprite = Sprite(
        u=c * x + s * y,
        v=c * y - s * x,
        pixel=1.0 / (part.pose.scale * factor),
        angle=part.pose.angle,
        light=light,
        phase=part.phase,
    )
    part.shape.paint(sprite)
    size_wh = (width, height)
    return Cutout(
        x0,
        y0,
        cv2.resize(sprite.rgb, size_wh, interpolation=cv2.INTER_AREA).astype(np.float32),
        cv2.resize(sprite.alpha, size_wh, interpolation=cv2.INTER_AREA).astype(np.float32),
    )
