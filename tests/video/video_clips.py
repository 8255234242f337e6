"""Small videos made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


def frame_image(number: int, wh: tuple[int, int] = (64, 48)) -> np.ndarray[Any, Any]:
    """A grey picture whose brightness is the frame's number, times 8, modulo 240."""
    return np.full((wh[1], wh[0], 3), number * 8 % 240, np.uint8)


def write_video(
    path: Path,
    num_frames: int = 20,
    *,
    wh: tuple[int, int] = (64, 48),
    rate: Fraction | int = 25,
    codec: str = "libx264",
    rotation: int = 0,
    options: dict[str, str] | None = None,
    times: list[int] | None = None,
    image: Callable[[int, tuple[int, int]], Any] = frame_image,
    gop: int = 10,
) -> Path:
    """Encode `num_frames` pictures; the container follows from the suffix."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = wh
        stream.bit_rate = 4_000_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = gop
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(image(index, wh), format="rgb24")
            frame.pts = index if times is None else times[index]
            frame.time_base = 1 / Fraction(rate) if times is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
