"""Benchmarks and tuning reports as tables, and back; the plots are in `benchmark_plots.py`.

Knows pandas and the values of `detkit.benchmark`; measures nothing.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from detkit.benchmark.rounds import STAGES, Round
from detkit.benchmark.runs import BenchmarkFileError, BenchmarkRun
from detkit.benchmark.tune_report import TuneReport
from detkit.notebook.benchmark_plots import (
    plot_comparison,
    plot_frontier,
    plot_scaling,
    plot_stages,
)

__all__ = [
    "plot_comparison",
    "plot_frontier",
    "plot_scaling",
    "plot_stages",
    "run_from_dataframe",
    "run_to_dataframe",
    "summarize_run",
    "tuning_to_dataframe",
]

# Where a table keeps what is the same in all its rows.
_ATTRIBUTE = "detkit_benchmark"
_COUNTS = ("num_ok", "num_failed", "num_late")


def run_to_dataframe(run: BenchmarkRun) -> pd.DataFrame:
    """One row per contestant and round.

    Returns:
        Columns `contestant`, `round`, `images_per_s`, `elapsed_s`, `cpu_s`, `num_ok`,
        `num_failed`, `num_late`, `peak_bytes` (Int64), one `<stage>_s` for every stage,
        `first_error` and `latencies_s` (a tuple per row). Times in seconds. Rounds in which a
        contestant could not take part are missing. `run_from_dataframe` makes a run of it again.

    Example:
        >>> from detkit.benchmark import benchmark
        >>> from detkit.testing import FakeDetector, numbered_image
        >>> run = benchmark({"fake": FakeDetector()}, [numbered_image(1)], rounds=2)
        >>> run_to_dataframe(run)[["contestant", "round", "num_ok"]].values.tolist()
        [['fake', 0, 1], ['fake', 1, 1]]
    """
    rows = [
        {"contestant": entry.name, "round": number, **_row(played)}
        for entry in run
        for number, played in enumerate(entry.rounds)
        if played is not None
    ]
    columns = ["contestant", "round", *_row(Round(1.0, 1))]
    table: pd.DataFrame = pd.DataFrame(rows, columns=columns)
    table = table.astype({"round": "int64", "peak_bytes": "Int64"})
    frame = run.as_json()
    for entry in frame["entries"]:
        entry["num_rounds"] = len(entry.pop("rounds"))
    table.attrs[_ATTRIBUTE] = json.dumps(frame)
    return table


def run_from_dataframe(table: pd.DataFrame) -> BenchmarkRun:
    """The run that `run_to_dataframe` made a table of.

    Raises:
        BenchmarkFileError: If the table lost its attributes on the way: many operations of
            pandas drop them. Keep the JSON file where a run is to be kept.
    """
    if _ATTRIBUTE not in table.attrs:
        raise BenchmarkFileError(
            "this table does not say which machine and scenario it is of: it was not made by "
            "run_to_dataframe, or lost its attributes"
        )
    frame = json.loads(table.attrs[_ATTRIBUTE])
    for entry in frame["entries"]:
        entry["rounds"] = [None] * entry.pop("num_rounds")
        mine = table[table["contestant"] == entry["name"]]
        for row in mine.to_dict("records"):
            entry["rounds"][row["round"]] = _round(row).as_json()
    return BenchmarkRun.from_json(frame)


def summarize_run(run: BenchmarkRun) -> pd.DataFrame:
    """One row per contestant, the fastest first.

    Returns:
        Index `contestant`; columns `images_per_s` with `images_per_s_low` and `_high` (95 %
        interval), `latency_p50_ms`, `_p95_ms`, `_p99_ms`, `core_seconds_per_image`, `peak_mib`,
        `late_share`, `num_failed`, one `<stage>_ms` per stage that was told, and `error`.
    """
    rows = []
    for entry in run:
        rate, peak = entry.images_per_s(), entry.peak_bytes
        row: dict[str, Any] = {
            "contestant": entry.name,
            "images_per_s": rate.value,
            "images_per_s_low": rate.low,
            "images_per_s_high": rate.high,
            **{f"latency_p{p}_ms": 1000 * entry.latency_s(p / 100) for p in (50, 95, 99)},
            "core_seconds_per_image": entry.core_seconds_per_image().value,
            "peak_mib": math.nan if peak is None else peak / 2**20,
            "late_share": entry.late_share,
            "num_failed": entry.num_failed,
            **{f"{stage}_ms": ms for stage, ms in entry.stages_ms().items()},
            "error": entry.error,
        }
        rows.append(row)
    table: pd.DataFrame = pd.DataFrame(rows).set_index("contestant")
    table = table.sort_values("images_per_s", ascending=False, kind="stable", na_position="last")
    return table  # noqa: RET504  the stubs call it Any


def tuning_to_dataframe(report: TuneReport) -> pd.DataFrame:
    """One row per setting that was tried, the best first.

    Returns:
        Columns `max_workers`, `batch_size`, one per option of the factory, `images_per_s` with
        `images_per_s_low` and `_high`, `latency_ms`, `num_tries`, `num_failed`, `fate`.
    """
    rows = [
        {
            "max_workers": point.choice.max_workers,
            "batch_size": point.choice.batch_size,
            **dict(point.choice.variant),
            "images_per_s": point.images_per_s.value,
            "images_per_s_low": point.images_per_s.low,
            "images_per_s_high": point.images_per_s.high,
            "latency_ms": 1000 * point.latency_s,
            "num_tries": point.num_tries,
            "num_failed": point.num_failed,
            "fate": point.fate,
        }
        for point in report.points
    ]
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def _row(played: Round) -> dict[str, Any]:
    return {
        "images_per_s": played.images_per_s,
        "elapsed_s": played.elapsed_s,
        "cpu_s": played.cpu_s,
        **{name: getattr(played, name) for name in _COUNTS},
        "peak_bytes": played.peak_bytes,
        **{f"{stage}_s": played.stages_s.get(stage, math.nan) for stage in STAGES},
        "first_error": played.first_error,
        "latencies_s": played.latencies_s,
    }


def _round(row: dict[Any, Any]) -> Round:
    peak = row["peak_bytes"]
    return Round(
        elapsed_s=float(row["elapsed_s"]),
        cpu_s=float(row["cpu_s"]),
        peak_bytes=None if pd.isna(peak) else int(peak),
        stages_s={s: float(row[f"{s}_s"]) for s in STAGES if not pd.isna(row[f"{s}_s"])},
        first_error=str(row["first_error"]),
        latencies_s=tuple(row["latencies_s"]),
        **{name: int(row[name]) for name in _COUNTS},
    )
