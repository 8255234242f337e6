"""Images as detkit knows them: uint8 RGB arrays of shape (H, W, 3).

Owns the check at the border (`validate_image`); files are read by `image_files`. Knows numpy;
never a file, a detector or a picture format.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from detkit.errors import InvalidImageError

RGBImage: TypeAlias = npt.NDArray[np.uint8]

_UINT8 = np.dtype(np.uint8)  # comparing with the type itself takes four times as long


def validate_image(image: object) -> RGBImage:
    """Check that `image` is what detectors expect, and make it contiguous.

    Args:
        image: A numpy array of shape (H, W, 3), dtype uint8, colour order RGB. Read-only,
            memory-mapped and non-contiguous arrays are fine. Colour order cannot be checked:
            OpenCV reads BGR, convert with `cv2.cvtColor(image, cv2.COLOR_BGR2RGB)`.

    Returns:
        The same array, or a C-contiguous copy of one that was not contiguous.

    Raises:
        InvalidImageError: If it is anything else; the message says what was given.
    """
    if type(image) is not np.ndarray:
        image = _plain_array(image)
    shape = image.shape
    if image.dtype != _UINT8 or len(shape) != 3 or shape[2] != 3 or shape[0] == 0 or shape[1] == 0:
        raise InvalidImageError(_complaint(image))
    if not image.flags.c_contiguous:
        image = np.ascontiguousarray(image)
    return image


def _plain_array(image: object) -> npt.NDArray[np.uint8]:
    if isinstance(image, np.memmap):
        return np.asarray(image)
    if isinstance(image, np.ndarray):
        raise InvalidImageError(
            f"image must be a plain numpy array, got {type(image).__name__}: "
            "a mask or matrix would be ignored without a word"
        )
    hint = ""
    if isinstance(image, (str, bytes)) or hasattr(image, "__fspath__"):
        hint = "; read a file with detkit.decode_image(path), many with detkit.detect_images"
    elif hasattr(image, "__array__") or hasattr(image, "__array_interface__"):
        hint = "; convert it with numpy.asarray(image)"
    raise InvalidImageError(
        "image must be a numpy array of shape (H, W, 3), dtype uint8, RGB, "
        f"got {type(image).__name__}{hint}"
    )


def _complaint(image: npt.NDArray[np.generic]) -> str:
    shape, dtype = image.shape, image.dtype
    given = f"got shape {shape}, dtype {dtype}"
    expected = "image must have shape (H, W, 3) and dtype uint8"
    if image.size == 0:
        return f"{expected}, got an empty array of shape {shape}"
    if len(shape) == 2:
        return f"{expected}, {given}: grey, convert with cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)"
    if len(shape) == 4:
        return f"{expected}, {given}: a stack of images goes to detect_batch(list(images))"
    if len(shape) == 3 and shape[2] == 4:
        return f"{expected}, {given}: drop the alpha channel with image[..., :3]"
    if len(shape) == 3 and shape[0] == 3 and shape[2] != 3:
        return f"{expected}, {given}: channels first, use image.transpose(1, 2, 0)"
    if len(shape) == 3 and shape[2] == 3 and dtype != np.uint8:
        hint = "scale to 0..255 and use .astype(numpy.uint8)"
        if dtype.kind == "f" and bool(np.isnan(image.astype(np.float64)).any()):
            hint = "it holds NaN"
        return f"{expected}, {given}: {hint}"
    return f"{expected}, {given}"
