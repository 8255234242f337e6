"""The camera: exposure, motion blur, sensor noise, JPEG. Linear light in, 8-bit RGB out.

Owns everything between the scene and the file. Knows nothing of what is in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from detkit.samples.draws import Draws
from detkit.samples.light import noise_tile, tile_window

Plane = npt.NDArray[np.float32]
Canvas = npt.NDArray[np.float32]
RgbImage = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Camera:
    """One camera's settings.

    Attributes:
        exposure: Factor on the light.
        motion_px: How far the belt moves while the shutter is open, pixels.
        focus_px: Blur of the lens, standard deviation in pixels; 0 for sharp.
        noise: Standard deviation of the sensor noise in 8-bit steps.
        jpeg_quality: 1 to 100, or None for no compression.
    """

    exposure: float
    motion_px: float
    focus_px: float
    noise: float
    jpeg_quality: int | None


def draw_camera(draws: Draws) -> Camera:
    """A camera of random quality, mostly good."""
    return Camera(
        exposure=draws.uniform(1.0, 1.65),
        motion_px=draws.uniform(0.0, 4.5) if draws.chance(0.45) else 0.0,
        focus_px=draws.uniform(0.4, 1.0) if draws.chance(0.3) else 0.0,
        noise=draws.log_uniform(0.8, 6.0),
        jpeg_quality=draws.integer(55, 96),
    )


def smear(canvas: Canvas, camera: Camera) -> Canvas:
    """Blur by the belt's motion (along x) and by the lens; shape and dtype stay."""
    if camera.motion_px > 0.5:
        half = int(np.ceil((camera.motion_px - 1.0) / 2.0)) + 1
        reach = np.abs(np.arange(-half, half + 1))
        kernel = np.clip(camera.motion_px / 2.0 + 0.5 - reach, 0.0, 1.0).astype(np.float32)
        kernel = (kernel / kernel.sum())[None, :]
        canvas = cv2.filter2D(canvas, -1, kernel, borderType=cv2.BORDER_REPLICATE).astype(
            np.float32, copy=False
        )
    if camera.focus_px:
        canvas = cv2.GaussianBlur(canvas, (0, 0), camera.focus_px).astype(np.float32, copy=False)
    return canvas


def develop(canvas: Canvas, field: Plane, camera: Camera, draws: Draws) -> RgbImage:
    """Expose, tone-map, add noise and compress. `(h, w, 3)` uint8 RGB."""
    gain = field * np.float32(camera.exposure)
    lit = cv2.multiply(canvas, cv2.merge([gain, gain, gain]))
    # x / (1 + x / 2.6) * 1.385 keeps 1.0 at 1.0 and lets highlights roll off; gamma 2 is close to
    # sRGB and a square root is fast.
    lit = np.sqrt(lit * 353.0 / (lit + 2.6) * 255.0)
    height, width = field.shape
    x, y = draws.integer(0, 1023), draws.integer(0, 1023)
    grain = tile_window(noise_tile(0.55, 0.55, 9), x, y, (width, height))
    colour = tile_window(noise_tile(1.2, 1.2, 10), y, x, (width, height))
    grain = np.float32(camera.noise) * grain
    colour = np.float32(0.4 * camera.noise) * colour
    lit += cv2.merge([grain + colour, grain, grain - colour])
    picture: Any = cv2.convertScaleAbs(np.maximum(lit, 0.0, out=lit))
    if camera.jpeg_quality is not None:
        options = [cv2.IMWRITE_JPEG_QUALITY, camera.jpeg_quality]
        _, data = cv2.imencode(".jpg", picture, options)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(picture, dtype=np.uint8)
