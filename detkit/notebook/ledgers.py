"""The frames of a video run as a table: what became of each, and how long it took.

Knows ledgers and pandas; never a source or a detector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import pandas as pd

from detkit.video.frames import Status
from detkit.video.ledger import DropReason, Fate, FrameLedger

Ledgers: TypeAlias = "FrameLedger | Iterable[FrameLedger] | Mapping[str, FrameLedger]"

_FRAMES = {
    "source_id": "string",
    "frame_index": "int64",
    "pts_seconds": "float64",
    "captured_s": "float64",
    "fate": pd.CategoricalDtype(list(get_args(Fate))),
    "reason": pd.CategoricalDtype(list(get_args(DropReason))),
    "age_s": "float64",
    "latency_s": "float64",
}
_COUNTS = (
    "captured",
    "detected",
    "failed",
    *(f"dropped_{reason}" for reason in get_args(DropReason)),
    "damaged",
    "reconnects",
)
_SOURCES = {
    "source_id": "string",
    "status": pd.CategoricalDtype(list(get_args(Status))),
    "expected": "Int64",
    **dict.fromkeys(_COUNTS, "int64"),
    "gap_s": "float64",
    "age_median_s": "float64",
    "age_p95_s": "float64",
    "latency_median_s": "float64",
    "latency_p95_s": "float64",
}


def ledger_dataframe(ledgers: Ledgers, *, by: Literal["frame", "source"] = "frame") -> pd.DataFrame:
    """What became of every frame of one or several runs.

    Args:
        ledgers: `run.ledger` of `detect_video`, `run.ledgers` of `detect_videos`, or any number
            of ledgers. A run that is still going on may be asked too.
        by: "frame" gives one row per frame, the latest 108,000 of each source, in order of their
            index: `source_id`, `frame_index`, `pts_seconds`, `captured_s` (when it was read, on a
            monotonic clock), `fate` (category: "waiting", "detected", "failed", "dropped"),
            `reason` (category, of what was dropped: "stride", "newer", "age", "left"), `age_s`
            (when the detector took it) and `latency_s` (when its result was there).
            "source" gives one row per ledger, of all its frames: `source_id`, `status` (category:
            "complete", "truncated", "corrupt", "interrupted"), the counts `expected` (missing
            where the source does not say), `captured`, `detected`, `failed`, one `dropped_` for
            every reason, `damaged` and `reconnects`, then `gap_s` (all time without connection)
            and median and 95th percentile of ages and latencies.

    Returns:
        A table with these columns and types, also when it has no rows. Times are float64, in
        seconds.

    Raises:
        ValueError: If `by` is neither.

    Example:
        >>> run = detect_video(detector, "clip.mp4")  # doctest: +SKIP
        >>> results = [result for frame, result in run]  # doctest: +SKIP
        >>> ledger_dataframe(run.ledger)["latency_s"].median()  # doctest: +SKIP
    """
    if by not in ("frame", "source"):
        raise ValueError(f'by must be "frame" or "source", got {by!r}')
    several = _several(ledgers)
    if by == "source":
        return _table((ledger.summary() for ledger in several), _SOURCES)
    # Stable: the ledgers stay in the order given.
    rows = (row for one in several for row in sorted(one.rows(), key=_frame_index))
    return _table(rows, _FRAMES)


def _several(ledgers: Ledgers) -> list[FrameLedger]:
    if isinstance(ledgers, FrameLedger):
        return [ledgers]
    return list(ledgers.values() if isinstance(ledgers, Mapping) else ledgers)


def _frame_index(row: Mapping[str, Any]) -> int:
    return int(row["frame_index"])


def _table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Any]) -> pd.DataFrame:
    table: pd.DataFrame = pd.DataFrame(list(rows), columns=list(columns)).astype(dict(columns))
    return table
