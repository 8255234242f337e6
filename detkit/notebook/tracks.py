"""Counting across a line and time spent, from a table of tracked boxes.

Owns the geometry of paths. Pure: tables in, tables out. Knows pandas and numpy; never pixels, a
tracker or a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from detkit.errors import UnsupportedSettingError

Anchor = Literal["center", "bottom_center"]
Point = Sequence[float]

_TRACK = ["source", "tracker_id"]
_NEEDED = ["x_min", "y_min", "x_max", "y_max", "class_name", "tracker_id", "frame_index"]


def line_crossings(
    boxes: pd.DataFrame, start_xy: Point, end_xy: Point, *, anchor: Anchor = "center"
) -> pd.DataFrame:
    """One row for each time that a tracked object crossed the line from `start_xy` to `end_xy`.

    With d = end - start, a point p lies on the right of the line, seen from start to end, where
    d_x (p_y - start_y) - d_y (p_x - start_x) > 0 (y points down). An object crosses between two of
    its frames when its point changes sides and the way between them meets the line within its
    ends. A point exactly on the line is on the side that it came from, so that touching the line
    is no crossing. One that trembles about the line crosses it back and forth, and is counted each
    time.

    Args:
        boxes: A table of `to_dataframe` from a run with `track=True`. Boxes without a
            `tracker_id` are left out.
        start_xy: In pixels.
        end_xy: In pixels.
        anchor: Which point of a box crosses: its "center", or "bottom_center" where things stand
            on the ground.

    Returns:
        Columns `source`, `tracker_id`, `class_name`, `frame_index` and where known `pts_seconds`
        (the first frame on the other side), `direction` (category: "left_to_right",
        "right_to_left", seen from start to end), `x`, `y` (float64, where the line was crossed);
        in order of frames.

    Raises:
        ValueError: If a column is missing.
        UnsupportedSettingError: If the ends of the line are one point.
    """
    start, along = _line(start_xy, end_xy)
    paths = _paths(boxes)
    points = _anchors(paths, anchor)
    offset = points - start
    # Twice the area of the triangle that point and line make: its sign is the side.
    side = along[0] * offset[:, 1] - along[1] * offset[:, 0]
    off_line = side != 0
    paths, points, side = paths[off_line], points[off_line], side[off_line]
    if len(paths) == 0:
        return _events(paths, points, side)
    before, after = slice(None, -1), slice(1, None)
    track = paths.groupby(_TRACK, observed=True, sort=False).ngroup().to_numpy()
    crosses = (track[before] == track[after]) & (side[before] * side[after] < 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = side[before] / (side[before] - side[after])
        met = points[before] + share[:, None] * (points[after] - points[before])
        along_share = (met - start) @ along / (along @ along)
    crosses &= (along_share >= 0) & (along_share <= 1)
    events = _events(paths[after][crosses], met[crosses], side[after][crosses])
    table: pd.DataFrame = events.sort_values(["frame_index", *_TRACK], ignore_index=True)
    return table


def count_line_crossings(
    boxes: pd.DataFrame, start_xy: Point, end_xy: Point, *, anchor: Anchor = "center"
) -> pd.DataFrame:
    """How many objects of each class crossed a line, and in which direction.

    Args:
        boxes: See `line_crossings`.
        start_xy: In pixels.
        end_xy: In pixels.
        anchor: See `line_crossings`.

    Returns:
        One row per `source` and `class_name` that has a track, with `left_to_right` and
        `right_to_left` (int64; seen from start to end).

    Raises:
        ValueError: If a column is missing.
        UnsupportedSettingError: If the ends of the line are one point.
    """
    events = line_crossings(boxes, start_xy, end_xy, anchor=anchor)
    kinds = (
        _paths(boxes)[["source", "class_name"]]
        .drop_duplicates()
        .sort_values(["source", "class_name"])
    )
    table: pd.DataFrame = kinds.reset_index(drop=True)
    for direction in ("left_to_right", "right_to_left"):
        of_kind = events[events["direction"] == direction].groupby(["source", "class_name"]).size()
        found = of_kind.reindex(pd.MultiIndex.from_frame(kinds), fill_value=0)
        table[direction] = found.to_numpy(dtype=np.int64)
    return table


def dwell_times(
    boxes: pd.DataFrame, zone: Sequence[Point] | None = None, *, anchor: Anchor = "center"
) -> pd.DataFrame:
    """How long each tracked object was in view, or in a zone.

    The time is the sum of t(k+1) - t(k) over all pairs of frames k, k+1 that follow each other in
    an object's track, both with the object in the zone. So frames that were left out or missed
    between two in which it was there count as there, and an object seen once has stayed 0 s.

    Args:
        boxes: A table of `to_dataframe` from a run with `track=True`.
        zone: Corners of a polygon in pixels, at least three; by default all there is to see. A
            point is in it by the even-odd rule.
        anchor: Which point of a box must be in the zone; see `line_crossings`.

    Returns:
        One row per track that was in the zone at all: `source`, `tracker_id`, `class_name` (its
        most frequent one), `first_frame`, `last_frame`, `num_frames` (int64, within the zone),
        and where times are known `first_seconds`, `last_seconds`, `dwell_seconds` (float64).

    Raises:
        ValueError: If a column is missing.
        UnsupportedSettingError: If the zone has fewer than three corners.
    """
    paths = _paths(boxes)
    inside = np.ones(len(paths), dtype=bool)
    if zone is not None:
        inside = _in_polygon(_anchors(paths, anchor), np.asarray(zone, dtype=np.float64))
    has_times = "pts_seconds" in paths
    if has_times:
        grouped = paths.groupby(_TRACK, observed=True, sort=False)
        step = grouped["pts_seconds"].diff()
        was_inside = (
            pd.Series(inside, index=paths.index)
            .groupby([paths["source"], paths["tracker_id"]], observed=True, sort=False)
            .shift(fill_value=False)
        )
        paths = paths.assign(step_seconds=step.where(was_inside & inside, 0.0).fillna(0.0))
    tracks = paths[inside].groupby(_TRACK, observed=True)
    columns: dict[str, Any] = {
        "class_name": tracks["class_name"].agg(lambda names: names.mode().iloc[0]),
        "first_frame": tracks["frame_index"].min(),
        "last_frame": tracks["frame_index"].max(),
        "num_frames": tracks.size(),
    }
    if has_times:
        columns["first_seconds"] = tracks["pts_seconds"].min()
        columns["last_seconds"] = tracks["pts_seconds"].max()
        columns["dwell_seconds"] = tracks["step_seconds"].sum()
    table: pd.DataFrame = pd.DataFrame(columns).reset_index()
    return table


def _paths(boxes: pd.DataFrame) -> pd.DataFrame:
    """The tracked boxes, track by track in order of frames."""
    missing = [name for name in ["source", *_NEEDED] if name not in boxes]
    if missing:
        hint = "; detect with track=True" if "tracker_id" in missing else ""
        raise ValueError(f"the table has no column {', '.join(missing)}{hint}")
    tracked = boxes[boxes["tracker_id"].notna()]
    plain = {
        "source": tracked["source"].astype(str),
        "class_name": tracked["class_name"].astype(str),
    }
    whole = {name: tracked[name].astype(np.int64) for name in ("tracker_id", "frame_index")}
    table: pd.DataFrame = tracked.assign(**plain, **whole).sort_values(
        [*_TRACK, "frame_index"], kind="stable", ignore_index=True
    )
    return table


def _anchors(paths: pd.DataFrame, anchor: Anchor) -> npt.NDArray[np.float64]:
    corners = paths[["x_min", "y_min", "x_max", "y_max"]].to_numpy(dtype=np.float64)
    x = (corners[:, 0] + corners[:, 2]) / 2
    if anchor == "center":
        return np.column_stack([x, (corners[:, 1] + corners[:, 3]) / 2])
    if anchor == "bottom_center":
        return np.column_stack([x, corners[:, 3]])
    raise UnsupportedSettingError(f"anchor must be 'center' or 'bottom_center', got {anchor!r}")


def _line(
    start_xy: Point, end_xy: Point
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    start, end = np.asarray(start_xy, dtype=np.float64), np.asarray(end_xy, dtype=np.float64)
    if start.shape != (2,) or end.shape != (2,) or not np.any(start != end):
        raise UnsupportedSettingError(
            f"a line needs two different points (x, y), got {start_xy!r} and {end_xy!r}"
        )
    return start, end - start


def _events(
    paths: pd.DataFrame, met: npt.NDArray[np.float64], side: npt.NDArray[np.float64]
) -> pd.DataFrame:
    names = ["source", "tracker_id", "class_name", "frame_index"]
    table = paths[names + [n for n in ("pts_seconds",) if n in paths]].assign(
        direction=pd.Categorical(
            np.where(side > 0, "left_to_right", "right_to_left"),
            ["left_to_right", "right_to_left"],
        ),
        x=met[:, 0],
        y=met[:, 1],
    )
    events: pd.DataFrame = table.reset_index(drop=True)
    return events


def _in_polygon(
    points: npt.NDArray[np.float64], corners: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """The even-odd rule: a ray to the right of the point meets an odd number of edges."""
    if corners.ndim != 2 or corners.shape[0] < 3 or corners.shape[1] != 2:
        raise UnsupportedSettingError(
            f"a zone needs three corners (x, y) or more, got an array of shape {corners.shape}"
        )
    x, y = points[:, :1], points[:, 1:]
    x0, y0 = corners.T
    x1, y1 = np.roll(corners, -1, axis=0).T
    spans = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = x < x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return np.asarray((spans & meets).sum(axis=1) % 2 == 1)
