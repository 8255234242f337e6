"""Table sinks: the same boxes in every format, and no half file under its name."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from detkit.errors import VideoWriteError
from detkit.results import DetectionResult
from detkit.video import ParquetSink, tables
from detkit.video.table_sink import COLUMNS
from detkit.video.tables import open_table

RESULT = DetectionResult(
    [[1, 2, 30.5, 40.25], [5, 6, 7, 8]],
    [0.9, 0.5],
    [0, 3],
    {
        "class_names": {0: 'a "b", c\nd', 3: "größe"},
        "tracker_ids": np.array([7, -1]),
        "image_hw": (48, 64),
    },
)


def fill(path: Path) -> None:
    with open_table(path) as table:
        table.write(RESULT, source="x.mp4", frame_index=4, pts_seconds=0.16)
        table.write(DetectionResult.empty(), source="y.jpg")
        table.write(RESULT, source="y.jpg")
        assert table.num_rows == 4
        assert not path.exists()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".json"])
def test_a_name_that_is_no_unicode_costs_no_table(tmp_path: Path, suffix: str) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    path = tmp_path / f"t{suffix}"
    with open_table(path) as table:
        table.write(RESULT, source=name)
    if suffix == ".parquet":
        assert pq.read_table(path).to_pylist()[0]["source"] == r"caf\udce9.jpg"
        return
    text = path.read_text(encoding="utf-8")
    assert r"caf\udce9.jpg" in text
    if suffix == ".jsonl":
        assert json.loads(text)["source"] == name


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".json"])
def test_numbers_of_numpy_are_numbers_and_nan_is_no_time(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    result = RESULT.with_metadata(image_hw=tuple(np.array([48, 64])))
    with open_table(path) as table:
        table.write(result, source="a.mp4", frame_index=np.int64(4), pts_seconds=float("nan"))  # type: ignore[arg-type]
    if suffix == ".parquet":
        row = pq.read_table(path).to_pylist()[0]
        assert (row["frame_index"], row["pts_seconds"]) == (4, None)
        return
    text = path.read_text(encoding="utf-8")
    assert "nan" not in text.casefold()
    if suffix == ".jsonl":
        line = json.loads(text)
        assert (line["frame_index"], line["pts_seconds"], line["image_hw"]) == (4, None, [48, 64])


def test_csv_holds_no_formula(tmp_path: Path) -> None:
    result = DetectionResult([[1, 2, 3, 4]], [0.5], [0], {"class_names": {0: "=1+1"}})
    with open_table(tmp_path / "t.csv") as table:
        table.write(result, source="@SUM(1+1)|cmd.jpg")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        row = list(csv.reader(file))[1]
    assert (row[0], row[6]) == ("'@SUM(1+1)|cmd.jpg", "'=1+1")


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


def test_a_long_parquet_file_is_written_group_by_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the rows that wait all but the latest are packed: as they come they take ten times."""
    monkeypatch.setattr(tables, "_ROWS_PER_GROUP", 1_000)
    monkeypatch.setattr(tables, "_ROWS_UNPACKED", 100)
    path = tmp_path / "t.parquet"
    many = DetectionResult([[1, 2, 3, 4]] * 30, [0.5] * 30, [0] * 30)
    table = ParquetSink(path)
    with table:
        for index in range(84):
            table.write(many, source="x.mp4", frame_index=index)
            assert len(table._rows) < 100
            assert sum(map(len, table._packed)) < 1_000
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert groups == [1_080, 1_080, 360]
    found = file.read(columns=["frame_index"]).column(0).to_pylist()
    assert found == [index for index in range(84) for _ in range(30)]


def test_coco(tmp_path: Path) -> None:
    fill(tmp_path / "t.json")
    whole = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert whole["images"][0] == {
        "id": 1, "file_name": "x/frame_000004.jpg", "width": 64, "height": 48,
        "source": "x.mp4", "frame_index": 4, "pts_seconds": 0.16,
    }  # fmt: skip
    assert [image["file_name"] for image in whole["images"][1:]] == ["y.jpg", "y.jpg"]
    assert whole["images"][1]["width"] is None
    assert [(a["id"], a["image_id"]) for a in whole["annotations"]] == [
        (1, 1), (2, 1), (3, 3), (4, 3),
    ]  # fmt: skip
    first, second = whole["annotations"][:2]
    assert first["bbox"] == [1, 2, 29.5, 38.25]
    assert first["area"] == pytest.approx(29.5 * 38.25, abs=0.01)
    assert (first["score"], first["track_id"], first["category_id"]) == (0.9, 7, 0)
    assert "track_id" not in second
    assert whole["categories"] == [{"id": 0, "name": 'a "b", c\nd'}, {"id": 3, "name": "größe"}]


def test_coco_without_a_box_and_after_an_error(tmp_path: Path) -> None:
    with open_table(tmp_path / "t.json") as table:
        table.write(DetectionResult.empty(), source="y.jpg")
    assert json.loads((tmp_path / "t.json").read_text())["annotations"] == []
    with pytest.raises(RuntimeError), open_table(tmp_path / "u.json") as table:
        table.write(RESULT, source="y.jpg")
        raise RuntimeError
    assert len(json.loads((tmp_path / "u.json.partial").read_text())["annotations"]) == 2


def test_mot(tmp_path: Path) -> None:
    with open_table(tmp_path / "t.txt") as table:
        table.write(RESULT, source="x.mp4", frame_index=0)
        table.write(DetectionResult.empty(), source="x.mp4", frame_index=1)
        table.write(RESULT, source="x.mp4", frame_index=2)
    lines = (tmp_path / "t.txt").read_text().splitlines()
    assert lines[:2] == [
        "1,7,2.00,3.00,29.50,38.25,0.9000,-1,-1,-1",
        "1,-1,6.00,7.00,2.00,2.00,0.5000,-1,-1,-1",
    ]
    assert [line.split(",")[0] for line in lines] == ["1", "1", "3", "3"]


def test_mot_holds_one_video_and_no_pictures(tmp_path: Path) -> None:
    with (
        pytest.raises(VideoWriteError, match=r"one video, got 'y\.mp4' after 'x\.mp4'"),
        open_table(tmp_path / "t.txt") as table,
    ):
        table.write(RESULT, source="x.mp4", frame_index=0)
        table.write(RESULT, source="y.mp4", frame_index=0)
    with (
        pytest.raises(VideoWriteError, match=r"one video, got 'a\.jpg'"),
        open_table(tmp_path / "u.txt") as table,
    ):
        table.write(RESULT, source="a.jpg")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".json"])
def test_an_error_leaves_only_the_partial_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    with pytest.raises(RuntimeError, match="mine"), open_table(path) as table:
        table.write(RESULT, source="a")
        raise RuntimeError("mine")
    assert [p.name for p in tmp_path.iterdir()] == [f"t{suffix}.partial"]
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full of Linux")
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".json", ".txt"])
def test_a_full_disk_is_told(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit.video.writing.unlink_link", lambda partial: None)
    (tmp_path / f"boxes{suffix}.partial").symlink_to("/dev/full")
    with pytest.raises(VideoWriteError, match=rf"boxes\{suffix}: cannot be written .*No space"):  # noqa: SIM117
        with open_table(tmp_path / f"boxes{suffix}") as table:
            for index in range(2_000):
                table.write(RESULT, source="a.mp4", frame_index=index)
    assert [path.name for path in tmp_path.iterdir()] == [f"boxes{suffix}.partial"]
