"""Results as files that other programs read: Parquet, CSV and COCO JSON; and Parquet back.

Owns what stands in each file beside the tables of `tables`. A file appears under its name when it
is whole. Knows pyarrow and json; never a picture or a detector.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from detkit.detection.abstract import DetectionSettings
from detkit.errors import ItemFailure, VideoWriteError, describe
from detkit.notebook.outcomes import Outcome, Outcomes, Source, outcome_list, source_list
from detkit.notebook.tables import from_dataframe, images_dataframe, to_dataframe
from detkit.results import DetectionResult
from detkit.stored_text import cell
from detkit.video.writing import replacing

_KEY = b"detkit"
_IMAGES_SUFFIX = ".images.parquet"
_COMPRESSIONS: dict[str, Any] = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}

Settings: TypeAlias = "DetectionSettings | Mapping[str, Any] | None"


def write_parquet(
    results: Outcomes,
    path: str | os.PathLike[str],
    sources: Iterable[Source] | None = None,
    *,
    settings: Settings = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write one row per box to `path`, and one per image to `<name>.images.parquet` beside it.

    The second file is what tells empty images from failed ones; `read_parquet` takes both. The
    metadata of each holds JSON under the key "detkit": the version, the models, the settings.

    Args:
        results: Results and failures, records of `detect_images`, or a `PartialBatchError`.
        path: The file of boxes; it is replaced if it is there.
        sources: One name per image; see `to_dataframe`.
        settings: What the detector was asked with, such as `{"confidence_threshold": 0.4}`.
        facts: What else the file shall say of itself; anything JSON can hold.

    Returns:
        `path`.

    Raises:
        VideoWriteError: An `OSError`; if a file cannot be written.
        TypeError: If `settings` or `facts` hold what JSON cannot.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    outcomes = outcome_list(results)
    names = source_list(outcomes, sources)
    target = _parent_made(path)
    said = json.dumps(_about(outcomes, settings, facts))
    tables = (to_dataframe(outcomes, names), images_dataframe(outcomes, names))
    for file, frame in zip((target, images_path(target)), tables, strict=True):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: said})
        with replacing(file) as partial:
            pq.write_table(table, partial)
    return target


def read_parquet(path: str | os.PathLike[str]) -> list[Outcome]:
    """The results and failures that `write_parquet` was given; see `from_dataframe`.

    Raises:
        FileNotFoundError: If either of the two files is missing.
    """
    return from_dataframe(pd.read_parquet(path), pd.read_parquet(images_path(Path(path))))


def read_parquet_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file of `write_parquet` says of itself: "detkit", "models", "settings" and so on.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `write_parquet` did not write it.
    """
    import pyarrow.parquet as pq

    metadata = pq.read_schema(path).metadata or {}
    if _KEY not in metadata:
        raise ValueError(f"{os.fspath(path)} says nothing of detkit: write it with write_parquet")
    facts: dict[str, Any] = json.loads(metadata[_KEY])
    return facts


def images_path(path: Path) -> Path:
    """The file of images beside a file of boxes.

    Example:
        >>> images_path(Path("out/boxes.parquet")).name
        'boxes.images.parquet'
    """
    return path.with_name(path.stem + _IMAGES_SUFFIX)


def write_csv(
    results: Outcomes, path: str | os.PathLike[str], sources: Iterable[Source] | None = None
) -> Path:
    """Write the table of `to_dataframe` as CSV, in UTF-8; numbers read back equal to the bit.

    A name that a spreadsheet would run as a formula has an apostrophe in front.

    Args:
        results: Results and failures, records of `detect_images`, or a `PartialBatchError`.
        path: The file; it is replaced if it is there.
        sources: One name per image; see `to_dataframe`.

    Returns:
        `path`.

    Raises:
        VideoWriteError: An `OSError`; if the file cannot be written.
    """
    table = to_dataframe(results, sources)
    for name in ("source", "class_name"):
        table[name] = table[name].map(cell, na_action="ignore")
    target = _parent_made(path)
    with replacing(target) as partial:
        # By its ending, as pandas does where the name is the file's own.
        table.to_csv(partial, index=False, compression=_COMPRESSIONS.get(target.suffix.lower()))
    return target


def to_coco(results: Outcomes, sources: Iterable[Source] | None = None) -> dict[str, Any]:
    """Results as a COCO dictionary: `images`, `categories`, `annotations` with `score`.

    Image ids count from 1; category ids are class ids. Failed images are not among `images`,
    where they would count as empty: `info["failed"]` lists them.

    Args:
        results: Results and failures, records of `detect_images`, or a `PartialBatchError`.
        sources: One name per image; see `to_dataframe`.

    Raises:
        ValueError: If a result does not know the size of its image, as those of the engine do.
    """
    outcomes = outcome_list(results)
    names = source_list(outcomes, sources)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    categories: dict[int, str] = {}
    for index, (outcome, name) in enumerate(zip(outcomes, names, strict=True)):
        file_name = name or f"image {index}"
        if isinstance(outcome, ItemFailure):
            error = describe(outcome.exception)
            failed.append({"file_name": file_name, "stage": outcome.stage, "error": error})
            continue
        height, width = _size_hw(outcome, file_name)
        image = {"id": index + 1, "file_name": file_name, "width": width, "height": height}
        images.append(image)
        annotations += _annotations(outcome, index + 1, len(annotations) + 1)
        categories.update(zip(outcome.classes.tolist(), outcome.names, strict=True))
    return {
        "info": {"description": f"detkit {version('detkit')}", "failed": failed},
        "images": images,
        "categories": [{"id": i, "name": name} for i, name in sorted(categories.items())],
        "annotations": annotations,
    }


def write_coco(
    results: Outcomes, path: str | os.PathLike[str], sources: Iterable[Source] | None = None
) -> Path:
    """Write `to_coco` as JSON.

    Returns:
        `path`.

    Raises:
        VideoWriteError: An `OSError`; if the file cannot be written.
        ValueError: As `to_coco`.
    """
    text = json.dumps(to_coco(results, sources), ensure_ascii=False)
    target = _parent_made(path)
    with replacing(target) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    return target


def _annotations(result: DetectionResult, image_id: int, first_id: int) -> list[dict[str, Any]]:
    boxes, scores = result.boxes.tolist(), result.scores.tolist()
    rows = zip(boxes, scores, result.classes.tolist(), strict=True)
    return [
        {
            "id": first_id + i,
            "image_id": image_id,
            "category_id": class_id,
            "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
            "area": (x_max - x_min) * (y_max - y_min),
            "iscrowd": 0,
            "score": score,
        }
        for i, ((x_min, y_min, x_max, y_max), score, class_id) in enumerate(rows)
    ]


def _size_hw(result: DetectionResult, name: str) -> tuple[int, int]:
    size_hw = result.metadata.get("image_hw")
    if size_hw is None:
        raise ValueError(
            f"COCO needs the size of every image, and the result of {name!r} does not know it: "
            "add it with result.with_metadata(image_hw=image.shape[:2])"
        )
    return int(size_hw[0]), int(size_hw[1])


def _about(
    outcomes: list[Outcome], settings: Settings, facts: Mapping[str, Any] | None
) -> dict[str, Any]:
    results = [o for o in outcomes if isinstance(o, DetectionResult)]
    models = [str(r.metadata["model"]) for r in results if r.metadata.get("model") is not None]
    if isinstance(settings, DetectionSettings):
        settings = asdict(settings)
    return {
        "detkit": version("detkit"),
        "models": list(dict.fromkeys(models)),
        "settings": dict(settings or {}),
        **(facts or {}),
    }


def _parent_made(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VideoWriteError(f"{target.parent}: cannot be made ({error.strerror})") from error
    return target
