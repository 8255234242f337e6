"""`ledger_dataframe`: fixed columns and types, one row per frame or per source."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from detkit import AsyncDetector
from detkit.notebook import ledger_dataframe
from detkit.pipeline import detect_video, detect_videos
from detkit.testing import FakeDetector
from detkit.video import FrameLedger, SourceEvent

FRAME_TYPES = {
    "source_id": "string",
    "frame_index": "int64",
    "pts_seconds": "float64",
    "captured_s": "float64",
    "fate": "category",
    "reason": "category",
    "age_s": "float64",
    "latency_s": "float64",
}
SOURCE_TYPES = {
    "source_id": "string",
    "status": "category",
    "expected": "Int64",
    "captured": "int64",
    "detected": "int64",
    "failed": "int64",
    "dropped_stride": "int64",
    "dropped_newer": "int64",
    "dropped_age": "int64",
    "dropped_left": "int64",
    "damaged": "int64",
    "reconnects": "int64",
    "gap_s": "float64",
    "age_median_s": "float64",
    "age_p95_s": "float64",
    "latency_median_s": "float64",
    "latency_p95_s": "float64",
}


def camera() -> FrameLedger:
    """A source of which every kind of thing is known."""
    ledger = FrameLedger("door")
    clock = itertools.count(10.0, 0.5)
    tickets = [ledger.capture(index, index / 10, next(clock)) for index in range(5)]
    ledger.drop(tickets[0], "newer")
    for ticket in tickets[1:4]:
        ledger.take(ticket, 13.0)
    ledger.drop(tickets[3], "age")
    ledger.settle(tickets[2], 13.5, failed=True)
    ledger.settle(tickets[1], 14.0)
    ledger.note(SourceEvent("lost", 5))
    ledger.note(SourceEvent("reconnected", 5, gap_s=2.5))
    return ledger


def types(table: pd.DataFrame) -> dict[str, str]:
    return {name: str(kind) for name, kind in table.dtypes.items()}


def test_a_row_per_frame_in_order() -> None:
    table = ledger_dataframe(camera())
    assert types(table) == FRAME_TYPES
    assert table["frame_index"].tolist() == [0, 1, 2, 3, 4]
    assert table["fate"].tolist() == ["dropped", "detected", "failed", "dropped", "waiting"]
    assert table["reason"].dropna().to_dict() == {0: "newer", 3: "age"}
    assert table["captured_s"].tolist() == [10.0, 10.5, 11.0, 11.5, 12.0]
    assert table["age_s"].dropna().to_dict() == {1: 2.5, 2: 2.0, 3: 1.5}
    assert table["latency_s"].dropna().to_dict() == {1: 3.5, 2: 2.5}
    assert table["source_id"].unique().tolist() == ["door"]


def test_a_row_per_source() -> None:
    done = camera()
    done.finish("truncated")
    table = ledger_dataframe({"door": done, "clip": FrameLedger("clip", 25)}, by="source")
    assert types(table) == SOURCE_TYPES
    door, clip = table.to_dict("records")
    assert (door["captured"], door["detected"], door["failed"]) == (5, 1, 1)
    assert (door["dropped_newer"], door["dropped_age"], door["dropped_left"]) == (1, 1, 1)
    assert (door["reconnects"], door["gap_s"], door["status"]) == (1, 2.5, "truncated")
    assert table["expected"].isna().tolist() == [True, False]
    assert (clip["expected"], clip["captured"], clip["status"]) == (25, 0, "interrupted")
    assert np.isnan(clip["age_median_s"])


@pytest.mark.parametrize(("by", "kinds"), [("frame", FRAME_TYPES), ("source", SOURCE_TYPES)])
def test_types_do_not_depend_on_what_is_in_it(by: str, kinds: dict[str, str]) -> None:
    assert types(ledger_dataframe([], by=by)) == kinds  # type: ignore[arg-type]
    assert types(ledger_dataframe(FrameLedger("a"), by=by)) == kinds  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="by must be"):
        ledger_dataframe([], by="second")  # type: ignore[arg-type]


def test_of_real_runs() -> None:
    pictures = np.zeros((6, 48, 64, 3), np.uint8)
    with AsyncDetector(FakeDetector()) as detector:
        one = detect_video(detector, pictures, stride=2)
        assert len(list(one)) == 3
        table = ledger_dataframe(one.ledger)
        assert table["fate"].tolist() == ["detected", "dropped"] * 3
        assert (table["latency_s"].dropna() >= table["age_s"].dropna()).all()
        assert table["pts_seconds"].isna().all()
        two = detect_videos(detector, {"left": pictures, "right": pictures[:2]})
        assert len(list(two)) == 8
    table = ledger_dataframe(two.ledgers, by="source")
    assert table["captured"].tolist() == table["detected"].tolist() == [6, 2]
    assert table["status"].tolist() == ["complete", "complete"]
