"""The letterbox: how an image becomes the network's input, and how boxes find back.

Pure geometry and one resize. Knows numpy and OpenCV; never a model file or a runtime.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from detkit.images import RGBImage

# The grey that YOLO networks were trained to see as "nothing here".
PADDING_VALUE = 114


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where an image lies inside the network's input.

    Attributes:
        image_hw: Height and width of the original image in pixels.
        scaled_hw: Height and width of the scaled image.
        top: Rows of padding above the scaled image.
        left: Columns of padding left of it.
        input_hw: Height and width of the network's input.
    """

    image_hw: tuple[int, int]
    scaled_hw: tuple[int, int]
    top: int
    left: int
    input_hw: tuple[int, int]

    def to_image(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Boxes in pixels of the network's input, as pixels of the image, clipped to it.

        Args:
            boxes: `(N, 4)` float32 xyxy.

        Returns:
            A new `(N, 4)` float32 array.
        """
        (height, width), (scaled_h, scaled_w) = self.image_hw, self.scaled_hw
        # Each side is scaled by its own factor, because each was rounded on its own.
        factor = np.array([width / scaled_w, height / scaled_h] * 2, dtype=np.float32)
        offset = np.array([self.left, self.top] * 2, dtype=np.float32)
        limit = np.array([width, height] * 2, dtype=np.float32)
        placed: npt.NDArray[np.float32] = (boxes - offset) * factor
        return np.clip(placed, np.float32(0), limit, out=placed)


def plan_letterbox(
    image_hw: tuple[int, int], size_hw: tuple[int, int], *, stride: int, fixed: bool = False
) -> Letterbox:
    """Scale an image to fit `size_hw`, keep its shape, and pad it as little as possible.

    The rounding is that of ultralytics' `LetterBox`, so that boxes agree with its own.

    Args:
        image_hw: Height and width of the image.
        size_hw: Height and width that the scaled image must fit; multiples of `stride`.
        stride: The network takes sides that are multiples of this.
        fixed: Whether the network takes exactly `size_hw` and nothing else.

    Example:
        >>> plan_letterbox((720, 1280), (640, 640), stride=32).input_hw
        (384, 640)
    """
    height, width = image_hw
    scale = min(size_hw[0] / height, size_hw[1] / width)
    scaled_h, scaled_w = max(round(height * scale), 1), max(round(width * scale), 1)
    pad_h, pad_w = size_hw[0] - scaled_h, size_hw[1] - scaled_w
    if not fixed:
        pad_h, pad_w = pad_h % stride, pad_w % stride
    return Letterbox(
        image_hw=image_hw,
        scaled_hw=(scaled_h, scaled_w),
        top=round(pad_h / 2 - 0.1),
        left=round(pad_w / 2 - 0.1),
        input_hw=(scaled_h + pad_h, scaled_w + pad_w),
    )


def round_up(size: int, stride: int) -> int:
    """The smallest multiple of `stride` that is at least `size`, and at least `stride`."""
    return max(math.ceil(size / stride), 1) * stride


def fill_letterbox(image: RGBImage, plan: Letterbox, out: npt.NDArray[np.uint8]) -> None:
    """Write the scaled image and its padding into `out`.

    Args:
        image: uint8 RGB `(H, W, 3)`; only read.
        plan: From `plan_letterbox` for this image's size.
        out: uint8 `(h, w, 3)` of size `plan.input_hw`, with contiguous rows; every pixel is
            written.
    """
    (scaled_h, scaled_w), top, left = plan.scaled_hw, plan.top, plan.left
    bottom, right = top + scaled_h, left + scaled_w
    out[:top] = PADDING_VALUE
    out[bottom:] = PADDING_VALUE
    out[top:bottom, :left] = PADDING_VALUE
    out[top:bottom, right:] = PADDING_VALUE
    inside = out[top:bottom, left:right]
    if image.shape == inside.shape:
        inside[...] = image
    else:
        # `dst` with the right size and type is written in place, without a copy.
        cv2.resize(image, (scaled_w, scaled_h), dst=inside, interpolation=cv2.INTER_LINEAR)


class InputBuffers:
    """Reused `(B, h, w, 3)` uint8 arrays, the most recently used sizes only.

    Belongs to one detector: what was handed out is overwritten by the next call.
    """

    def __init__(self, max_sizes: int = 4) -> None:
        self._max_sizes = max_sizes
        self._arrays: dict[tuple[int, int], npt.NDArray[np.uint8]] = {}

    def take(self, num_images: int, input_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """An uninitialised `(num_images, h, w, 3)` array, valid until the next call."""
        array = self._arrays.pop(input_hw, None)
        if array is None or len(array) < num_images:
            array = np.empty((num_images, *input_hw, 3), dtype=np.uint8)
        self._arrays[input_hw] = array
        while len(self._arrays) > self._max_sizes:
            del self._arrays[next(iter(self._arrays))]
        return array[:num_images]
