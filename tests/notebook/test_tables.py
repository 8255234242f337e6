"""Tables hold every box and every image once, with fixed types, and give the results back."""

from __future__ import annotations

import asyncio
import io
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.errors import ImageDecodeError, ItemFailure, PartialBatchError
from detkit.notebook.summaries import summarize
from detkit.notebook.tables import from_dataframe, images_dataframe, to_dataframe
from detkit.pipeline import ImageRecord
from detkit.results import DetectionResult

NAMES = {0: "bolt", 1: "nut", 2: "gear"}
FACTS = {"class_names": NAMES, "image_hw": (100, 200), "inference_ms": 12.5, "model": "m"}
FACTS |= {"queue_ms": 0.5, "worker": 1, "batch_size": 4}
TWO = DetectionResult([[0, 0, 20, 50], [100, 50, 200, 100]], [0.9, 0.4], [0, 2], FACTS)
NONE = DetectionResult.empty(FACTS)
FAILED = ItemFailure(2, "decode", ImageDecodeError("'bad.jpg': the file is empty"), "bad.jpg")
MIXED: list[DetectionResult | ItemFailure] = [TWO, NONE, FAILED, TWO]


def test_one_row_per_box_with_fixed_types() -> None:
    table = to_dataframe([TWO, NONE, TWO], ["a.jpg", Path("b.jpg"), None])
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        "image_index": "int64",
        "source": "category",
        **dict.fromkeys(["x_min", "y_min", "x_max", "y_max"], "float32"),
        "class_id": "int64",
        "class_name": "category",
        "confidence": "float32",
        "area": "float32",
        **dict.fromkeys(["x_min_norm", "y_min_norm", "x_max_norm", "y_max_norm"], "float32"),
    }
    assert table["image_index"].tolist() == [0, 0, 2, 2]
    assert table["source"].astype(object).where(table["source"].notna(), None).tolist() == [
        "a.jpg",
        "a.jpg",
        None,
        None,
    ]
    assert table["class_name"].tolist() == ["bolt", "gear", "bolt", "gear"]
    assert table["area"].tolist() == [1000, 5000, 1000, 5000]
    assert table.loc[1, "x_min_norm":"y_max_norm"].tolist() == [0.5, 0.5, 1, 1]


def test_the_types_do_not_depend_on_the_rows() -> None:
    empty, full = to_dataframe([NONE]), to_dataframe([TWO])
    assert len(empty) == 0
    assert empty.dtypes.astype(str).to_dict() == full.dtypes.astype(str).to_dict()
    assert to_dataframe([]).columns.tolist() == full.columns.tolist()
    some, none = images_dataframe(MIXED), images_dataframe([])
    assert some.dtypes.astype(str).to_dict() == none.dtypes.astype(str).to_dict()


def test_tracks_and_times_appear_where_they_are_known() -> None:
    tracked = TWO.with_metadata(tracker_ids=np.array([7, 8]), frame_index=3, pts_seconds=0.12)
    table = to_dataframe([tracked, TWO])
    assert table["tracker_id"].astype(object).where(table["tracker_id"].notna(), -1).tolist() == [
        7,
        8,
        -1,
        -1,
    ]
    assert table["frame_index"].tolist()[:2] == [3, 3]
    assert table["frame_index"].isna().tolist() == [False, False, True, True]
    assert table["pts_seconds"].tolist()[:2] == [0.12, 0.12]
    assert str(table["tracker_id"].dtype) == str(table["frame_index"].dtype) == "Int64"


def test_every_image_has_a_row_and_a_failure_is_no_zero() -> None:
    table = images_dataframe(MIXED, ["a", "b", "c", "d"])
    assert table["status"].tolist() == ["ok", "ok", "failed", "ok"]
    assert table["num_detections"].isna().tolist() == [False, False, True, False]
    assert table["num_detections"].dropna().tolist() == [2, 0, 2]
    assert table["stage"][2] == "decode"
    assert table["error"][2] == "ImageDecodeError: 'bad.jpg': the file is empty"
    assert table.loc[0, ["image_height", "image_width"]].tolist() == [100, 200]
    assert table.loc[0, ["inference_ms", "queue_ms"]].tolist() == [12.5, 0.5]
    assert table.loc[0, ["worker", "batch_size", "model"]].tolist() == [1, 4, "m"]


def test_a_partial_batch_error_is_accepted_as_it_is() -> None:
    error = PartialBatchError("", 3, 4, [TWO, NONE, TWO], [FAILED], outcomes=MIXED)
    pd.testing.assert_frame_equal(to_dataframe(error), to_dataframe(MIXED))
    pd.testing.assert_frame_equal(images_dataframe(error), images_dataframe(MIXED))
    assert images_dataframe(error)["source"][2] == "bad.jpg"


def test_a_single_result_and_a_generator_are_accepted() -> None:
    assert len(to_dataframe(TWO)) == 2
    assert len(to_dataframe(result for result in [TWO, TWO])) == 4


def test_records_of_detect_images_are_accepted() -> None:
    records = [ImageRecord(0, "a.jpg", TWO, None), ImageRecord(2, "bad.jpg", None, FAILED)]
    assert images_dataframe(records)["status"].tolist() == ["ok", "failed"]
    assert len(to_dataframe(records)) == 2


def test_what_is_no_result_is_named() -> None:
    with pytest.raises(TypeError, match="got a ValueError"):
        to_dataframe([TWO, ValueError()])  # type: ignore[list-item]
    future: asyncio.Future[None] = asyncio.Future(loop=asyncio.new_event_loop())
    with pytest.raises(TypeError, match="got a Future: await it first"):
        to_dataframe([future])  # type: ignore[list-item]
    future.get_loop().close()
    with pytest.raises(ValueError, match="2 sources were given for 1 images"):
        to_dataframe([TWO], ["a", "b"])


def test_names_are_asked_of_each_results_own_detector() -> None:
    other = DetectionResult([[0, 0, 1, 1]] * 2, [0.5, 0.5], [0, 9], {"class_names": ["cat"]})
    unnamed = DetectionResult([[0, 0, 1, 1]], [0.5], [0])
    same = pickle.loads(pickle.dumps(TWO))
    names = to_dataframe([TWO, other, unnamed, same])["class_name"].tolist()
    assert names == ["bolt", "gear", "cat", "class 9", "class 0", "bolt", "gear"]


def test_two_ids_may_share_a_name() -> None:
    shared = DetectionResult(
        [[0, 0, 1, 1]] * 2, [0.5, 0.5], [0, 1], {"class_names": {0: "nut", 1: "nut"}}
    )
    table = to_dataframe([shared])
    assert table["class_name"].cat.categories.tolist() == ["nut"]
    assert summarize([shared])["num_detections"].tolist() == [1, 1]


def test_no_password_and_no_raw_html_reaches_the_table() -> None:
    evil = DetectionResult([[0, 0, 1, 1]], [0.5], [0], {"class_names": {0: "<script>alert(1)"}})
    table = to_dataframe([evil], ["rtsp://user:hunter2@cam/1?token=hunter2"])
    assert "hunter2" not in table.to_csv()
    assert "<script>" not in table._repr_html_()


BIT = st.floats(0, 1, width=32)
EDGE = st.floats(-(2.0**20), 2.0**20, width=32)


@st.composite
def results(draw: st.DrawFn) -> DetectionResult:
    num = draw(st.integers(0, 5))
    corners = np.array(
        draw(st.lists(st.tuples(EDGE, EDGE, EDGE, EDGE), min_size=num, max_size=num)), np.float32
    ).reshape(-1, 4)
    low, high = (
        np.minimum(corners[:, :2], corners[:, 2:]),
        np.maximum(corners[:, :2], corners[:, 2:]),
    )
    scores = draw(st.lists(BIT, min_size=num, max_size=num))
    classes = draw(st.lists(st.integers(0, 2**63 - 1), min_size=num, max_size=num))
    metadata: dict[str, Any] = draw(st.sampled_from([{}, {"class_names": NAMES}, FACTS]))
    if draw(st.booleans()):
        metadata = {**metadata, "tracker_ids": np.arange(num)}
    return DetectionResult(np.hstack([low, high]), scores, classes, metadata)


failures = st.builds(
    ItemFailure,
    st.just(0),
    st.sampled_from(["validate", "decode", "queue", "detect"]),
    st.builds(ValueError, st.text(max_size=5)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(results(), max_size=6))
def test_results_come_back_to_the_bit(originals: list[DetectionResult]) -> None:
    restored = from_dataframe(to_dataframe(originals))
    assert restored == originals
    for before, after in zip(originals, restored, strict=True):
        assert isinstance(after, DetectionResult)
        assert before.boxes.tobytes() == after.boxes.tobytes()
        if len(before) and "tracker_ids" in before.metadata:
            assert after.metadata["tracker_ids"].tolist() == list(range(len(before)))


@settings(max_examples=60, deadline=None)
@given(st.lists(results() | failures, max_size=6))
def test_failures_come_back_as_failures(originals: list[DetectionResult | ItemFailure]) -> None:
    restored = from_dataframe(to_dataframe(originals), images_dataframe(originals))
    assert len(restored) == len(originals)
    for before, after in zip(originals, restored, strict=True):
        if isinstance(before, ItemFailure):
            assert isinstance(after, ItemFailure)
            assert after.stage == before.stage
        else:
            assert after == before


OPTIONAL = {"tracker_id": "Int64", "frame_index": "Int64", "pts_seconds": "float64"}


@settings(max_examples=60, deadline=None)
@given(st.lists(results() | failures, max_size=6))
def test_types_and_counts_hold_whatever_is_in_it(
    outcomes: list[DetectionResult | ItemFailure],
) -> None:
    boxes, images = to_dataframe(outcomes), images_dataframe(outcomes)
    expected = to_dataframe([]).dtypes.astype(str).to_dict() | OPTIONAL
    assert boxes.dtypes.astype(str).to_dict().items() <= expected.items()
    assert images.dtypes.astype(str).to_dict() == images_dataframe([]).dtypes.astype(str).to_dict()
    found = [len(o) if isinstance(o, DetectionResult) else None for o in outcomes]
    assert (
        images["num_detections"]
        .astype(object)
        .where(images["num_detections"].notna(), None)
        .tolist()
        == found
    )
    counts = boxes.groupby("image_index").size().reindex(images["image_index"], fill_value=0)
    assert counts.tolist() == [number or 0 for number in found]


def test_facts_come_back_with_the_images_table() -> None:
    boxes, images = to_dataframe(MIXED), images_dataframe(MIXED)
    restored = from_dataframe(
        boxes.sample(frac=1, random_state=0).sort_values("confidence"), images
    )
    assert isinstance(restored[3], DetectionResult)
    assert restored[3].names == ["gear", "bolt"]
    for name in ("image_hw", "inference_ms", "queue_ms", "worker", "batch_size", "model"):
        assert restored[3].metadata[name] == FACTS[name]
    assert restored[1] == NONE
    assert isinstance(restored[2], ItemFailure)
    assert restored[2].index == 2
    assert restored[2].source == "bad.jpg"


def test_an_image_without_rows_is_never_guessed_to_be_empty() -> None:
    with pytest.raises(ValueError, match="pass images="):
        from_dataframe(to_dataframe(MIXED))
    stripped = pd.read_csv(io.StringIO(to_dataframe([TWO, NONE, TWO]).to_csv(index=False)))
    with pytest.raises(ValueError, match="1 of 3 images have no row"):
        from_dataframe(stripped)


def test_parquet_keeps_what_is_needed(tmp_path: Path) -> None:
    to_dataframe([TWO, NONE, TWO]).to_parquet(tmp_path / "boxes.parquet")
    assert from_dataframe(pd.read_parquet(tmp_path / "boxes.parquet")) == [TWO, NONE, TWO]


def test_summary_by_class_counts_boxes_and_images() -> None:
    extra = DetectionResult([[0, 0, 2, 2]] * 2, [0.5, 0.7], [0, 0], FACTS)
    table = summarize([TWO, NONE, FAILED, extra])
    assert table.index.tolist() == ["bolt", "gear"]
    assert table["num_detections"].tolist() == [3, 1]
    assert table["num_images"].tolist() == [2, 1]
    assert table["confidence_mean"].tolist() == pytest.approx([0.7, 0.4])
    assert table["confidence_min"].tolist() == pytest.approx([0.5, 0.4])


def test_summary_by_image_has_a_count_for_every_class() -> None:
    table = summarize(MIXED, by="image")
    assert table.index.tolist() == [0, 1, 2, 3]
    assert table["count_bolt"].astype(object).where(table["count_bolt"].notna(), None).tolist() == [
        1,
        0,
        None,
        1,
    ]
    assert table["num_detections"].sum() == table[["count_bolt", "count_gear"]].sum().sum() == 4


def test_nothing_at_all_gives_empty_tables() -> None:
    assert len(summarize([])) == len(summarize([], by="image")) == 0
    assert from_dataframe(to_dataframe([])) == []
    assert summarize([NONE], by="image")["num_detections"].tolist() == [0]


def test_a_million_boxes_take_seconds_not_minutes() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 100, (10, 4)).astype(np.float32)
    boxes = np.hstack([corners[:, :2], corners[:, :2] + corners[:, 2:]])
    one = DetectionResult(boxes, random.uniform(0, 1, 10), random.integers(0, 3, 10), FACTS)
    many = [one] * 100_000
    start = time.process_time()
    table = to_dataframe(many, [f"image_{i}.jpg" for i in range(len(many))])
    seconds = time.process_time() - start
    assert len(table) == 1_000_000
    # 0.5 s on the machine it was written on; a loop over boxes would take far beyond this.
    assert seconds < 8
    assert table.memory_usage(deep=True).sum() < 400e6
