"""Where the parts lie: how many, where, how much they may cover each other, and their boxes.

Owns the truth of a scene: it places parts by geometry alone and turns them into boxes. Knows
nothing of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detkit.errors import UnsupportedSettingError
from detkit.results import DetectionResult
from detkit.samples.draws import Draws
from detkit.samples.geometry import Window
from detkit.samples.names import CLASS_NAMES
from detkit.samples.parts import Part, draw_part

# Stream numbers of `Draws`: what is drawn for one of them does not move the others.
BELT, LIGHT, PARTS, LITTER, CAMERA, SENSOR = range(6)

_MAX_COVERED = 0.3  # of a part, by all that lie on it
_MIN_VISIBLE = 0.4  # of a part, inside the frame, for it to count
_STANDARD_AREA = 1280 * 720
_OVERHANG_PX = 40  # how far outside the frame a part's centre may lie
_TRIES = 12


def check_size(size_wh: tuple[int, int]) -> None:
    """Refuse frames that would be too small for a part."""
    if min(size_wh) < 64:
        raise UnsupportedSettingError(
            f"both sides of size_wh must be at least 64 px, got {size_wh}"
        )


def draw_count(draws: Draws, size_wh: tuple[int, int]) -> int:
    """How many parts to strew over a frame: 6 to 18 at 1280 x 720, in proportion to its area."""
    area = size_wh[0] * size_wh[1] / _STANDARD_AREA
    return max(1, round(draws.uniform(5.5, 18.5) * area))


def lay_out(
    draws: Draws, window: Window, others: Sequence[Part], count: int, has_rail_below: bool
) -> list[Part]:
    """Strew up to `count` parts over a window, none of them more than 30 % covered.

    Args:
        draws: Where chance comes from.
        window: Where they may lie, xyxy belt pixels.
        others: Parts that lie there already.
        count: How many to try; one that finds no free place in 12 tries is left out.
        has_rail_below: Whether the lower edge is a rail; no part lies under a rail.
    """
    # Parts may be cut by the frame's edge, but never lie under a rail.
    top = window[1] if window[1] > 0 else -np.inf
    bottom = window[3] if has_rail_below else np.inf
    heap = _Heap(others)
    for _ in range(count):
        part = draw_part(draws)
        may_touch = draws.chance(0.35)
        for _ in range(_TRIES):
            x = draws.uniform(window[0] - _OVERHANG_PX, window[2] + _OVERHANG_PX)
            y = draws.uniform(window[1] - _OVERHANG_PX, window[3] + _OVERHANG_PX)
            placed = replace(part, pose=part.pose.moved(x, y))
            if (
                placed.pose.part_inside(window) >= _MIN_VISIBLE + 0.05
                and _is_clear_of_rails(placed, top, bottom)
                and heap.add(placed, may_touch)
            ):
                break
    return heap.parts[len(others) :]


class _Heap:
    """Parts in the order they fell, and which of their sample points are covered so far."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self._points = [part.pose.samples() for part in parts]
        self._hidden = [np.zeros(len(points), dtype=np.bool_) for points in self._points]

    def add(self, part: Part, may_touch: bool) -> bool:
        """Put a part on top if it covers nothing (or, where it may, nothing too much)."""
        points = part.pose.samples()
        if not may_touch and any(other.pose.covers(points).any() for other in self.parts):
            return False
        limit = _MAX_COVERED if may_touch else 0.0
        covered = []
        for hidden, below in zip(self._hidden, self._points, strict=True):
            now = hidden | part.pose.covers(below)
            if now.mean() > max(limit, hidden.mean()):
                return False
            covered.append(now)
        self.parts.append(part)
        self._points.append(points)
        self._hidden = [*covered, np.zeros(len(points), dtype=np.bool_)]
        return True


def _is_clear_of_rails(part: Part, top: float, bottom: float) -> bool:
    box = part.pose.box()
    return box is not None and box[1] >= top and box[3] <= bottom


def truth(
    parts: Sequence[tuple[int, Part]],
    window: Window,
    size_wh: tuple[int, int],
    seed: int,
    *,
    tracked: bool = False,
) -> DetectionResult:
    """Boxes of the numbered parts of which at least 40 % lies in the window, relative to it."""
    boxes, classes, ids = [], [], []
    for number, part in parts:
        box = part.pose.box(window)
        if box is not None and part.pose.part_inside(window) >= _MIN_VISIBLE:
            boxes.append([box[0] - window[0], box[1], box[2] - window[0], box[3]])
            classes.append(part.class_id)
            ids.append(number)
    metadata: dict[str, object] = {
        "class_names": dict(enumerate(CLASS_NAMES)),
        "image_hw": (size_wh[1], size_wh[0]),
        "seed": seed,
    }
    if tracked:
        metadata["tracker_ids"] = np.array(ids, dtype=np.int64)
    return DetectionResult(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.ones(len(boxes), dtype=np.float32),
        np.array(classes, dtype=np.int64),
        metadata,
    )
