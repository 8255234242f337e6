"""What lies on the belt and is no part: scratches, chips, oil, dust, stickers, ties, the seam.

Owns the distractors. None of them is labelled, and none looks like a part. Colours are linear
RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from detkit.samples.belt import Canvas, Colour, Plane
from detkit.samples.draws import Draws
from detkit.samples.geometry import Points
from detkit.samples.light import Light

Kind = Literal["scratch", "swarf", "oil", "dust", "label", "chalk", "tie", "seam"]


@dataclass(frozen=True)
class Litter:
    """Something on the belt that is not a part: its kind, place, size, angle, own seed."""

    kind: Kind
    x: float
    y: float
    size: float
    angle: float
    seed: int


_KINDS: tuple[Kind, ...] = ("scratch", "swarf", "oil", "dust", "label", "chalk", "tie")


def draw_litter(draws: Draws, size_wh: tuple[int, int], busy: float) -> list[Litter]:
    """Random litter for a stretch of belt; `busy` is about 1."""
    width, height = size_wh
    share = busy * width * height / (1280 * 720)
    things = []
    for _ in range(draws.integer(int(6 * share), int(26 * share) + 1)):
        kind = draws.pick(_KINDS, (7, 8, 3, 9, 0.45, 1.2, 0.6))
        things.append(
            Litter(
                kind,
                draws.uniform(0, width),
                draws.uniform(0, height),
                draws.log_uniform(0.6, 1.7),
                draws.uniform(0, 2 * np.pi),
                draws.integer(0, 99999),
            )
        )
    if draws.chance(0.15 * busy * width / 1280):
        x, angle = draws.uniform(0, width), draws.uniform(-0.35, 0.35)
        things.insert(0, Litter("seam", x, height / 2, 1.0, angle, 0))
    return things


def paint_litter(canvas: Canvas, thing: Litter, light: Light, x: int) -> None:
    """Draw one piece of litter on a canvas that begins at belt coordinate `x`, in place."""
    draws = Draws(thing.seed, 77)
    centre = np.array([thing.x - x, thing.y])
    turn = np.array(
        [[np.cos(thing.angle), np.sin(thing.angle)], [-np.sin(thing.angle), np.cos(thing.angle)]]
    )
    if thing.kind == "oil":
        _stain(canvas, centre, 26 * thing.size, draws)
    elif thing.kind == "seam":
        _seam(canvas, centre, thing.angle)
    elif thing.kind == "label":
        _label(canvas, centre, turn, thing.size, light, draws)
    else:
        _line_litter(canvas, centre, turn, thing, light, draws)


def _seam(canvas: Canvas, centre: Points, angle: float) -> None:
    """The finger splice that joins the belt's ends: a slanted row of narrow teeth."""
    tall = canvas.shape[0]
    ys = np.arange(-40.0, tall + 40.0, 9.0)
    fingers = 34.0 * (np.arange(len(ys)) % 2)
    line = np.stack([centre[0] + np.tan(angle) * (ys - tall / 2) + fingers, ys], axis=1)
    _stroke(canvas, line + np.array([1.0, 1.0]), (0.2, 0.2, 0.2), 0.3, 1)
    _stroke(canvas, line, (0.004, 0.004, 0.004), 0.55, 1)


def _line_litter(
    canvas: Canvas, centre: Points, turn: Points, thing: Litter, light: Light, draws: Draws
) -> None:
    size = thing.size
    if thing.kind == "scratch":
        t = np.linspace(-1, 1, 8)
        line = np.stack([55 * size * t, draws.uniform(-9, 9) * t * t], axis=1) @ turn + centre
        _stroke(canvas, line, (0.22, 0.22, 0.22), draws.uniform(0.08, 0.3), 1)
    elif thing.kind == "dust":
        for _ in range(draws.integer(1, 5)):
            spot = centre + np.array([draws.normal(0, 22), draws.normal(0, 22)])
            dash = np.array([[-1.2, 0], [draws.uniform(-0.5, 2.5), draws.uniform(-1, 1)]])
            _stroke(canvas, dash @ turn + spot, (0.5, 0.48, 0.44), draws.uniform(0.2, 0.7), 1)
    elif thing.kind == "swarf":
        t = np.linspace(0, draws.uniform(1.5, 7.0), 20)
        radius = size * draws.uniform(2.0, 4.5)
        curl = np.stack(
            [radius * np.cos(t) + draws.uniform(0, 2.6) * t, radius * np.sin(t)], axis=1
        )
        line = curl @ turn + centre
        shade = np.array(light.towards) * -2.0
        _stroke(canvas, line + shade, (0.0, 0.0, 0.0), 0.45, 2)
        _stroke(canvas, line, (0.42, 0.42, 0.44), 0.8, 1)
        _stroke(canvas, line[6:11], (1.0, 1.0, 1.0), 0.8, 1)
    elif thing.kind == "tie":
        t = np.linspace(-1, 1, 24)
        bend = draws.uniform(-26, 26)
        line = np.stack([38 * size * t, bend * np.cos(1.5 * t)], axis=1) @ turn + centre
        colour = draws.pick(((0.55, 0.54, 0.5), (0.02, 0.02, 0.02), (0.05, 0.12, 0.35)))
        _stroke(canvas, line - np.array(light.towards) * 3.0, (0.0, 0.0, 0.0), 0.5, 4)
        _stroke(canvas, line, colour, 1.0, 3)
    else:
        t = np.linspace(-1, 1, 12)
        line = np.stack([32 * size * t, draws.uniform(-14, 14) * np.sin(2 * t)], axis=1)
        _stroke(canvas, line @ turn + centre, (0.75, 0.75, 0.68), 0.35, draws.integer(2, 4))


def _roi(canvas: Canvas, points: Points, pad: int) -> tuple[slice, slice] | None:
    """The part of the canvas round some points, or None outside it."""
    low = np.floor(points.min(axis=0)).astype(int) - pad
    high = np.ceil(points.max(axis=0)).astype(int) + pad + 1
    x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
    x1, y1 = min(int(high[0]), canvas.shape[1]), min(int(high[1]), canvas.shape[0])
    return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None


def _blend(canvas: Canvas, at: tuple[slice, slice], mask: Plane, colour: Colour) -> None:
    region = canvas[at]
    region += mask[..., None] * (np.array(colour, dtype=np.float32) - region)


def _mask(at: tuple[slice, slice]) -> npt.NDArray[np.uint8]:
    return np.zeros((at[0].stop - at[0].start, at[1].stop - at[1].start), dtype=np.uint8)


def _fixed(points: Points, at: tuple[slice, slice]) -> npt.NDArray[np.int32]:
    """Points relative to a region in OpenCV's fixed-point form with 4 fractional bits."""
    corner = np.array([at[1].start, at[0].start])
    return np.asarray(np.round((points - corner) * 16), dtype=np.int32)


def _stroke(canvas: Canvas, line: Points, colour: Colour, opacity: float, width: int) -> None:
    at = _roi(canvas, line, width + 2)
    if at is None:
        return
    mask = _mask(at)
    cv2.polylines(mask, [_fixed(line, at)], False, 255, width, cv2.LINE_AA, 4)
    _blend(canvas, at, mask * np.float32(opacity / 255), colour)


def _stain(canvas: Canvas, centre: Points, size: float, draws: Draws) -> None:
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    radius = size * (1.0 + 0.22 * np.sin(2 * t + draws.uniform(0, 6)) + 0.12 * np.sin(5 * t))
    ring = np.stack([radius * np.cos(t) * 1.3, radius * np.sin(t)], axis=1) + centre
    at = _roi(canvas, ring, 10)
    if at is None:
        return
    mask = _mask(at)
    cv2.fillPoly(mask, [_fixed(ring, at)], 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(mask, (0, 0), 2.5).astype(np.float32) * np.float32(1 / 255)
    canvas[at] *= 1.0 - draws.uniform(0.3, 0.6) * soft[..., None]


def _label(
    canvas: Canvas, centre: Points, turn: Points, size: float, light: Light, draws: Draws
) -> None:
    """A paper sticker with a bar code."""
    w, h = 44 * size, 26 * size
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]])
    paper = draws.pick(((0.62, 0.61, 0.56), (0.62, 0.50, 0.10), (0.55, 0.42, 0.28)), (3, 1, 1))
    shade = np.array(light.towards) * -1.5
    pieces: list[tuple[Points, Colour, float]] = [
        (corners + shade, (0.0, 0.0, 0.0), 0.5),
        (corners, paper, 0.96),
    ]
    x = -0.8 * w
    while x < 0.75 * w:
        bar = draws.uniform(0.8, 3.2) * size
        stripe = np.array([[x, -0.55 * h], [x + bar, -0.55 * h], [x + bar, 0.2 * h], [x, 0.2 * h]])
        pieces.append((stripe, (0.02, 0.02, 0.02), 0.9))
        x += bar + draws.uniform(1.2, 4.0) * size
    text = np.array([[-0.8, 0.42], [0.5, 0.42], [0.5, 0.62], [-0.8, 0.62]]) * (w, h)
    pieces.append((text, (0.05, 0.05, 0.05), 0.7))
    for local, colour, opacity in pieces:
        polygon = local @ turn + centre
        at = _roi(canvas, polygon, 2)
        if at is not None:
            mask = _mask(at)
            cv2.fillPoly(mask, [_fixed(polygon, at)], 255, cv2.LINE_AA, 4)
            _blend(canvas, at, mask * np.float32(opacity / 255), colour)
