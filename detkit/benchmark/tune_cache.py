"""Where tuning results are kept, so that the second session starts with the answer.

One JSON file per machine, model, image shape and goal in the cache folder, written in one step.
Anything that cannot be read counts as not there. Knows reports; decides nothing about them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detkit.benchmark.choices import Goal, Space
from detkit.benchmark.labels import label_of
from detkit.benchmark.machine import Machine
from detkit.benchmark.runs import write_atomically
from detkit.benchmark.tune_report import TuneReport
from detkit.detection.environment import cache_folder
from detkit.images import RGBImage


def cache_file(
    machine: Machine,
    detector: Any,
    images: Sequence[RGBImage],
    goal: Goal,
    space: Space,
    num_callers: int,
) -> Path:
    """Where the answer to exactly this question is kept."""
    names = getattr(detector, "class_names", None)
    question = (
        machine.fingerprint,
        sorted(machine.packages.items()),
        label_of(detector),
        getattr(detector, "model_name", ""),
        sorted(names.items()) if isinstance(names, dict) else str(names),
        sorted({image.shape for image in images}),
        str(goal),
        space,
        num_callers,
    )
    digest = hashlib.sha256(repr(question).encode()).hexdigest()[:20]
    return cache_folder() / "tuning" / f"{digest}.json"


def recall(path: Path) -> TuneReport | None:
    """The report that `remember` kept; None if there is none that can be read."""
    try:
        return TuneReport.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def remember(path: Path, report: TuneReport) -> bool:
    """Keep a report; False where the folder cannot be written, which costs the next one time."""
    try:
        write_atomically(path, json.dumps(report.as_json(), indent=1, default=str) + "\n")
    except OSError:
        return False
    return True
