"""Pixels for the browser: pictures shrunk with their boxes, drawn, and encoded as JPEG.

Knows results, drawing and OpenCV; never a widget or a notebook.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

import cv2
import numpy as np

from detkit.detection.opencv_threads import opencv_threads
from detkit.drawing import Drawing
from detkit.images import RGBImage
from detkit.results import DetectionResult
from detkit.widgets.overlay import Overlay

_MIN_QUALITY, _MAX_QUALITY = 40, 85


@dataclass(frozen=True, slots=True, eq=False)
class SmallPicture:
    """A picture shrunk for the page, ready to be drawn on again and again.

    Attributes:
        pixels: uint8 RGB of shape (h, w, 3).
        scale_xy: Its pixels for one pixel of the picture, along x and y.
    """

    pixels: RGBImage
    scale_xy: tuple[float, float]

    def drawn(
        self,
        result: DetectionResult | None,
        *,
        show_labels: bool = True,
        overlay: Overlay | None = None,
    ) -> RGBImage:
        """With the boxes and trails of a result, which is in pixels of the picture as it was."""
        if result is None:
            return self.pixels
        overlay = overlay or Overlay(labels=show_labels)
        return self.planned(result, overlay).over(self.pixels)

    def planned(self, result: DetectionResult, overlay: Overlay) -> Drawing:
        """Its boxes and trails, placed in the shrunk picture."""
        return overlay.plan(self.pixels.shape[:2], self._scaled(result))

    def _scaled(self, result: DetectionResult) -> DetectionResult:
        if self.scale_xy == (1.0, 1.0):
            return result
        scale_xy = np.array(self.scale_xy, dtype=np.float32)
        trails = result.metadata.get("tracker_trails") or {}
        moved = {number: points * scale_xy for number, points in trails.items()}
        facts = {**result.metadata, "tracker_trails": moved}
        boxes = result.boxes * np.tile(scale_xy, 2)
        return DetectionResult(boxes, result.scores, result.classes, facts)


def shrunk(image: RGBImage, max_wh: tuple[int, int]) -> SmallPicture:
    """The picture scaled down to fit into `max_wh`; as it is if it does."""
    height, width = image.shape[:2]
    scale = min(1.0, max_wh[0] / width, max_wh[1] / height)
    if scale == 1.0:
        return SmallPicture(image, (1.0, 1.0))
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Up to a half, bilinear loses nothing that shows, in a tenth of the time of area averaging.
    how = cv2.INTER_LINEAR if scale >= 0.5 else cv2.INTER_AREA
    with opencv_threads:
        small = np.asarray(cv2.resize(image, size_wh, interpolation=how), dtype=np.uint8)
    return SmallPicture(small, (size_wh[0] / width, size_wh[1] / height))


def encode_jpeg(image: RGBImage, quality: int = 80) -> bytes:
    """An RGB picture as the bytes of a JPEG file."""
    return _jpeg_of_bgr(_to_bgr(image), quality)


def _to_bgr(image: RGBImage, canvas: RGBImage | None = None) -> RGBImage:
    with opencv_threads:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=canvas), dtype=np.uint8)


def _jpeg_of_bgr(bgr: RGBImage, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture of shape {bgr.shape} cannot be encoded as JPEG")
    return bytes(data)


def placeholder(size_wh: tuple[int, int], max_wh: tuple[int, int]) -> bytes:
    """A grey JPEG in the shape of the pictures to come."""
    scale = min(1.0, max_wh[0] / size_wh[0], max_wh[1] / size_wh[1])
    width, height = (max(1, round(side * scale)) for side in size_wh)
    return encode_jpeg(np.full((height, width, 3), 128, np.uint8))


class JpegBudget:
    """Encodes a series of pictures, each at about `max_bytes` at most.

    A picture that comes out larger lowers the quality of those after it, in steps that the eye
    hardly sees; small ones raise it again.

    Attributes:
        quality: Of the next picture, from 40 to 85.
    """

    def __init__(self, max_bytes: int = 150_000) -> None:
        self.max_bytes = max_bytes
        self.quality = _MAX_QUALITY - 5
        # Fresh memory for every picture takes longer to get than the picture takes to fill.
        self._canvas: RGBImage = np.empty((0, 0, 3), np.uint8)

    def encode(
        self, picture: SmallPicture, result: DetectionResult | None, overlay: Overlay
    ) -> bytes:
        """The picture with what was found in it, as JPEG."""
        if self._canvas.shape != picture.pixels.shape:
            self._canvas = np.empty(picture.pixels.shape, np.uint8)
        # The encoder wants another order of colours: the copy that this takes is drawn into.
        bgr = _to_bgr(picture.pixels, self._canvas)
        if result is not None:
            picture.planned(result, overlay).draw(bgr, is_bgr=True)
        data = _jpeg_of_bgr(bgr, self.quality)
        if len(data) > self.max_bytes:
            self.quality = max(_MIN_QUALITY, self.quality - 10)
        elif len(data) < 0.6 * self.max_bytes:
            self.quality = min(_MAX_QUALITY, self.quality + 1)
        return data


def data_url(jpeg: bytes) -> str:
    """JPEG bytes as the `src` of an `<img>`."""
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode('ascii')}"
