"""`annotate`: a picture with its boxes, labels and class colours drawn in.

Owns colours and what of a result is shown; `outlines` owns lines, `labels` owns text and where it
goes. Knows numpy and results; never a file, a frame, a detector or a notebook.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from detkit.errors import InvalidResultError
from detkit.images import RGBImage, validate_image
from detkit.labels import Area, Color, Corners, Label, clean, place_labels
from detkit.outlines import Outline, Trail, place_outline, place_trail
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

_MAX_NAME_CHARS = 32

_UNTRACKED: Color = (166, 172, 180)


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
    style = Style(
        show_labels,
        show_confidence,
        labels,
        show_tracks,
        show_trails,
        color_by,
        colors,
        thickness,
        text_size,
    )
    image = validate_image(image)
    return plan_drawing(image.shape[:2], result, style).over(image)


@dataclass(frozen=True, slots=True)
class Style:
    """The options of `annotate`, which says what they mean."""

    show_labels: bool = True
    show_confidence: bool = True
    labels: Sequence[str] | None = None
    show_tracks: bool = True
    show_trails: bool = False
    color_by: Literal["class", "track"] = "class"
    colors: Mapping[int, Color] | None = None
    thickness: int | None = None
    text_size: int | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is to be drawn into a picture, placed to the pixel, in this order."""

    trails: list[Trail]
    outlines: list[Outline]
    labels: list[Label]

    def areas(self) -> list[Area]:
        """Outside these `draw` changes nothing. They lie in the picture, and may overlap."""
        parts: list[Trail | Outline] = [*self.trails, *self.outlines]
        return [*(a for part in parts for a in part.areas), *(label.area for label in self.labels)]

    def over(self, image: RGBImage) -> RGBImage:
        """A copy of the picture with everything drawn in."""
        canvas: RGBImage = image.copy()
        self.draw(canvas)
        return canvas

    def draw(self, canvas: RGBImage, *, is_bgr: bool = False) -> None:
        """Draw into uint8 RGB, or BGR, of shape (H, W, 3), of the size that it was planned for."""
        parts: list[Trail | Outline | Label] = [*self.trails, *self.outlines, *self.labels]
        for part in parts:
            part.draw(canvas, is_bgr=is_bgr)


def plan_drawing(image_hw: tuple[int, int], result: DetectionResult, style: Style) -> Drawing:
    """Decide what `annotate` draws into a picture of this height and width.

    Raises:
        InvalidResultError: If `style.labels` has not one entry per box.
    """
    given = style.labels
    if given is not None and len(given) != len(result):
        raise InvalidResultError(f"{len(given)} labels were given for {len(result)} boxes")
    if len(result) == 0:
        return Drawing([], [], [])
    height, width = image_hw
    scale_px = math.sqrt(height * width)
    line = max(1, round(scale_px / 320) if style.thickness is None else int(style.thickness))
    size = max(11, round(scale_px / 50)) if style.text_size is None else max(6, style.text_size)

    keys = _color_keys(result, style.color_by)
    corners = _corners_inside(result.boxes, width, height)
    visible = [i for i in np.argsort(result.scores, kind="stable").tolist() if corners[i]]
    tints = {i: (style.colors or {}).get(keys[i], _color_of(keys[i])) for i in visible}
    trails = _trails(result, tints, line, image_hw) if style.show_trails else []
    boxes = [(corners[i], tints[i]) for i in visible]
    outlines = [place_outline(box, tint, line, image_hw) for box, tint in boxes if box is not None]
    if given is not None:
        texts = {i: clean(given[i], 64) for i in visible}
    elif style.show_labels:
        texts = {i: _text(result, i, style) for i in visible}
    else:
        texts = {}
    return Drawing(trails, outlines, place_labels(image_hw, corners, texts, tints, int(size)))


def _color_keys(result: DetectionResult, color_by: Literal["class", "track"]) -> list[int]:
    tracks = result.metadata.get("tracker_ids")
    if color_by == "track" and tracks is not None:
        return [int(track) for track in tracks]
    return [int(class_id) for class_id in result.classes]


def _color_of(key: int) -> Color:
    # -1 stands for a box that no track has taken yet.
    return _UNTRACKED if key < 0 else class_color(key)


def _text(result: DetectionResult, index: int, style: Style) -> str:
    parts = [clean(result.class_name(result.classes[index]), _MAX_NAME_CHARS)]
    tracks: Sequence[Any] | None = result.metadata.get("tracker_ids")
    if style.show_tracks and tracks is not None and int(tracks[index]) >= 0:
        parts.insert(0, f"#{int(tracks[index])}")
    if style.show_confidence:
        parts.append(f"{result.scores[index]:.2f}")
    return " ".join(parts)


def _trails(
    result: DetectionResult, tints: Mapping[int, Color], width: int, image_hw: tuple[int, int]
) -> list[Trail]:
    tracks = result.metadata.get("tracker_ids")
    known = result.metadata.get("tracker_trails") or {}
    if tracks is None:
        return []
    trails = []
    for i, color in tints.items():
        points = np.asarray(known.get(int(tracks[i]), ()), dtype=np.float64).reshape(-1, 2)
        if len(points) >= 2:
            trails.append(place_trail(points, color, width, image_hw))
    return trails


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
