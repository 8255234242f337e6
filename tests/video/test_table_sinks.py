"""Table sinks: the same boxes in every format, and no half file under its name."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from detkit.errors import VideoWriteError
from detkit.results import DetectionResult
from detkit.video.tables import COLUMNS, open_table

RESULT = DetectionResult(
    [[1, 2, 30.5, 40.25], [5, 6, 7, 8]],
    [0.9, 0.5],
    [0, 3],
    {"class_names": {0: 'a "b", c\nd', 3: "größe"}, "tracker_ids": np.array([7, -1])},
)


def fill(path: Path) -> None:
    with open_table(path) as table:
        table.write(RESULT, source="x.mp4", frame_index=4, pts_seconds=0.16)
        table.write(DetectionResult.empty(), source="y.jpg")
        table.write(RESULT, source="y.jpg")
        assert table.num_rows == 4
        assert not path.exists()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_csv(tmp_path: Path) -> None:
    fill(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == COLUMNS
    assert rows[1] == ["x.mp4", "1.00", "2.00", "30.50", "40.25", "0", 'a "b", c\nd', "0.9000",
                       "7", "4", "0.160000"]  # fmt: skip
    assert rows[2][6:9] == ["größe", "0.5000", ""]
    assert rows[4][0] == "y.jpg"
    assert rows[4][9:] == ["", ""]


def test_json_lines(tmp_path: Path) -> None:
    fill(tmp_path / "t.jsonl")
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()
    images = [json.loads(line) for line in lines]
    assert [len(image["detections"]) for image in images] == [2, 0, 2]
    assert images[0]["detections"][1]["class_name"] == "größe"
    assert images[0]["pts_seconds"] == 0.16


def test_parquet(tmp_path: Path) -> None:
    fill(tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    assert tuple(table.column_names) == COLUMNS
    rows = table.to_pylist()
    assert rows[0]["x_max"] == 30.5
    assert rows[0]["tracker_id"] == 7
    assert rows[1]["tracker_id"] is None
    assert rows[3]["frame_index"] is None


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_error_leaves_only_the_partial_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    with pytest.raises(RuntimeError, match="mine"), open_table(path) as table:
        table.write(RESULT, source="a")
        raise RuntimeError("mine")
    assert [p.name for p in tmp_path.iterdir()] == [f"t.partial{suffix}"]
    with pytest.raises(VideoWriteError, match="already closed"):
        table.write(RESULT, source="a")
    table.close()
    assert not path.exists()


def test_other_endings_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoWriteError, match=r"must end in \.csv"):
        open_table(tmp_path / "t.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(VideoWriteError, match="cannot be written"):
        open_table(tmp_path / "file" / "t.csv")
