"""`FolderReport`: what became of every input of `detect_to_folder`, and the files that say so.

Owns `images.csv` and `summary.json`. Knows no detector and no picture.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from detkit.stored_text import cell, storable
from detkit.video.writing import replacing


@dataclass(frozen=True, slots=True)
class InputOutcome:
    """What became of one input: a row of `images.csv`.

    Attributes:
        source: The file as named or found; an address without what is secret in it.
        kind: "image" or "video".
        status: "ok", "failed", or for a damaged video "truncated" or "corrupt"; a video of which
            only a part was asked for is "ok".
        num_detections: Boxes found, over all frames of a video.
        num_frames: 1 for an image, frames read for a video.
        output: The annotated file relative to the folder, or "".
        error: Why it failed, or "".
    """

    source: str
    kind: Literal["image", "video"]
    status: str
    num_detections: int
    num_frames: int
    output: str = ""
    error: str = ""


@dataclass(slots=True)
class FolderReport:
    """What `detect_to_folder` did so far.

    Attributes:
        folder: Where everything lies.
        outcomes: One entry per input that is done, in order.
        detections_by_class: Number of boxes by class name.
        num_pictures: Images and frames that went through the detector, now or before.
        num_before: Those of them that an earlier run has done.
        elapsed_s: Wall time in seconds.
        is_complete: False when it was interrupted.
    """

    folder: Path
    outcomes: list[InputOutcome] = field(default_factory=list)
    detections_by_class: Counter[str] = field(default_factory=Counter)
    num_pictures: int = 0
    num_before: int = 0
    elapsed_s: float = 0.0
    is_complete: bool = False

    @property
    def per_second(self) -> float:
        """Images and frames of this run per second of wall time."""
        return (self.num_pictures - self.num_before) / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def failed(self) -> list[InputOutcome]:
        """The inputs that failed or were damaged."""
        return [outcome for outcome in self.outcomes if outcome.status != "ok"]


def write_outcomes(report: FolderReport) -> None:
    """Write `images.csv`, a row for each input.

    Raises:
        VideoWriteError: If it cannot be written.
    """
    columns = [column.name for column in fields(InputOutcome)]
    with (
        replacing(report.folder / "images.csv") as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        for outcome in report.outcomes:
            values = [getattr(outcome, name) for name in columns]
            writer.writerow([cell(v) if isinstance(v, str) else v for v in values])


def write_summary(report: FolderReport, facts: Mapping[str, Any]) -> None:
    """Write `summary.json`.

    Raises:
        VideoWriteError: If it cannot be written.
    """
    summary = {
        **facts,
        "status": "complete" if report.is_complete else "interrupted",
        "inputs": len(report.outcomes),
        "failed": len(report.failed),
        "images_and_frames": report.num_pictures,
        "done_before": report.num_before,
        "detections": report.detections_by_class.total(),
        "detections_by_class": dict(report.detections_by_class.most_common()),
        "elapsed_s": round(report.elapsed_s, 3),
        "per_second": round(report.per_second, 2),
        "failures": [{"source": o.source, "error": o.error or o.status} for o in report.failed],
    }
    text = storable(json.dumps(summary, indent=2, ensure_ascii=False))
    with replacing(report.folder / "summary.json") as partial:
        partial.write_text(text + "\n", "utf-8")
