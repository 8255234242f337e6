"""The labels of `annotate`: which text fits, where it goes, and how its letters are drawn.

Knows pixels, text and OpenCV's two kinds of letters; never a result or a class.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from detkit.images import RGBImage

Color: TypeAlias = tuple[int, int, int]

_BLACK: Color = (0, 0, 0)
_WHITE: Color = (255, 255, 255)
# WCAG 2.2: where black and white text have the same contrast on a background.
_EQUAL_CONTRAST_LUMINANCE = 0.179
_SEMIBOLD = 550
# Hershey Simplex draws capitals 21 units high at scale 1; a text of size s shall have 0.72 s.
_HERSHEY_SCALE_PER_PX = 0.72 / 21

_thread = threading.local()


class Corners(NamedTuple):
    """A rectangle by its outermost pixels."""

    left: int
    top: int
    right: int
    bottom: int


class Area(NamedTuple):
    """A rectangle as slices have it: `right` and `bottom` are the first pixels beyond it."""

    left: int
    top: int
    right: int
    bottom: int


def clean(text: str, max_chars: int) -> str:
    """One printable line: line breaks and control characters would leave the label's box."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * max_chars]).split())
    if not _has_font_face():
        line = line.encode("ascii", "replace").decode("ascii")
    return line if len(line) <= max_chars else line[: max_chars - 2] + ".."


class Label(NamedTuple):
    """A text on a filled rectangle."""

    area: Area
    text: str
    color: Color
    size: int

    def draw(self, canvas: RGBImage, *, is_bgr: bool = False) -> None:
        """Draw it into uint8 RGB, or BGR, of shape (H, W, 3)."""
        left, top, right, bottom = self.area
        size_wh = right - left, bottom - top
        canvas[top:bottom, left:right] = _written(self.text, self.color, self.size, size_wh, is_bgr)


def place_labels(
    image_hw: tuple[int, int],
    corners: Sequence[Corners | None],
    texts: Mapping[int, str],
    tints: Mapping[int, Color],
    size: int,
) -> list[Label]:
    """A label for every box, wholly inside the picture, in the order in which to draw them.

    Args:
        image_hw: Height and width of the picture.
        corners: Every box, or `None` for one outside the picture.
        texts: The label of each box to name, by its index, the most important last.
        tints: The background of each label, by the same index.
        size: Height of a line of text in pixels.
    """
    height, width = image_hw
    pad = _pad(size)
    label_h = round(size * 1.2) + pad
    if label_h > height or width < 2 * pad + size // 2:
        return []
    labels: list[Label] = []
    taken: list[Area] = []
    # The most confident label chooses first and is drawn last.
    for index in reversed(list(texts)):
        box = corners[index]
        text = _shortened(texts[index], size, width - 2 * pad)
        if box is None or not text:
            continue
        label_w = min(width, _text_width(text, size) + 2 * pad)
        area = _choose_place(box, (label_w, label_h), image_hw, taken)
        taken.append(area)
        labels.append(Label(area, text, tints[index], size))
    return labels[::-1]


def _pad(size: int) -> int:
    return max(2, round(size * 0.3))


def _choose_place(
    box: Corners, label_wh: tuple[int, int], image_hw: tuple[int, int], taken: list[Area]
) -> Area:
    """The first free place, or that which covers the least of the labels already there."""
    (label_w, label_h), (height, width) = label_wh, image_hw
    rows = (box.top - label_h, box.bottom + 1, box.top, box.bottom + 1 - label_h)
    tops = [top for top in rows if 0 <= top <= height - label_h]
    if not tops:  # A box taller than the picture leaves room neither above nor below.
        tops = [min(max(0, box.top), height - label_h)]
    lefts = [min(max(0, x), width - label_w) for x in (box.left, box.right + 1 - label_w)]
    places = []
    for top in tops:
        for left in lefts:
            place = Area(left, top, left + label_w, top + label_h)
            if _is_free(place, taken):
                return place
            places.append(place)
    return places[int(_overlaps(places, taken).argmin())]


def _is_free(place: Area, taken: list[Area]) -> bool:
    left, top, right, bottom = place
    for x0, y0, x1, y1 in taken:  # numpy takes longer for up to a hundred
        if x0 < right and left < x1 and y0 < bottom and top < y1:
            return False
    return True


def _overlaps(places: list[Area], taken: list[Area]) -> npt.NDArray[np.int32]:
    """How many pixels of the labels that are there each place would cover."""
    left, top, right, bottom = np.array(places, dtype=np.int32).T[:, :, None]
    x0, y0, x1, y1 = np.array(taken, dtype=np.int32).T
    wide = np.minimum(x1, right) - np.maximum(x0, left)
    high = np.minimum(y1, bottom) - np.maximum(y0, top)
    areas: npt.NDArray[np.int32] = (np.maximum(wide, 0) * np.maximum(high, 0)).sum(axis=1)
    return areas


# In a video the same texts come again and again. At 1280×720 a picture of one is some 8 kB.
@lru_cache(maxsize=256)
def _written(
    text: str, color: Color, size: int, size_wh: tuple[int, int], is_bgr: bool
) -> RGBImage:
    width, height = size_wh
    background = color[::-1] if is_bgr else color
    picture: RGBImage = np.full((height, width, 3), background, np.uint8)
    ink = _BLACK if _luminance(color) > _EQUAL_CONTRAST_LUMINANCE else _WHITE
    # Digits and capitals are 0.7 of the size: this baseline centres them.
    _put_text(picture, text, (_pad(size), round(height / 2 + 0.35 * size)), ink, size)
    picture.flags.writeable = False  # it is handed out again
    return picture


def _luminance(color: Color) -> float:
    """Relative luminance, from WCAG 2.2."""
    parts = [c / 255 for c in color]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _shortened(text: str, size: int, room: int) -> str:
    while text and _text_width(text, size) > room:
        text = text[:-3] + ".." if len(text) > 4 else text[:-1]
    return text


# -- text: OpenCV 5 has a TrueType font with most scripts, OpenCV 4 strokes with ASCII only ----


def _has_font_face() -> bool:
    return hasattr(cv2, "FontFace")


def _font() -> Any:
    # One per thread: nothing promises that a face may be shared.
    if not hasattr(_thread, "font"):
        _thread.font = cv2.FontFace("sans")
    return _thread.font


@lru_cache(maxsize=8192)
def _text_width(text: str, size: int) -> int:
    if _has_font_face():
        left, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), _font(), size, _SEMIBOLD)
        return int(left + width)
    scale, stroke = size * _HERSHEY_SCALE_PER_PX, max(1, round(size / 14))
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke)[0][0])


def _put_text(
    canvas: RGBImage, text: str, baseline_xy: tuple[int, int], color: Color, size: int
) -> None:
    if _has_font_face():
        cv2.putText(canvas, text, baseline_xy, color, _font(), size, _SEMIBOLD)
        return
    scale, stroke = size * _HERSHEY_SCALE_PER_PX, max(1, round(size / 14))
    face = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(canvas, text, baseline_xy, face, scale, color, stroke, cv2.LINE_AA)
