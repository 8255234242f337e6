"""Counts and confidences in one small table.

Knows the tables of `tables` only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pandas as pd

from detkit.notebook.outcomes import Outcomes, Source, outcome_list, source_list
from detkit.notebook.tables import images_dataframe, to_dataframe


def summarize(
    results: Outcomes,
    sources: Iterable[Source] | None = None,
    *,
    by: Literal["class", "image"] = "class",
) -> pd.DataFrame:
    """Counts and confidences, per class or per image.

    Args:
        results: Results and failures, records of `detect_images`, or a `PartialBatchError`.
        sources: One name per image; see `to_dataframe`.
        by: "class" gives one row per class found, the most frequent first: `class_id`,
            `num_detections`, `num_images`, `confidence_mean`, `confidence_min`, `area_median`.
            "image" gives one row per image: `source`, `status`, `num_detections`,
            `confidence_mean` and one column `count_<class>` for every class found, with missing
            values where the image failed.

    Returns:
        A table whose index is `class_name`, or `image_index`.
    """
    outcomes = outcome_list(results)
    names = source_list(outcomes, sources)
    boxes = to_dataframe(outcomes, names)
    return (
        _by_class(boxes) if by == "class" else _by_image(boxes, images_dataframe(outcomes, names))
    )


def _by_class(boxes: pd.DataFrame) -> pd.DataFrame:
    groups = boxes.groupby(["class_id", "class_name"], observed=True, sort=True)
    table: pd.DataFrame = groups.agg(
        num_detections=("confidence", "size"),
        num_images=("image_index", "nunique"),
        confidence_mean=("confidence", "mean"),
        confidence_min=("confidence", "min"),
        area_median=("area", "median"),
    )
    table = table.reset_index("class_id")
    table = table.sort_values("num_detections", ascending=False, kind="stable")
    return table  # noqa: RET504  the stubs call it Any


def _by_image(boxes: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    images = images.set_index("image_index")
    table: pd.DataFrame = images[["source", "status", "num_detections"]].copy()
    table["confidence_mean"] = boxes.groupby("image_index")["confidence"].mean()
    failed = table["status"] == "failed"
    counts = boxes.groupby(["image_index", "class_name"], observed=True).size()
    for name, column in counts.unstack("class_name").items():
        filled = column.reindex(table.index).fillna(0).astype("Int64")
        table[f"count_{name}"] = filled.mask(failed)
    return table
