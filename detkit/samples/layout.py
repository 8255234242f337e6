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
    draws: Draws, window: Window, others: list[Part], count: int, has_rail_below: bool
) -> list[Part]:
    """Strew up to `count` parts over a window, none of them more than 30 % covered.

    Args:
        draws: Where chance comes from.
        window: Where they may lie, xyxy belt pixels.
        others: Parts that lie there already.
        count: How many to try; one that finds no free place in 12 tries is left out.
        has_rail_below: Whether the lower edge is a rail; no part lies under a rail.
    """
    parts = list(others)
    # Parts may be cut by the frame's edge, but never lie under a rail.
    top = window[1] if window[1] > 0 else -np.inf
    bottom = window[3] if has_rail_below else np.inf
    points = [p.pose.samples() for p in parts]
    hidden = [np.zeros(len(p), dtype=np.bool_) for p in points]
    for _ in range(count):
        part = draw_part(draws)
        touching = draws.chance(0.35)
        for _ in range(12):
            x = draws.uniform(window[0] - 40, window[2] + 40)
            y = draws.uniform(window[1] - 40, window[3] + 40)
            placed = replace(part, pose=part.pose.moved(x, y))
            if placed.pose.part_inside(window) < _MIN_VISIBLE + 0.05:
                continue
            if not _clear_of(placed, top, bottom):
                continue
            covered = [h | placed.pose.covers(p) for h, p in zip(hidden, points, strict=True)]
            limit = _MAX_COVERED if touching else 0.0
            if all(
                c.mean() <= max(limit, h.mean()) for c, h in zip(covered, hidden, strict=True)
            ) and (touching or not _lies_on(placed, parts)):
                parts.append(placed)
                points.append(placed.pose.samples())
                hidden = [*covered, np.zeros(len(points[-1]), dtype=np.bool_)]
                break
    return parts[len(others) :]


def _clear_of(part: Part, top: float, bottom: float) -> bool:
    box = part.pose.box()
    return box is not None and box[1] >= top and box[3] <= bottom


def _lies_on(part: Part, parts: list[Part]) -> bool:
    mine = part.pose.samples()
    return any(bool(other.pose.covers(mine).any()) for other in parts)


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
