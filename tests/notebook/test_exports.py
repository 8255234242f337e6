"""What is written can be read: by us to the bit, by others in their own words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.detection.abstract import DetectionSettings
from detkit.errors import (
    DetectorContractError,
    DetkitError,
    ItemFailure,
    PartialBatchError,
    VideoWriteError,
)
from detkit.notebook import (
    images_dataframe,
    read_parquet,
    read_parquet_facts,
    to_coco,
    to_dataframe,
    write_coco,
    write_csv,
    write_parquet,
)
from detkit.notebook.exports import images_path
from detkit.results import DetectionResult

FACTS = {"class_names": {0: "bolt", 2: "gear"}, "image_hw": (100, 200), "model": "parts.onnx"}
TWO = DetectionResult([[0, 0, 20, 50], [100, 50, 200, 100]], [0.9, 0.4], [0, 2], FACTS)
NONE = DetectionResult.empty(FACTS)
FAILED = ItemFailure(2, "detect", DetectorContractError("it returned None"), "bad.jpg")
ERROR = PartialBatchError("", 2, 3, [TWO, NONE], [FAILED], outcomes=[TWO, NONE, FAILED])


def test_parquet_gives_back_results_failures_and_what_it_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "boxes.parquet"
    chosen = DetectionSettings(confidence_threshold=0.4)
    assert write_parquet(ERROR, path, settings=chosen, facts={"note": "belt 3"}) == path
    first, second, third = read_parquet(path)
    assert (first, second) == (TWO, NONE)
    assert isinstance(first, DetectionResult)
    assert first.names == ["bolt", "gear"]
    assert first.metadata["image_hw"] == (100, 200)
    assert isinstance(third, ItemFailure)
    assert (third.index, third.stage, third.source) == (2, "detect", "bad.jpg")
    facts = read_parquet_facts(path)
    assert facts["models"] == ["parts.onnx"]
    assert facts["settings"]["confidence_threshold"] == 0.4
    assert facts["note"] == "belt 3"
    assert read_parquet_facts(images_path(path)) == facts
    assert {p.name for p in path.parent.iterdir()} == {"boxes.parquet", "boxes.images.parquet"}
    # Any other reader sees plain columns, categories as dictionaries.
    assert pq.read_table(path).column("class_name").to_pylist() == ["bolt", "gear"]


corners = st.tuples(*[st.floats(0, 1e4, width=32)] * 4).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)
found = st.lists(
    st.tuples(corners, st.floats(0, 1, width=32), st.integers(0, 2**31)), max_size=5
).map(
    lambda rows: DetectionResult(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int64),
        {"image_hw": (9, 16), "model": "m"},
    )
)


@settings(max_examples=25)
@given(st.lists(found, max_size=4))
def test_parquet_and_csv_keep_every_bit(
    tmp_path_factory: pytest.TempPathFactory, results: list[DetectionResult]
) -> None:
    folder = tmp_path_factory.mktemp("out")
    assert read_parquet(write_parquet(results, folder / "a.parquet")) == results
    back = pd.read_csv(write_csv(results, folder / "a.csv"))
    table = to_dataframe(results)
    for name in ("x_min", "y_min", "x_max", "y_max", "confidence"):
        written = back[name].to_numpy(np.float32)
        np.testing.assert_array_equal(written, table[name].to_numpy())
    assert back["class_id"].tolist() == table["class_id"].tolist()


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".csv.zip"])
def test_a_table_is_compressed_as_its_name_says(tmp_path: Path, ending: str) -> None:
    path = write_csv([TWO], tmp_path / f"a{ending}")
    assert pd.read_csv(path)["class_name"].tolist() == ["bolt", "gear"]
    assert path.read_bytes().startswith(b"image_index,") == (ending == ".csv")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_half_written_is_in_no_readers_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(table: object, path: Path) -> None:
        path.write_bytes(b"PAR1")
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", dies)
    with pytest.raises(KeyboardInterrupt):
        write_parquet([TWO], tmp_path / "x.parquet")
    assert [p.name for p in tmp_path.iterdir()] == ["x.parquet.partial"]
    assert list(tmp_path.glob("**/*.parquet")) == []


def test_coco_counts_what_was_looked_at_and_lists_what_failed(tmp_path: Path) -> None:
    coco = json.loads(
        write_coco(ERROR, tmp_path / "a.json", ["a.jpg", "b.jpg", "c.jpg"]).read_text()
    )
    assert coco == to_coco(ERROR, ["a.jpg", "b.jpg", "c.jpg"])
    assert coco["images"] == [
        {"id": 1, "file_name": "a.jpg", "width": 200, "height": 100},
        {"id": 2, "file_name": "b.jpg", "width": 200, "height": 100},
    ]
    assert coco["categories"] == [{"id": 0, "name": "bolt"}, {"id": 2, "name": "gear"}]
    first, second = coco["annotations"]
    assert (first["image_id"], first["bbox"], first["area"]) == (1, [0, 0, 20, 50], 1000)
    assert (second["category_id"], second["score"]) == (2, pytest.approx(0.4))
    assert coco["info"]["failed"][0]["file_name"] == "c.jpg"
    with pytest.raises(ValueError, match="size of every image"):
        to_coco([DetectionResult([[0, 0, 1, 1]], [0.5], [0])])


def test_any_name_of_a_file_has_a_place_in_every_file(tmp_path: Path) -> None:
    names = [os.fsdecode(b"\xff.jpg"), "=1+1.jpg", "\t-2.jpg"]
    error = PartialBatchError("", 2, 3, [TWO, TWO], [FAILED], outcomes=[TWO, TWO, FAILED])
    table = to_dataframe(error, names)
    assert table["source"].tolist() == [r"\udcff.jpg"] * 2 + ["=1+1.jpg"] * 2
    assert images_dataframe(error, names)["source"].tolist() == [r"\udcff.jpg", *names[1:]]
    assert read_parquet(write_parquet(error, tmp_path / "a.parquet", names))[:2] == [TWO, TWO]
    assert "udcff" in write_coco(error, tmp_path / "a.json", names).read_text(encoding="utf-8")
    back = pd.read_csv(write_csv(error, tmp_path / "a.csv", names))
    assert back["source"].tolist() == [r"\udcff.jpg"] * 2 + ["'=1+1.jpg"] * 2
    # Not the text as it was: an error that quotes a name is no obstacle either.
    failed = ItemFailure(0, "decode", DetkitError(names[0]), names[0])
    assert images_dataframe([failed])["error"].tolist() == [r"DetkitError: \udcff.jpg"]


def test_what_cannot_be_written_or_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (write_parquet, write_csv, write_coco):
        with pytest.raises(VideoWriteError, match="file"):
            write([TWO], tmp_path / "file" / "a.parquet")
    with pytest.raises(TypeError, match="JSON"):
        write_parquet([TWO], tmp_path / "a.parquet", settings={"a": object()})
    assert [p.name for p in tmp_path.iterdir()] == ["file"], "nothing half written"
    with pytest.raises(FileNotFoundError):
        read_parquet(tmp_path / "none.parquet")
    to_dataframe([TWO]).to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(ValueError, match="says nothing of detkit"):
        read_parquet_facts(tmp_path / "plain.parquet")
