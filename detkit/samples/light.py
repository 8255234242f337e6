"""The light of a scene: where it stands, how metal mirrors it, how evenly it falls.

Owns the reflection maps ("matcaps": brightness as a function of the surface normal) and the
illumination field of the frame. All brightness is linear light; 1.0 is a white diffuser facing
the lamp. Knows nothing of parts or belts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from detkit.samples.draws import Draws

Plane = npt.NDArray[np.float32]

_MATCAP_SIZE = 96  # normals change slowly; 96 steps with bilinear lookup show no banding
_NOISE_SIZE = 1024


@lru_cache(maxsize=16)
def noise_tile(sigma_x: float, sigma_y: float, number: int) -> Plane:
    """A seamless (1024, 1024) float32 tile of smooth noise with mean 0 and variance 1."""
    white = Draws(20_240_817, number).normals(_NOISE_SIZE, _NOISE_SIZE)
    if sigma_x or sigma_y:
        pad = int(4 * max(sigma_x, sigma_y)) + 1
        wide = np.pad(white, pad, mode="wrap")
        across, down = max(sigma_x, 0.01), max(sigma_y, 0.01)
        soft = cv2.GaussianBlur(wide, (0, 0), sigmaX=across, sigmaY=down)
        white = np.asarray(soft[pad:-pad, pad:-pad], dtype=np.float32)
    tile = np.asarray((white - white.mean()) / white.std(), dtype=np.float32)
    tile.setflags(write=False)
    return tile


def tile_window(tile: Plane, x: int, y: int, size_wh: tuple[int, int]) -> Plane:
    """The (h, w) window at (x, y) of the plane that repeats `tile` for ever."""
    height, width = tile.shape
    x, y = x % width, y % height
    if x + size_wh[0] <= width and y + size_wh[1] <= height:
        return tile[y : y + size_wh[1], x : x + size_wh[0]]
    rows = (np.arange(size_wh[1]) + y) % height
    repeats = -(-(x + size_wh[0]) // width)
    return np.tile(tile[rows], (1, repeats))[:, x : x + size_wh[0]]


@dataclass(frozen=True)
class Light:
    """One lamp above the belt, and what of it arrives where.

    Attributes:
        azimuth: Direction towards the lamp in the image plane, radians, y down.
        elevation: Height of the lamp over the belt, radians.
        tint: Linear RGB colour of the lamp, about (1, 1, 1).
        shadow: How dark a full shadow is, 0 to 1.
        matcaps: Reflection maps, from polished to matte; `[iy, ix]` is the normal
            `(nx, ny) = 2 * i / 95 - 1`.
    """

    azimuth: float
    elevation: float
    tint: tuple[float, float, float]
    shadow: float
    matcaps: tuple[Plane, ...]

    @property
    def towards(self) -> tuple[float, float]:
        """Unit vector in the image plane that points at the lamp."""
        return float(np.cos(self.azimuth)), float(np.sin(self.azimuth))

    def reflect(self, slope_x: Plane, slope_y: Plane, gloss: int) -> Plane:
        """Brightness of a surface with the given height slopes (pixels per pixel)."""
        half = (_MATCAP_SIZE - 1) / 2
        scale = -half / np.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
        return cv2.remap(
            self.matcaps[gloss], slope_x * scale + half, slope_y * scale + half, cv2.INTER_LINEAR
        ).astype(np.float32, copy=False)


def draw_light(draws: Draws) -> Light:
    """A lamp of random direction, hardness and warmth."""
    azimuth = draws.uniform(0.0, 2 * np.pi)
    elevation = draws.uniform(0.65, 1.05)
    warmth = draws.normal(0.0, 0.05)
    hardness = draws.uniform(0.75, 1.25)
    return Light(
        azimuth=azimuth,
        elevation=elevation,
        tint=(1.0 + warmth, 1.0 + 0.2 * warmth, 1.0 - 1.1 * warmth),
        shadow=draws.uniform(0.65, 0.9),
        matcaps=_matcaps(azimuth, elevation, hardness, draws.uniform(0.35, 0.8)),
    )


def _matcaps(azimuth: float, elevation: float, hardness: float, fill: float) -> tuple[Plane, ...]:
    """Reflections of a small hall: softbox, fill strip on the other side, ceiling, dark floor."""
    axis = np.linspace(-1.0, 1.0, _MATCAP_SIZE)
    nx, ny = np.meshgrid(axis, axis)
    squared = nx * nx + ny * ny
    nz = np.sqrt(np.clip(1.0 - squared, 0.0, 1.0))
    rx, ry, rz = 2 * nz * nx, 2 * nz * ny, 2 * nz * nz - 1.0
    lx, ly = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
    lz = np.sin(elevation)
    towards_lamp = rx * lx + ry * ly + rz * lz
    towards_fill = -0.9 * rx * np.cos(azimuth + 0.5) - 0.9 * ry * np.sin(azimuth + 0.5) + 0.25 * rz
    ceiling = 0.05 + 0.17 * np.clip(rz + 0.35, 0.0, 1.0) ** 1.5
    diffuse = np.clip(nx * lx + ny * ly + nz * lz, 0.0, None)
    maps = []
    for tight, strength in ((26.0, 4.2), (11.0, 2.6), (4.5, 0.95)):
        lamp = strength * hardness * np.exp(tight * (towards_lamp - 1.0))
        strip = fill * 0.5 * np.exp(tight * 0.8 * (towards_fill - 0.93))
        maps.append(np.asarray(ceiling + lamp + strip + 0.22 * diffuse, dtype=np.float32))
    matte = 0.12 + 0.95 * diffuse
    maps.append(np.asarray(matte, dtype=np.float32))
    return tuple(maps)


def illumination(draws: Draws, size_wh: tuple[int, int]) -> Plane:
    """Uneven light over the frame: slope, lamp spot, vignette. `(h, w)` float32, about 1."""
    small_w, small_h = 64, 36
    x, y = np.meshgrid(np.linspace(-1, 1, small_w), np.linspace(-1, 1, small_h))
    direction = draws.uniform(0.0, 2 * np.pi)
    slope = draws.uniform(0.0, 0.28) * (x * np.cos(direction) + y * np.sin(direction))
    spot_x, spot_y = draws.uniform(-0.8, 0.8), draws.uniform(-0.8, 0.8)
    reach = draws.uniform(0.5, 1.2)
    spot = draws.uniform(0.0, 0.5) * np.exp(-((x - spot_x) ** 2 + (y - spot_y) ** 2) / reach**2)
    vignette = 1.0 - draws.uniform(0.08, 0.3) * (x * x + y * y) / 2
    field = np.asarray((0.92 + slope + spot) * vignette, dtype=np.float32)
    return cv2.resize(np.clip(field, 0.35, 1.7), size_wh, interpolation=cv2.INTER_CUBIC).astype(
        np.float32, copy=False
    )
