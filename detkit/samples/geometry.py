"""Where a part lies: its outline in its own units, turned and scaled on the belt, and its box.

Owns boxes and coverage, in float64 and without a single pixel, so that the truth of a scene does
not depend on how a library fills polygons. Knows nothing of colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Window = tuple[float, float, float, float]

_CIRCLE_CORNERS = 96  # a 96-gon's apothem is 0.05 % short of its radius: 0.06 px at 240 px


def circle(radius: float, x: float = 0.0, y: float = 0.0) -> Points:
    """Corners of a circle as a polygon, `(96, 2)`."""
    angles = np.arange(_CIRCLE_CORNERS) * (2 * np.pi / _CIRCLE_CORNERS)
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def rectangle(x_min: float, y_min: float, x_max: float, y_max: float) -> Points:
    """Corners of a rectangle, `(4, 2)`."""
    return np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]])


@dataclass(frozen=True)
class Outline:
    """A part's silhouette as convex pieces in part units (its length or diameter is 1).

    Attributes:
        pieces: Convex polygons, each `(M, 2)`.
        half_length: Half the footprint along the part's own x axis.
        half_width: Half the footprint across it; equal to `half_length` for round parts.
        is_round: Whether the footprint is a disc, else a rectangle.
    """

    pieces: tuple[Points, ...]
    half_length: float
    half_width: float
    is_round: bool


@dataclass(frozen=True)
class Pose:
    """An outline put on the belt: centre in pixels, pixels per part unit, angle in radians."""

    outline: Outline
    x: float
    y: float
    scale: float
    angle: float

    def moved(self, dx: float, dy: float) -> Pose:
        """The same pose, shifted by pixels."""
        return Pose(self.outline, self.x + dx, self.y + dy, self.scale, self.angle)

    def to_belt(self, points: Points) -> Points:
        """Part coordinates `(M, 2)` to belt pixels."""
        c, s = np.cos(self.angle) * self.scale, np.sin(self.angle) * self.scale
        x, y = points[:, 0], points[:, 1]
        return np.stack([self.x + c * x - s * y, self.y + s * x + c * y], axis=1)

    def box(self, window: Window | None = None) -> Window | None:
        """Tight xyxy extents, of what lies inside `window` if given; None if nothing does."""
        corners = [self.to_belt(piece) for piece in self.outline.pieces]
        if window is not None:
            corners = [c for c in (_clip(piece, window) for piece in corners) if len(c)]
        if not corners:
            return None
        every = np.concatenate(corners)
        low, high = every.min(axis=0), every.max(axis=0)
        if window is not None:  # cutting leaves corners a rounding error outside
            low, high = np.maximum(low, window[:2]), np.minimum(high, window[2:])
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def samples(self) -> Points:
        """About 50 points spread evenly over the footprint, in belt pixels."""
        steps = (np.arange(8) + 0.5) / 4.0 - 1.0
        grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        if self.outline.is_round:
            grid = grid[(grid**2).sum(axis=1) <= 1.0]
        return self.to_belt(grid * [self.outline.half_length, self.outline.half_width])

    def covers(self, points: Points) -> npt.NDArray[np.bool_]:
        """Which belt points lie under the footprint, `(M,)`."""
        dx, dy = points[:, 0] - self.x, points[:, 1] - self.y
        c, s = np.cos(self.angle) / self.scale, np.sin(self.angle) / self.scale
        u = (c * dx + s * dy) / self.outline.half_length
        v = (c * dy - s * dx) / self.outline.half_width
        if self.outline.is_round:
            return np.asarray(u * u + v * v <= 1.0)
        return np.asarray((np.abs(u) <= 1.0) & (np.abs(v) <= 1.0))

    def part_inside(self, window: Window) -> float:
        """The fraction of the footprint that lies inside `window`."""
        p = self.samples()
        inside = (p[:, 0] >= window[0]) & (p[:, 0] < window[2])
        inside &= (p[:, 1] >= window[1]) & (p[:, 1] < window[3])
        return float(inside.mean())


def pose_of_size(outline: Outline, size_px: float, angle: float) -> Pose:
    """A pose at the origin whose box has `size_px` as its longer side."""
    box = Pose(outline, 0.0, 0.0, 1.0, angle).box()
    assert box is not None
    return Pose(outline, 0.0, 0.0, size_px / max(box[2] - box[0], box[3] - box[1]), angle)


def _clip(polygon: Points, window: Window) -> Points:
    """Sutherland and Hodgman's clipping of a convex polygon by a rectangle."""
    for axis, limit, sign in (
        (0, window[0], 1.0),
        (0, window[2], -1.0),
        (1, window[1], 1.0),
        (1, window[3], -1.0),
    ):
        if not len(polygon):
            break
        depth = sign * (polygon[:, axis] - limit)
        if (depth >= 0.0).all():
            continue
        kept: list[npt.NDArray[np.float64]] = []
        for i, (corner, d) in enumerate(zip(polygon, depth, strict=True)):
            following, d_next = polygon[(i + 1) % len(polygon)], depth[(i + 1) % len(polygon)]
            if d >= 0.0:
                kept.append(corner)
            if (d >= 0.0) != (d_next >= 0.0):
                kept.append(corner + (following - corner) * (d / (d - d_next)))
        polygon = np.array(kept).reshape(-1, 2)
    return polygon
