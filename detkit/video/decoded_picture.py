"""`DecodedPicture`: what a video decoder gives, and the ways from there to pixels.

Owns colours and rotation. Knows PyAV's frames; never a container, a file or who looks at the
picture.
"""

from __future__ import annotations

import threading
from typing import Any

import cv2
import numpy as np

from detkit.detection.opencv_threads import opencv_threads
from detkit.images import RGBImage
from detkit.video.yuv import Planes

# Broadcast practice, browsers and players: HD without a tag is BT.709, anything smaller BT.601.
_HD_HEIGHT = 720
_BT709, _UNSPECIFIED = 1, 2  # ITU-T H.273, table 4
_LIMITED = (0, 1)  # of FFmpeg's ranges: not said, and limited

_TURNS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}


class DecodedPicture:
    """A picture in the colours of its video, made RGB when somebody asks. Thread-safe.

    One that nobody looks at is never converted, and one that only a detector looks at is scaled
    while its pixels are at hand, and they are forgotten: memory that is used again at once costs
    half of what new memory does.

    Args:
        picture: PyAV's `VideoFrame`; nobody writes into it any more.

    Attributes:
        size_hw: Height and width of the upright picture in pixels.
    """

    __slots__ = ("_lock", "_picture", "_rgb", "_turn", "size_hw")

    def __init__(self, picture: Any) -> None:
        self._picture = picture
        self._rgb: RGBImage | None = None
        self._lock = threading.Lock()
        self._turn = _TURNS.get(round(picture.rotation / 90) * 90 % 360)
        self.size_hw: tuple[int, int] = self._turned(picture.height, picture.width)

    def rgb(self) -> RGBImage:
        """The picture as uint8 RGB of shape (H, W, 3), turned as its rotation tag asks."""
        with self._lock:
            if self._rgb is None:
                self._rgb = self._convert()
            return self._rgb

    def scaled_rgb(self, size_hw: tuple[int, int]) -> RGBImage:
        """The same scaled bilinearly to a height and width, as a letterbox does it."""
        with self._lock:
            whole = self._convert() if self._rgb is None else self._rgb
        with opencv_threads:
            scaled = cv2.resize(whole, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(scaled, dtype=np.uint8)

    def _convert(self) -> RGBImage:
        colorspace = "ITU709" if self._is_untagged_hd() else None
        # One thread: 1280 x 720 takes 0.4 to 0.8 ms, and threads are only in the way.
        image = self._picture.to_ndarray(format="rgb24", src_colorspace=colorspace, threads=1)
        upright = image if self._turn is None else cv2.rotate(image, self._turn)
        return np.ascontiguousarray(upright, dtype=np.uint8)

    @property
    def planes(self) -> Planes | None:
        """The planes, if they are of the kind that `YuvPlanes` writes: read-only, and not copied.

        `None` where the picture has other colours, an odd size or is to be turned.
        """
        picture = self._picture
        is_alike = (
            picture.format.name == "yuv420p"
            and (picture.colorspace == _BT709 or self._is_untagged_hd())
            and picture.color_range in _LIMITED
            and not (picture.width % 2 or picture.height % 2)
            and self._turn is None
        )
        if not is_alike:
            return None
        planes = planes_of(picture)
        for plane in planes:
            plane.flags.writeable = False
        return planes

    def _is_untagged_hd(self) -> bool:
        picture = self._picture
        return bool(picture.colorspace == _UNSPECIFIED and picture.height >= _HD_HEIGHT)

    def _turned(self, height: int, width: int) -> tuple[int, int]:
        is_on_its_side = self._turn not in (None, cv2.ROTATE_180)
        return (width, height) if is_on_its_side else (height, width)


def planes_of(picture: Any) -> Planes:
    """The pixels of FFmpeg's three planes, where they lie; rows are longer than what is shown."""
    luma, blue, red = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in picture.planes
    )
    return luma, blue, red
