"""The conveyor: rubber, wear and side rails.

Owns the empty belt. Textures are windows into seamless tiles at belt coordinates, so
that a stretch of belt looks the same however it is cut into windows. Colours are linear RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from detkit.samples.draws import Draws
from detkit.samples.light import Light, noise_tile, tile_window

Plane = npt.NDArray[np.float32]
Canvas = npt.NDArray[np.float32]
Colour = tuple[float, float, float]

_COLOURS: tuple[Colour, ...] = (
    (0.036, 0.038, 0.042),  # black rubber
    (0.060, 0.062, 0.066),  # worn rubber
    (0.022, 0.056, 0.044),  # green PVC
    (0.026, 0.045, 0.082),  # blue food-grade PU
    (0.068, 0.058, 0.046),  # brown leather-like
    (0.098, 0.100, 0.104),  # light grey PVC
)
_WEAVES = ("smooth", "fabric", "diamond", "ribbed")


@dataclass(frozen=True)
class Belt:
    """One conveyor.

    Attributes:
        colour: Linear RGB of clean rubber.
        weave: Pattern pressed into it.
        depth: How deep the pattern is, as brightness contrast.
        wear: Strength of streaks along the belt.
        blotch: Strength of stains.
        offset: Where the textures begin, pixels.
        rail_top: Height of the rail at the upper edge, pixels; 0 for none.
        rail_bottom: The same at the lower edge.
        rail_colour: Linear RGB of the rails.
    """

    colour: Colour
    weave: str
    depth: float
    wear: float
    blotch: float
    offset: tuple[int, int]
    rail_top: int
    rail_bottom: int
    rail_colour: Colour


def draw_belt(draws: Draws, height_px: int) -> Belt:
    """A random conveyor for frames of the given height."""
    shade = draws.uniform(1.1, 1.9)
    red, green, blue = draws.pick(_COLOURS, (5, 4, 2, 2, 1, 2))
    widest = 0.055 * height_px
    return Belt(
        colour=(red * shade, green * shade, blue * shade),
        weave=draws.pick(_WEAVES, (2, 4, 3, 1)),
        depth=draws.uniform(0.10, 0.30),
        wear=draws.uniform(0.02, 0.10),
        blotch=draws.uniform(0.03, 0.10),
        offset=(draws.integer(0, 1023), draws.integer(0, 1023)),
        rail_top=int(draws.uniform(0.35, 1.0) * widest) if draws.chance(0.45) else 0,
        rail_bottom=int(draws.uniform(0.35, 1.0) * widest) if draws.chance(0.45) else 0,
        rail_colour=draws.pick(
            ((0.42, 0.43, 0.45), (0.30, 0.31, 0.33), (0.50, 0.36, 0.05)), (4, 3, 1)
        ),
    )


def paint_belt(belt: Belt, light: Light, x: int, size_wh: tuple[int, int]) -> Canvas:
    """The empty belt from belt coordinate `x` on: `(h, w, 3)` float32 linear RGB."""
    left, top = x + belt.offset[0], belt.offset[1]

    def window(sigma_x: float, sigma_y: float, number: int) -> Plane:
        return tile_window(noise_tile(sigma_x, sigma_y, number), left, top, size_wh)

    bright = 1.0 + 0.10 * window(0.6, 0.6, 3)
    bright += belt.wear * window(150.0, 2.2, 4)
    bright += belt.blotch * window(22.0, 22.0, 5)
    if belt.weave != "smooth":
        bright += tile_window(_relief(belt.weave, light.towards, belt.depth), left, top, size_wh)
    bright = np.maximum(bright, 0.25)
    lit = [bright * np.float32(c * t) for c, t in zip(belt.colour, light.tint, strict=True)]
    return np.asarray(cv2.merge(lit), dtype=np.float32)


def _relief(weave: str, towards: tuple[float, float], depth: float) -> Plane:
    """Brightness added by the pattern's slopes, as a tile that repeats."""
    periods = {"fabric": (8, 8), "diamond": (24, 16), "ribbed": (512, 12)}[weave]
    width, height = periods
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    a, b = 2 * np.pi * x / width, 2 * np.pi * y / height
    if weave == "fabric":
        form = np.sin(a) * np.cos(b) + 0.5 * np.cos(a + b)
    elif weave == "diamond":
        form = 2.2 * np.maximum(np.cos(a) + np.cos(b) - 0.55, 0.0)
    else:
        form = 1.5 * np.maximum(np.cos(b), 0.0)
    slope_x = np.roll(form, -1, axis=1) - np.roll(form, 1, axis=1)
    slope_y = np.roll(form, -1, axis=0) - np.roll(form, 1, axis=0)
    tile = np.asarray(-depth * (slope_x * towards[0] + slope_y * towards[1]), dtype=np.float32)
    repeats = (-(-512 // height), -(-512 // width))
    return np.asarray(np.tile(tile, repeats), dtype=np.float32)


def paint_rails(canvas: Canvas, belt: Belt, light: Light) -> None:
    """Draw the side rails and their shadow over a canvas, in place."""
    height = canvas.shape[0]
    for thick, at_top in ((belt.rail_top, True), (belt.rail_bottom, False)):
        if not thick:
            continue
        row = np.linspace(0.0, 1.0, thick, dtype=np.float32)
        profile = 0.55 + 0.45 * np.cos(7.0 * row) * np.exp(-2.0 * row) + 0.25 * row
        groove = np.abs(row - 0.55) < max(0.06, 0.9 / thick)
        profile = np.where(groove, 0.16, profile)
        profile[-2:] = 1.25
        falls = max(light.towards[1] * (-1.0 if at_top else 1.0), 0.0)
        reach = max(int(thick * (0.35 + 1.1 * falls)), 3)
        shade = 1.0 - light.shadow * np.linspace(1.0, 0.0, reach, dtype=np.float32) ** 1.3
        rail = canvas[:thick] if at_top else canvas[height - thick :][::-1]
        below = canvas[thick:] if at_top else canvas[: height - thick][::-1]
        below[:reach] *= shade[:, None, None]
        rail[:] = profile[:, None, None] * np.array(belt.rail_colour, dtype=np.float32)
