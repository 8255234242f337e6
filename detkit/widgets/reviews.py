"""What a person has said of results, as a table and as a COCO dataset.

Pure: marks in, values out. Knows results and pandas; never a widget or a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from detkit.results import DetectionResult
from detkit.stored_text import cell
from detkit.widgets.cards import Mark


@dataclass(frozen=True, slots=True, eq=False)
class Reviewed:
    """One image that was marked.

    Attributes:
        index: Position in the run.
        name: What the image is called.
        mark: "accept" or "reject".
        result: The boxes that were shown; `None` if the image failed.
    """

    index: int
    name: str
    mark: Mark
    result: DetectionResult | None


def marks_dataframe(reviewed: Sequence[Reviewed]) -> pd.DataFrame:
    """Columns `image_index`, `source`, `mark`, one row per marked image, for a CSV file."""
    rows = [(r.index, cell(r.name), r.mark) for r in reviewed]
    table: pd.DataFrame = pd.DataFrame(rows, columns=["image_index", "source", "mark"])
    return table


def coco_dataset(
    reviewed: Sequence[Reviewed], size_hw: Callable[[int], tuple[int, int]]
) -> dict[str, Any]:
    """The accepted images as a COCO object detection dataset.

    Rejected images are not in it: without boxes they would count as background, with them as
    truth. Their names stand in `info["rejected"]`.

    Args:
        reviewed: Marked images.
        size_hw: Height and width of an image whose result does not tell.

    Returns:
        `info`, `images`, `annotations` (`bbox` as x, y, width, height in pixels, with `score`) and
        `categories` (ids are class ids), ready for `json.dumps`.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    names: dict[int, str] = {}
    for entry in reviewed:
        if entry.mark != "accept" or entry.result is None:
            continue
        result = entry.result
        height, width = result.metadata.get("image_hw") or size_hw(entry.index)
        facts = {"id": entry.index, "file_name": entry.name, "width": width, "height": height}
        images.append(facts)
        for box, score, class_id, name in zip(
            result.boxes.tolist(), result.scores, result.classes.tolist(), result.names, strict=True
        ):
            names[class_id] = name
            x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": entry.index,
                    "category_id": class_id,
                    "bbox": [round(v, 2) for v in (x, y, w, h)],
                    "area": round(w * h, 2),
                    "iscrowd": 0,
                    "score": round(float(score), 4),
                }
            )
    rejected = [entry.name for entry in reviewed if entry.mark == "reject"]
    return {
        "info": {"description": "reviewed with detkit", "rejected": rejected},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": key, "name": names[key]} for key in sorted(names)],
    }
