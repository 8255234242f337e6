"""From a height map to lit metal: the small renderer that every part is drawn with.

Owns the pixel grid of one sprite, materials, shading and layering. A painter describes a part as
layers of coverage and height in part units; slopes of the height pick the brightness from the
light's reflection maps. Knows no particular part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from detkit.samples.geometry import Outline
from detkit.samples.light import Light, noise_tile, tile_window

Plane = npt.NDArray[np.float32]
Colour = tuple[float, float, float]

POLISHED, SATIN, ROUGH, MATTE = 0, 1, 2, 3


@dataclass(frozen=True)
class Material:
    """How a surface answers light.

    Attributes:
        colour: Linear RGB reflectance.
        gloss: Which reflection map it uses, `POLISHED` to `MATTE`.
        grain: Strength of its fine unevenness, as a slope.
        dirt: How much patches of oil and dust darken it, 0 to 1.
    """

    colour: Colour
    gloss: int = SATIN
    grain: float = 0.03
    dirt: float = 0.15


STEEL = Material((0.80, 0.82, 0.85), SATIN, 0.035)
POLISHED_STEEL = Material((0.86, 0.87, 0.89), POLISHED, 0.015, 0.08)
ZINC = Material((0.78, 0.82, 0.89), SATIN, 0.03)
YELLOW_ZINC = Material((0.86, 0.72, 0.38), SATIN, 0.035)
BRASS = Material((0.92, 0.69, 0.30), SATIN, 0.025)
COPPER = Material((0.90, 0.50, 0.34), SATIN, 0.03)
BLACK_OXIDE = Material((0.30, 0.31, 0.335), SATIN, 0.03, 0.1)
CAST = Material((0.52, 0.52, 0.52), ROUGH, 0.10, 0.25)
RUSTY = Material((0.58, 0.40, 0.29), ROUGH, 0.10, 0.35)
BLACK_RUBBER = Material((0.055, 0.055, 0.06), MATTE, 0.03, 0.1)
RED_RUBBER = Material((0.42, 0.07, 0.05), MATTE, 0.03, 0.1)
BLUE_NYLON = Material((0.06, 0.16, 0.52), MATTE, 0.02, 0.05)
WHITE_NYLON = Material((0.78, 0.76, 0.70), MATTE, 0.02, 0.1)
SHADE = Material((0.035, 0.035, 0.04), MATTE, 0.0, 0.0)


@dataclass
class Sprite:
    """The canvas of one part: coordinates in part units and what has been painted so far.

    Attributes:
        u: Coordinate along the part's own x axis at every pixel, `(h, w)`.
        v: The same across it.
        pixel: Size of one pixel in part units.
        angle: The part's angle on the belt, radians.
        light: The scene's light.
        phase: Where this part's patch of the noise tiles begins; makes parts differ.
        rgb: Linear colour so far, premultiplied by `alpha`, `(h, w, 3)`.
        alpha: Coverage so far, `(h, w)`.
    """

    u: Plane
    v: Plane
    pixel: float
    angle: float
    light: Light
    phase: int
    rgb: npt.NDArray[np.float32] = field(init=False)
    alpha: Plane = field(init=False)
    _polar: tuple[Plane, Plane] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.rgb = np.zeros((*self.u.shape, 3), dtype=np.float32)
        self.alpha = np.zeros(self.u.shape, dtype=np.float32)

    @property
    def rho(self) -> Plane:
        """Distance from the part's centre."""
        return self._in_polar()[0]

    @property
    def theta(self) -> Plane:
        """Angle round the part's centre in [0, 2 pi)."""
        return self._in_polar()[1]

    def _in_polar(self) -> tuple[Plane, Plane]:
        # Only round parts ask for it, and more than once.
        if self._polar is None:
            rho, theta = cv2.cartToPolar(self.u, self.v)
            self._polar = np.asarray(rho, np.float32), np.asarray(theta, np.float32)
        return self._polar

    def coverage(self, distance: Plane) -> Plane:
        """Antialiased inside of a signed distance in part units (negative inside)."""
        inside: Plane = 0.5 - distance * np.float32(1.0 / self.pixel)
        return inside.clip(0.0, 1.0)

    def noise(self, sigma: float, number: int) -> Plane:
        """This part's own patch of a smooth noise tile."""
        height, width = self.u.shape
        tile = noise_tile(sigma, sigma, number)
        return tile_window(tile, 131 * self.phase, 197 * self.phase, (width, height))

    def layer(
        self,
        coverage: Plane,
        height: Plane | None,
        material: Material,
        *,
        tone: Plane | float = 1.0,
        turned: float = 0.0,
    ) -> None:
        """Paint one lit surface over what is there.

        Args:
            coverage: `(h, w)` opacity, 0 to 1.
            height: Height in part units, or None for a flat face.
            material: What it is made of.
            tone: Extra factor on the brightness.
            turned: Strength of the bow-tie glint that lathe grooves give a round face.
        """
        slope_x, slope_y = self._slopes(height, material)
        bright = self.light.reflect(slope_x, slope_y, material.gloss)
        if turned:
            lamp = self.light.azimuth - self.angle
            glint = np.cos(self.theta - np.float32(lamp)) ** 2
            bright = bright * (1.0 - 0.4 * turned + (2.0 * turned) * glint**4)
        if material.dirt:
            bright = bright * (1.0 - material.dirt * np.clip(self.noise(9.0, 2), 0.0, 2.0) * 0.6)
        bright = bright * tone * coverage
        keep = 1.0 - coverage
        self.alpha = self.alpha * keep + coverage
        for channel, (albedo, tint) in enumerate(
            zip(material.colour, self.light.tint, strict=True)
        ):
            plane = self.rgb[..., channel]
            plane *= keep
            plane += bright * np.float32(albedo * tint)

    def _slopes(self, height: Plane | None, material: Material) -> tuple[Plane, Plane]:
        # A broad bulge keeps flat faces from looking like paper.
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        slope_x = -0.30 * (c * self.u - s * self.v)
        slope_y = -0.30 * (s * self.u + c * self.v)
        if height is not None:
            unit = 1.0 / (8.0 * self.pixel)
            slope_x = slope_x + cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=unit)
            slope_y = slope_y + cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=unit)
        if material.grain:
            slope_x = slope_x + material.grain * self.noise(0.8, 0)
            slope_y = slope_y + material.grain * self.noise(0.8, 1)
        return slope_x.astype(np.float32, copy=False), slope_y.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Shape:
    """One individual part: its outline, how high it stands, how it is painted."""

    outline: Outline
    height: float
    paint: Callable[[Sprite], None]


def bevel(distance: Plane, width: float, depth: float) -> Plane:
    """Height of a plate with a rounded edge: 0 at the rim, `depth` from `width` inwards."""
    t = np.clip(1.0 + distance * (1.0 / width), 0.0, 1.0, dtype=np.float32)
    return np.asarray(depth * np.sqrt(1.0 - t * t), dtype=np.float32)


def hexagon(u: Plane, v: Plane, apothem: float) -> Plane:
    """Signed distance to a hexagon whose corners lie on the u axis."""
    a, b = np.abs(u), np.abs(v)
    return np.asarray(np.maximum(b, 0.8660254 * a + 0.5 * b) - apothem, dtype=np.float32)
