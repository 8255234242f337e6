"""Counting across a line and dwell time, against tracks made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from detkit.errors import UnsupportedSettingError
from detkit.notebook import count_line_crossings, dwell_times, line_crossings, to_dataframe
from detkit.results import DetectionResult

# A line down the middle: seen from its upper end, the right of it is where x is small.
LINE = ((50, 0), (50, 100))


def table(paths: dict[Any, list[Any]], *, fps: float | None = 10) -> pd.DataFrame:
    """Boxes of 10 pixels round the given centres; `None` where the object was not seen.

    Args:
        paths: By track number, or (source, track number), one centre per frame.
        fps: For `pts_seconds`.
    """
    rows = []
    for key, centres in paths.items():
        source, number = key if isinstance(key, tuple) else ("a.mp4", key)
        for index, centre in enumerate(centres):
            if centre is not None:
                x, y = centre
                row = {"source": source, "tracker_id": number, "frame_index": index}
                row |= {"x_min": x - 5, "y_min": y - 5, "x_max": x + 5, "y_max": y + 5}
                row |= {"class_name": "nut" if (number or 0) % 2 else "bolt"}
                rows.append(row if fps is None else {**row, "pts_seconds": index / fps})
    boxes = pd.DataFrame(rows)
    boxes["tracker_id"] = boxes["tracker_id"].astype("Int64")
    return boxes.sample(frac=1, random_state=0)  # the order of rows means nothing


def walk(*xs: float, y: float = 40) -> list[tuple[float, float]]:
    return [(x, y) for x in xs]


def directions(paths: dict[Any, list[Any]]) -> list[str]:
    return list(line_crossings(table(paths), *LINE)["direction"])


def test_one_that_crosses_and_one_that_comes_back() -> None:
    events = line_crossings(table({1: walk(20, 40, 60, 80), 2: walk(80, 20)}), *LINE)
    assert events["direction"].tolist() == ["right_to_left", "left_to_right"][::-1]
    assert events["tracker_id"].tolist() == [2, 1]
    assert events["frame_index"].tolist() == [1, 2]
    assert events["pts_seconds"].tolist() == [0.1, 0.2]
    assert events[["x", "y"]].to_numpy().tolist() == [[50, 40], [50, 40]]


def test_directions_are_as_seen_from_start_to_end() -> None:
    # From the left end to the right end of a level line, below is on the right.
    down = table({1: [(50, 20), (50, 80)]})
    assert line_crossings(down, (0, 50), (100, 50))["direction"].tolist() == ["left_to_right"]
    assert line_crossings(down, (100, 50), (0, 50))["direction"].tolist() == ["right_to_left"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (walk(20, 50, 20), []),
        (walk(20, 50, 50, 80), ["right_to_left"]),
        (walk(50, 80), []),
        (walk(20, 80, 20, 80), ["right_to_left", "left_to_right", "right_to_left"]),
        (walk(20, 80, y=120), []),
        (walk(20, 80, y=100), ["right_to_left"]),
        ([(20, 40), None, None, (80, 40)], ["right_to_left"]),
        (walk(80), []),
    ],
    ids=["touch", "through", "born on it", "to and fro", "past its end", "its end", "gap", "once"],
)
def test_what_is_a_crossing(path: list[Any], expected: list[str]) -> None:
    assert directions({1: path}) == expected


def test_tracks_and_sources_are_not_mixed_and_untracked_boxes_left_out() -> None:
    same_number = {("a.mp4", 1): walk(20, 30), ("b.mp4", 1): walk(80, 90)}
    assert directions(same_number) == []
    assert directions({1: walk(20), 2: [None, (80, 40)]}) == []
    boxes = table({1: walk(20, 80)})
    boxes["tracker_id"] = pd.array([pd.NA, pd.NA], dtype="Int64")
    assert len(line_crossings(boxes, *LINE)) == 0


def test_the_foot_of_a_box_is_another_point_than_its_middle() -> None:
    boxes = table({1: [(50, 30), (50, 47)]})
    level = ((0, 50), (100, 50))
    assert len(line_crossings(boxes, *level)) == 0
    assert len(line_crossings(boxes, *level, anchor="bottom_center")) == 1


def test_counts_have_a_row_for_each_kind_also_those_that_stayed() -> None:
    boxes = table(
        {1: walk(20, 80), 3: walk(30, 90, 10), 2: walk(10, 20), ("b.mp4", 1): walk(90, 10)}
    )
    counts = count_line_crossings(boxes, *LINE)
    assert counts.to_dict("list") == {
        "source": ["a.mp4", "a.mp4", "b.mp4"],
        "class_name": ["bolt", "nut", "nut"],
        "left_to_right": [0, 1, 1],
        "right_to_left": [0, 2, 0],
    }
    assert counts["left_to_right"].dtype == np.int64


def test_dwell_times() -> None:
    times = dwell_times(table({1: walk(1, 2, 3), 2: [None, (5, 5), None, (6, 5), None]}))
    assert times.to_dict("list") == {
        "source": ["a.mp4"] * 2,
        "tracker_id": [1, 2],
        "class_name": ["nut", "bolt"],
        "first_frame": [0, 1],
        "last_frame": [2, 3],
        "num_frames": [3, 2],
        "first_seconds": [0.0, 0.1],
        "last_seconds": [0.2, 0.3],
        "dwell_seconds": pytest.approx([0.2, 0.2]),
    }


def test_dwell_in_a_zone_adds_up_the_visits() -> None:
    zone = [(40, 0), (60, 0), (60, 100), (40, 100)]
    path = walk(20, 45, 50, 55, 80, 90, 50, 45, 20)
    times = dwell_times(table({1: path, 2: walk(20, 30), 3: walk(50)}), zone)
    assert times["tracker_id"].tolist() == [1, 3]
    assert times["dwell_seconds"].tolist() == pytest.approx([0.3, 0.0])
    assert times["num_frames"].tolist() == [5, 1]
    concave = [(0, 0), (100, 0), (100, 100), (50, 10), (0, 100)]
    assert dwell_times(table({1: [(50, 50)], 2: [(10, 50)]}), concave)["tracker_id"].tolist() == [2]


def test_without_a_clock_frames_are_counted() -> None:
    times = dwell_times(table({1: walk(1, 2, 3)}, fps=None))
    assert "dwell_seconds" not in times
    assert times["num_frames"].tolist() == [3]
    assert "pts_seconds" not in line_crossings(table({1: walk(20, 80)}, fps=None), *LINE)


def test_the_most_frequent_class_names_the_track() -> None:
    boxes = table({1: walk(1, 2, 3)}).sort_values("frame_index")
    boxes["class_name"] = ["bolt", "nut", "nut"]
    assert dwell_times(boxes)["class_name"].tolist() == ["nut"]


def test_tables_of_results_go_in_as_they_are() -> None:
    results = [
        DetectionResult(
            [[20 * i, 0, 20 * i + 10, 10], [0, 0, 5, 5]],
            [0.9, 0.9],
            [0, 1],
            {"tracker_ids": np.array([1, -1]), "frame_index": i, "pts_seconds": i / 25,
             "source": "a.mp4"},
        )
        for i in range(5)
    ]  # fmt: skip
    boxes = to_dataframe(results)
    assert boxes["tracker_id"].isna().sum() == 5
    assert count_line_crossings(boxes, *LINE)["right_to_left"].tolist() == [1]
    assert dwell_times(boxes)["dwell_seconds"].tolist() == pytest.approx([4 / 25])
    nothing = to_dataframe(
        [DetectionResult.empty({"frame_index": 0, "tracker_ids": np.empty(0, np.int64)})]
    )
    assert len(dwell_times(nothing)) == len(line_crossings(nothing, *LINE)) == 0
    assert len(count_line_crossings(nothing, *LINE)) == 0


def test_what_makes_no_sense_is_refused() -> None:
    boxes = table({1: walk(20, 80)})
    with pytest.raises(ValueError, match="no column tracker_id; detect with track=True"):
        dwell_times(boxes.drop(columns="tracker_id"))
    with pytest.raises(UnsupportedSettingError, match="two different points"):
        line_crossings(boxes, (1, 1), (1, 1))
    with pytest.raises(UnsupportedSettingError, match="three corners"):
        dwell_times(boxes, [(0, 0), (1, 1)])
    with pytest.raises(UnsupportedSettingError, match="anchor must be"):
        line_crossings(boxes, *LINE, anchor="top")  # type: ignore[arg-type]
