"""`annotate`: a picture with its boxes, labels and class colours drawn in.

Owns colours and lines; `labels` owns text and where it goes. Knows numpy and results; never a file,
a frame, a detector or a notebook.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from detkit.errors import InvalidResultError
from detkit.images import RGBImage, validate_image
from detkit.labels import Color, Corners, clean, draw_labels
from detkit.results import DetectionResult

# Light enough to glow on black, dark enough to stand on white once they have a dark rim. In this
# order every colour is far from the few before it, so that small models get clear opposites.
_PALETTE_HEX = (
    "ff4d4f 2f9bff 3ddc84 ffb020 b26bff 19d3da ff6fb5 b5d62b ff7a29 6c7bff "
    "00b894 f7e14a d94ee6 8fd8ff c98f5a ff9e9e 7fb069 c9b3ff e0457b 9fe6c3"
)
_PALETTE: tuple[Color, ...] = tuple(
    (int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)) for text in _PALETTE_HEX.split()
)
_GOLDEN_RATIO = 0.618033988749895  # Its multiples, modulo 1, never bunch: hues past the palette.

_RIM: Color = (16, 18, 22)
# What half of the rim's colour makes of every level, as OpenCV's tables are laid out.
_RIM_OVER = ((np.arange(256)[:, None] + _RIM) // 2).astype(np.uint8).reshape(1, 256, 3)
_MAX_NAME_CHARS = 32

_UNTRACKED: Color = (166, 172, 180)
_TRAIL_STRETCHES = 4  # of growing width, so that a trail ends in a point
_TRAIL_SHIFT = 4  # bits behind the point: a slow object's trail is no staircase
_FAR_PX = 1 << 15  # OpenCV takes no line that reaches further


def class_color(class_id: int) -> Color:
    """The RGB colour that stands for a class id, the same in every picture and process.

    Args:
        class_id: A class id, not negative. The first twenty are picked by hand for distance;
            beyond them hues follow the golden ratio.

    Example:
        >>> class_color(0)
        (255, 77, 79)
    """
    return _class_color(int(class_id))


@lru_cache(maxsize=4096)
def _class_color(class_id: int) -> Color:
    if 0 <= class_id < len(_PALETTE):
        return _PALETTE[class_id]
    lightness = (0.62, 0.72, 0.55)[class_id % 3]
    red, green, blue = colorsys.hls_to_rgb((class_id * _GOLDEN_RATIO) % 1.0, lightness, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def annotate(
    image: RGBImage,
    result: DetectionResult,
    *,
    show_labels: bool = True,
    show_confidence: bool = True,
    labels: Sequence[str] | None = None,
    show_tracks: bool = True,
    show_trails: bool = False,
    color_by: Literal["class", "track"] = "class",
    colors: Mapping[int, Color] | None = None,
    thickness: int | None = None,
    text_size: int | None = None,
) -> RGBImage:
    """Draw the boxes of `result` into a copy of `image`.

    The most confident boxes lie on top. A label stands above its box, below or inside it where
    that is free of other labels, and always wholly within the picture; where the picture is too
    small for any text, it is left out.

    Args:
        image: uint8 RGB of shape (H, W, 3). It is not written to.
        result: Boxes in pixels of `image`; what lies outside is cut off at the edge.
        show_labels: Whether to write the class name beside each box.
        show_confidence: Whether the label ends with the score.
        labels: One text per box, in place of name and score.
        show_tracks: Whether the label begins with the number of its track, where there is one.
        show_trails: Whether to draw where each box came from, where `tracker_trails` of the
            metadata tells, as with `detect_video(track=True)`.
        color_by: "class", or "track" to give each `tracker_ids` entry of the metadata its own,
            and grey to boxes without a track.
        colors: RGB colours by class id (or tracker id), in place of the palette's.
        thickness: Width of the lines in pixels; by default about 1/320 of the picture.
        text_size: Height of a line of text in pixels; by default about 1/50 of the picture.

    Returns:
        A new uint8 RGB array of the same shape.

    Raises:
        InvalidImageError: If `image` is not a uint8 RGB array.
        InvalidResultError: If `labels` has not one entry per box.

    Example:
        >>> import numpy as np
        >>> from detkit.results import DetectionResult
        >>> image = np.zeros((120, 160, 3), np.uint8)
        >>> annotate(image, DetectionResult([[20, 30, 90, 100]], [0.9], [0])).shape
        (120, 160, 3)
    """
    canvas: RGBImage = validate_image(image).copy()
    if labels is not None and len(labels) != len(result):
        raise InvalidResultError(f"{len(labels)} labels were given for {len(result)} boxes")
    if len(result) == 0:
        return canvas
    scale_px = float(np.sqrt(canvas.shape[0] * canvas.shape[1]))
    width = max(1, round(scale_px / 320)) if thickness is None else max(1, int(thickness))
    size = max(11, round(scale_px / 50)) if text_size is None else max(6, int(text_size))

    order = np.argsort(result.scores, kind="stable")
    keys = _color_keys(result, color_by)
    corners = _corners_inside(result.boxes, canvas.shape[1], canvas.shape[0])
    visible = [int(i) for i in order if corners[i] is not None]
    tints = {i: (colors or {}).get(keys[i], _color_of(keys[i])) for i in visible}
    if show_trails:
        _draw_trails(canvas, result, tints, width)
    for i in visible:
        _draw_box(canvas, corners[i], tints[i], width)
    if show_labels or labels is not None:
        texts = {
            i: (
                _text(result, i, show_confidence, show_tracks)
                if labels is None
                else clean(labels[i], 64)
            )
            for i in visible
        }
        draw_labels(canvas, corners, texts, tints, size)
    return canvas


def _color_keys(result: DetectionResult, color_by: Literal["class", "track"]) -> list[int]:
    tracks = result.metadata.get("tracker_ids")
    if color_by == "track" and tracks is not None:
        return [int(track) for track in tracks]
    return [int(class_id) for class_id in result.classes]


def _color_of(key: int) -> Color:
    # -1 stands for a box that no track has taken yet.
    return _UNTRACKED if key < 0 else class_color(key)


def _text(result: DetectionResult, index: int, show_confidence: bool, show_tracks: bool) -> str:
    parts = [clean(result.class_name(result.classes[index]), _MAX_NAME_CHARS)]
    tracks: Sequence[Any] | None = result.metadata.get("tracker_ids")
    if show_tracks and tracks is not None and int(tracks[index]) >= 0:
        parts.insert(0, f"#{int(tracks[index])}")
    if show_confidence:
        parts.append(f"{result.scores[index]:.2f}")
    return " ".join(parts)


def _corners_inside(
    boxes: npt.NDArray[np.float32], width: int, height: int
) -> list[Corners | None]:
    """Whole-pixel corners clipped to the picture; `None` for a box that lies outside it."""
    limits = np.array([width - 1, height - 1, width - 1, height - 1], dtype=np.float64)
    # A box that ends at x = 10 covers the pixels up to 9.
    inclusive = boxes.astype(np.float64) - np.array([0, 0, 1, 1])
    whole = np.rint(np.clip(inclusive, 0, limits)).astype(int)
    whole[:, 2:] = np.maximum(whole[:, 2:], whole[:, :2])
    outside = (
        (boxes[:, 2] < 0) | (boxes[:, 3] < 0) | (boxes[:, 0] >= width) | (boxes[:, 1] >= height)
    )
    return [
        None if out else Corners(*row)
        for out, row in zip(outside.tolist(), whole.tolist(), strict=True)
    ]


def _draw_box(canvas: RGBImage, box: Corners | None, color: Color, width: int) -> None:
    """A frame in the class colour, with a dark rim that keeps it visible on any background.

    The lines grow inwards, so that a box at the edge of the picture keeps its full width.
    """
    if box is None:
        return
    grow = min(width, (min(box.right - box.left, box.bottom - box.top) + 1) // 2)
    rim = max(1, width // 3)
    if box.right - box.left > 4 * width and box.bottom - box.top > 4 * width:
        _frame(canvas, box, -rim, grow + 2 * rim)
    _frame(canvas, box, 0, max(1, grow), color)


def _frame(
    canvas: RGBImage, box: Corners, inset: int, width: int, color: Color | None = None
) -> None:
    """Four filled strips: exact in width, where OpenCV's thick lines are rounded and uneven.

    Without a colour they are a rim through which the picture is seen.
    """
    height, full_width = canvas.shape[:2]
    left, top = box.left + inset, box.top + inset
    right, bottom = box.right - inset + 1, box.bottom - inset + 1
    for x0, y0, x1, y1 in (
        (left, top, right, top + width),
        (left, bottom - width, right, bottom),
        (left, top + width, left + width, bottom - width),
        (right - width, top + width, right, bottom - width),
    ):
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(full_width, x1), min(height, y1)
        if x0 >= x1 or y0 >= y1:
            continue
        if color is None:
            strip = canvas[y0:y1, x0:x1]
            strip[...] = cv2.LUT(strip, _RIM_OVER)
        else:
            cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), color, cv2.FILLED)


def _draw_trails(
    canvas: RGBImage, result: DetectionResult, tints: Mapping[int, Color], width: int
) -> None:
    """Lines along the last centres of each box, thinner the older, on a dark rim."""
    tracks = result.metadata.get("tracker_ids")
    trails = result.metadata.get("tracker_trails") or {}
    if tracks is None:
        return
    for i, color in tints.items():
        points = np.asarray(trails.get(int(tracks[i]), ()), dtype=np.float64).reshape(-1, 2)
        if len(points) < 2:
            continue
        near = np.clip(np.nan_to_num(points), -_FAR_PX, _FAR_PX)
        fixed = np.rint(near * (1 << _TRAIL_SHIFT)).astype(np.int32)
        cuts = np.linspace(0, len(fixed) - 1, _TRAIL_STRETCHES + 1).astype(int)
        stretches = [fixed[a : b + 1] for a, b in pairwise(cuts.tolist()) if a < b]
        widths = np.linspace(width + 1, 1, len(stretches)).round().astype(int).tolist()[::-1]
        for extra, tint in ((2, _RIM), (0, color)):
            for stretch, thickness in zip(stretches, widths, strict=True):
                cv2.polylines(
                    canvas, [stretch], False, tint, thickness + extra, cv2.LINE_AA, _TRAIL_SHIFT
                )
