"""Clips: the frames of a running conveyor, with boxes and identities.

Owns the motion. The belt is laid out and painted in blocks as wide as a frame, each once, so a
clip of any length needs the memory of three blocks. The picture itself comes from `scene`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from detkit.errors import UnsupportedSettingError
from detkit.results import DetectionResult
from detkit.samples.belt import Canvas, draw_belt, paint_rails
from detkit.samples.camera import Camera, RgbImage, develop, smear
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
from detkit.samples.litter import Litter, draw_litter
from detkit.samples.painting import paint_window
from detkit.samples.parts import Part

_MARGIN_PX = 12  # wider than any blur, so that blocks join without a seam


def clip(
    seed: int, num_frames: int, size_wh: tuple[int, int] = (1280, 720), fps: float = 25.0
) -> Iterator[tuple[RgbImage, DetectionResult]]:
    """Yield the frames of a moving belt.

    Parts ride along at constant speed, enter on one side and leave on the other. Sensor noise
    and a slight flicker of the lamp differ from frame to frame.

    Args:
        seed: Any integer >= 0; the same seed gives the same clip.
        num_frames: How many frames to yield.
        size_wh: Width and height in pixels, each at least 64.
        fps: Frames per second of the finished clip; sets how far the belt moves per frame.

    Yields:
        The `(h, w, 3)` uint8 RGB frame and its true boxes. `metadata["tracker_ids"]` holds one
        int64 identity per box, the same for a part in all frames. A part is labelled while at
        least 40 % of it lies in the frame.

    Raises:
        UnsupportedSettingError: If the seed or `num_frames` is negative, a side is shorter than
            64 px or `fps` is not positive.

    Example:
        >>> frames = list(clip(7, num_frames=2, size_wh=(320, 240)))
        >>> len(frames)
        2
    """
    check_size(size_wh)
    if num_frames < 0 or not fps > 0:
        raise UnsupportedSettingError(
            f"num_frames must be >= 0 and fps > 0, got {num_frames} and {fps}"
        )
    Draws(seed)  # a bad seed fails here, not at the first frame
    return _frames(seed, num_frames, size_wh, fps)


def _frames(
    seed: int, num_frames: int, size_wh: tuple[int, int], fps: float
) -> Iterator[tuple[RgbImage, DetectionResult]]:
    width, height = size_wh
    draws = Draws(seed, CAMERA)
    direction = draws.pick((-1, 1))
    speed = direction * draws.uniform(110.0, 190.0)  # pixels per second
    camera = Camera(
        exposure=draws.uniform(1.0, 1.4),
        motion_px=0.35 * abs(speed) / fps,
        focus_px=0.0,
        noise=draws.uniform(1.0, 3.0),
        jpeg_quality=None,
    )
    feed = _Feed(seed, size_wh, direction, camera)
    field = illumination(Draws(seed, SENSOR), size_wh)
    for number in range(num_frames):
        x = round(speed * number / fps)
        canvas = feed.window(x)
        paint_rails(canvas, feed.belt, feed.light)
        sensor = Draws(seed, SENSOR, number + 1)
        lamp = replace(camera, exposure=camera.exposure * (1.0 + sensor.normal(0.0, 0.006)))
        image = develop(canvas, field, lamp, sensor)
        frame = (float(x), 0.0, float(x + width), float(height))
        yield image, truth(feed.parts_near(x), frame, size_wh, seed, tracked=True)


class _Feed:
    """The endless belt: lays out and paints block after block, forgets what has passed."""

    def __init__(self, seed: int, size_wh: tuple[int, int], direction: int, camera: Camera) -> None:
        self.belt = draw_belt(Draws(seed, BELT), size_wh[1])
        self.light = draw_light(Draws(seed, LIGHT))
        self._seed = seed
        self._size_wh = size_wh
        self._direction = direction
        self._camera = camera
        self._laid: dict[int, tuple[list[tuple[int, Part]], list[Litter]]] = {}
        self._num_laid = 0
        self._num_parts = 0
        self._painted: dict[int, Canvas] = {}

    def window(self, x: int) -> Canvas:
        """A fresh canvas of the frame whose left edge is at belt coordinate `x`."""
        width = self._size_wh[0]
        first, offset = divmod(x, width)
        blocks = (first,) if offset == 0 else (first, first + 1)
        for block in blocks:
            if block not in self._painted:
                self._painted = {b: c for b, c in self._painted.items() if b in blocks}
                self._painted[block] = self._paint(block)
        pieces = [self._painted[block] for block in blocks]
        if len(pieces) == 1:
            return np.array(pieces[0])
        canvas = np.concatenate([pieces[0][:, offset:], pieces[1][:, :offset]], axis=1)
        return np.asarray(canvas, dtype=np.float32)

    def parts_near(self, x: int) -> list[tuple[int, Part]]:
        """Identity and part of everything laid out round the frame at `x`."""
        block = x // self._size_wh[0]
        return [part for b in range(block - 1, block + 3) for part in self._block(b)[0]]

    def _block(self, block: int) -> tuple[list[tuple[int, Part]], list[Litter]]:
        """Parts and litter of one block; nothing lies before the first and after the last seen."""
        number = block * self._direction
        while self._num_laid <= number:
            self._lay_out_next()
        return self._laid.get(number, ([], []))

    def _lay_out_next(self) -> None:
        number, (width, height) = self._num_laid, self._size_wh
        left = float(number * self._direction * width)
        top, bottom = float(self.belt.rail_top), float(height - self.belt.rail_bottom)
        draws = Draws(self._seed, PARTS, number)
        before = [part for _, part in self._laid[number - 1][0]] if number else []
        count = draw_count(draws, self._size_wh)
        parts = lay_out(
            draws,
            (left, top, left + width, bottom),
            before,
            count,
            has_rail_below=self.belt.rail_bottom > 0,
        )
        numbered = list(enumerate(parts, start=self._num_parts + 1))
        self._num_parts += len(parts)
        litter = draw_litter(Draws(self._seed, LITTER, number), self._size_wh, busy=0.7)
        self._laid[number] = numbered, [replace(thing, x=thing.x + left) for thing in litter]
        self._num_laid += 1
        self._laid.pop(number - 6, None)  # long out of sight

    def _paint(self, block: int) -> Canvas:
        (width, height), left = self._size_wh, block * self._size_wh[0]
        near = sorted(
            (item for b in range(block - 1, block + 2) for item in self._block(b)[0]),
            key=lambda item: item[0],
        )
        litter = [thing for b in range(block - 1, block + 2) for thing in self._block(b)[1]]
        canvas = paint_window(
            self.belt,
            self.light,
            [part for _, part in near],
            litter,
            left - _MARGIN_PX,
            (width + 2 * _MARGIN_PX, height),
        )
        smeared = smear(canvas, self._camera)
        return np.ascontiguousarray(smeared[:, _MARGIN_PX:-_MARGIN_PX])
