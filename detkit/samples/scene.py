"""One picture: machine parts on a conveyor belt, with the truth about where each one is.

Owns the way from a seed to an image. A scene is fixed by its seed: boxes exactly, pixels up to
rounding in OpenCV.
"""

from __future__ import annotations

from detkit.errors import UnsupportedSettingError
from detkit.results import DetectionResult
from detkit.samples.belt import draw_belt, paint_rails
from detkit.samples.camera import RgbImage, develop, draw_camera, smear
from detkit.samples.draws import Draws
from detkit.samples.layout import (
    BELT,
    CAMERA,
    LIGHT,
    LITTER,
    PARTS,
    SENSOR,
    check_size,
    draw_count,
    lay_out,
    truth,
)
from detkit.samples.light import draw_light, illumination
from detkit.samples.litter import draw_litter
from detkit.samples.painting import paint_window


def scene(seed: int, size_wh: tuple[int, int] = (1280, 720)) -> tuple[RgbImage, DetectionResult]:
    """Render one conveyor scene.

    Args:
        seed: Any integer >= 0; the same seed gives the same scene.
        size_wh: Width and height in pixels, each at least 64. Parts keep their size in pixels;
            their number grows with the area (6 to 18 at 1280 x 720).

    Returns:
        The `(h, w, 3)` uint8 RGB image and its true boxes: float32 xyxy pixels, scores 1,
        class ids into `CLASS_NAMES`. A box holds the whole part as far as it lies in the frame,
        also where another part covers it.

    Raises:
        UnsupportedSettingError: If the seed is negative or a side is shorter than 64 px.

    Example:
        >>> image, truth = scene(7, size_wh=(320, 240))
        >>> image.shape
        (240, 320, 3)
    """
    check_size(size_wh)
    width, height = size_wh
    belt = draw_belt(Draws(seed, BELT), height)
    light = draw_light(Draws(seed, LIGHT))
    draws = Draws(seed, PARTS)
    window = (0.0, float(belt.rail_top), float(width), float(height - belt.rail_bottom))
    parts = lay_out(draws, window, [], draw_count(draws, size_wh), belt.rail_bottom > 0)
    litter = draw_litter(Draws(seed, LITTER), size_wh, busy=1.0)
    camera = draw_camera(Draws(seed, CAMERA))
    canvas = paint_window(belt, light, parts, litter, 0, size_wh)
    canvas = smear(canvas, camera)
    paint_rails(canvas, belt, light)
    sensor = Draws(seed, SENSOR)
    image = develop(canvas, illumination(sensor, size_wh), camera, sensor)
    frame = (0.0, 0.0, float(width), float(height))
    return image, truth(list(enumerate(parts)), frame, size_wh, seed)


def sample_images(num: int = 24, first_seed: int = 0) -> list[RgbImage]:
    """Render a few scenes for a demo.

    Args:
        num: How many.
        first_seed: Seed of the first; the others follow.

    Returns:
        `num` RGB images, each `(720, 1280, 3)` uint8.

    Raises:
        UnsupportedSettingError: If `num` or `first_seed` is negative.
    """
    if num < 0:
        raise UnsupportedSettingError(f"num must be >= 0, got {num}")
    return [scene(seed)[0] for seed in range(first_seed, first_seed + num)]
