"""Results as tidy tables, and back.

Owns the columns and their types. Knows pandas, results and errors; never pixels, a detector or a
display. `outcomes` says what may be passed as `results`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from detkit.boxes import area
from detkit.errors import DetkitError, ItemFailure, describe
from detkit.notebook.outcomes import Outcome, Outcomes, Source, outcome_list, source_list
from detkit.results import DetectionResult
from detkit.stored_text import storable

_CORNERS = ["x_min", "y_min", "x_max", "y_max"]
_NORMALIZED = [f"{name}_norm" for name in _CORNERS]

# Columns of `images_dataframe` that are metadata of a result under the same name.
_NUMBER_FACTS = {"inference_ms": "float64", "queue_ms": "float64", "worker": "Int64"}
_NUMBER_FACTS |= {"batch_size": "Int64", "frame_index": "Int64", "pts_seconds": "float64"}
_OPTIONAL_FACTS = ("frame_index", "pts_seconds")


def to_dataframe(results: Outcomes, sources: Iterable[Source] | None = None) -> pd.DataFrame:
    """One row per box, in input order and within an image in the detector's order.

    Images without a box have no row here, nor have failed ones: count images with
    `images_dataframe`.

    Args:
        results: Results and failures, records of `detect_images`, or a `PartialBatchError`.
        sources: One name per image, for instance its path; by default what each result's
            metadata calls "source".

    Returns:
        Columns `image_index` (int64, position in the input), `source` (category), `x_min`,
        `y_min`, `x_max`, `y_max` (float32, pixels), `class_id` (int64), `class_name` (category),
        `confidence` (float32), `area` (float32, square pixels), the corners again as `x_min_norm`
        and so on (float32, in [0, 1]; NaN where the size of the image is unknown), and where any
        result knows them `tracker_id` (Int64), `frame_index` (Int64), `pts_seconds` (float64).

    Raises:
        TypeError: If an entry is neither a result nor a failure.
        ValueError: If `sources` has not one entry per image.

    Example:
        >>> table = to_dataframe([DetectionResult([[0, 0, 4, 2]], [0.5], [1])], ["a.jpg"])
        >>> table[["source", "class_name", "area"]].values.tolist()
        [['a.jpg', 'class 1', 8.0]]
    """
    outcomes = outcome_list(results)
    names = source_list(outcomes, sources)
    found = [(i, o) for i, o in enumerate(outcomes) if isinstance(o, DetectionResult)]
    indices = np.array([i for i, _ in found], dtype=np.int64)
    values = [result for _, result in found]
    counts = np.array([len(result) for result in values], dtype=np.int64)

    boxes = _joined([r.boxes for r in values], np.empty((0, 4), np.float32))
    class_ids = _joined([r.classes for r in values], np.empty(0, np.int64))
    image_index = np.repeat(indices, counts)
    source_codes, source_names = pd.factorize(np.array(names, dtype=object))
    columns: dict[str, Any] = {
        "image_index": image_index,
        "source": _categories(source_codes[image_index], list(source_names)),
        **dict(zip(_CORNERS, boxes.T, strict=True)),
        "class_id": class_ids,
        "class_name": _class_names(values, counts, class_ids),
        "confidence": _joined([r.scores for r in values], np.empty(0, np.float32)),
        "area": area(boxes),
        **dict(zip(_NORMALIZED, (boxes / _sizes_whwh(values, counts)).T, strict=True)),
        **_optional_columns(values, counts),
    }
    table: pd.DataFrame = pd.DataFrame(columns)
    # A few numbers only: pandas copies this with every step. `from_dataframe` reads it.
    table.attrs["detkit"] = {"num_images": len(outcomes), "num_failed": len(outcomes) - len(found)}
    return table


def images_dataframe(results: Outcomes, sources: Iterable[Source] | None = None) -> pd.DataFrame:
    """One row per image given to the detector, empty and failed ones included.

    Args:
        results: Results and failures, records of `detect_images`, or a `PartialBatchError`.
        sources: One name per image; see `to_dataframe`.

    Returns:
        Columns `image_index` (int64), `source` (category), `status` (category: "ok", "failed"),
        `stage` and `error` (text, missing where ok), `num_detections` (Int64, missing where
        failed: that is not zero), `image_height`, `image_width` (Int64, pixels), `inference_ms`,
        `queue_ms` (float64), `worker`, `batch_size` (Int64), `model` (text) and where any result
        knows them `frame_index` (Int64), `pts_seconds` (float64).

    Raises:
        TypeError: If an entry is neither a result nor a failure.
        ValueError: If `sources` has not one entry per image.
    """
    outcomes = outcome_list(results)
    names = source_list(outcomes, sources)
    failures = [o if isinstance(o, ItemFailure) else None for o in outcomes]
    facts = [{} if isinstance(o, ItemFailure) else o.metadata for o in outcomes]
    sizes = [fact.get("image_hw") or (None, None) for fact in facts]
    columns: dict[str, Any] = {
        "image_index": np.arange(len(outcomes), dtype=np.int64),
        "source": pd.Categorical(names),
        "status": pd.Categorical(
            ["ok" if failure is None else "failed" for failure in failures], ["ok", "failed"]
        ),
        "stage": _text(None if f is None else f.stage for f in failures),
        "error": _text(None if f is None else describe(f.exception) for f in failures),
        "num_detections": _numbers((f.get("num_detections") for f in facts), "Int64"),
        "image_height": _numbers((height for height, _ in sizes), "Int64"),
        "image_width": _numbers((width for _, width in sizes), "Int64"),
    }
    for name, dtype in _NUMBER_FACTS.items():
        if name not in _OPTIONAL_FACTS or any(name in fact for fact in facts):
            columns[name] = _numbers((fact.get(name) for fact in facts), dtype)
    columns["model"] = _text(fact.get("model") for fact in facts)
    table: pd.DataFrame = pd.DataFrame(columns)
    return table


def from_dataframe(boxes: pd.DataFrame, images: pd.DataFrame | None = None) -> list[Outcome]:
    """The results that `to_dataframe` was given: boxes, scores and classes equal to the bit.

    Args:
        boxes: A table of `to_dataframe`, whole or with rows left out, in any order of images.
        images: The table of `images_dataframe` beside it. It tells images without a box from
            failed ones and brings back sizes and timings.

    Returns:
        One entry per image, in order: its result, or an `ItemFailure` for one that failed.

    Raises:
        ValueError: If there are images without a row and nothing says whether they were empty
            or failed.
        InvalidResultError: If a column was changed to something that no result can hold.
    """
    facts = _image_facts(boxes, images)
    order = np.argsort(boxes["image_index"].to_numpy(), kind="stable")
    rows = boxes.iloc[order]
    index = rows["image_index"].to_numpy()
    starts = np.searchsorted(index, np.arange(len(facts) + 1))
    corners = rows[_CORNERS].to_numpy(dtype=np.float32)
    scores = rows["confidence"].to_numpy(dtype=np.float32)
    class_ids = rows["class_id"].to_numpy(dtype=np.int64)
    pairs = rows[["class_id", "class_name"]].drop_duplicates()
    names = {int(i): str(n) for i, n in zip(pairs["class_id"], pairs["class_name"], strict=True)}
    tracks = rows["tracker_id"].to_numpy() if "tracker_id" in rows else None
    outcomes: list[Outcome] = []
    for fact, start, end in zip(facts, starts[:-1], starts[1:], strict=True):
        if isinstance(fact, ItemFailure):
            outcomes.append(fact)
            continue
        metadata = {**fact, "class_names": names}
        if tracks is not None and not pd.isna(tracks[start:end]).all():
            own = pd.Series(tracks[start:end], dtype="Int64").fillna(-1)
            metadata["tracker_ids"] = own.to_numpy(dtype=np.int64)
        part = slice(start, end)
        outcomes.append(DetectionResult(corners[part], scores[part], class_ids[part], metadata))
    return outcomes


def _joined(parts: list[npt.NDArray[Any]], empty: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else empty


def _categories(codes: npt.NDArray[Any], names: list[str]) -> pd.Categorical[Any]:
    categorical: pd.Categorical[Any] = pd.Categorical.from_codes(codes, pd.Index(names, dtype=str))
    return categorical


def _numbers(values: Iterable[Any], dtype: str) -> pd.Series[Any]:
    series: pd.Series[Any] = pd.Series(list(values), dtype=dtype)
    return series


def _text(values: Iterable[Any]) -> pd.Series[Any]:
    texts = [None if v is None else storable(str(v)) for v in values]
    series: pd.Series[Any] = pd.Series(texts, dtype="string")
    return series


def _sizes_whwh(
    results: Sequence[DetectionResult], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    unknown = (np.nan, np.nan)
    sizes_hw = [r.metadata.get("image_hw") or unknown for r in results]
    array = np.array(sizes_hw, dtype=np.float32).reshape(-1, 2)
    return np.repeat(array[:, [1, 0, 1, 0]], counts, axis=0)


def _class_names(
    results: Sequence[DetectionResult],
    counts: npt.NDArray[np.int64],
    class_ids: npt.NDArray[np.int64],
) -> pd.Categorical[Any]:
    """Ask for the name of each class once per detector, not once per box."""
    unique_ids, id_codes = np.unique(class_ids, return_inverse=True)
    spokesmen, speaker = _who_names(results)
    pair = np.repeat(speaker, counts) * len(unique_ids) + id_codes
    unique_pairs, pair_codes = np.unique(pair, return_inverse=True)
    names = [
        spokesmen[int(p) // len(unique_ids)].class_name(unique_ids[int(p) % len(unique_ids)])
        for p in unique_pairs
    ]
    categories = list(dict.fromkeys(names))
    position = {name: code for code, name in enumerate(categories)}
    codes = np.array([position[name] for name in names], dtype=np.int32)
    return _categories(codes[pair_codes] if names else codes, categories)


def _who_names(
    results: Sequence[DetectionResult],
) -> tuple[list[DetectionResult], npt.NDArray[np.int64]]:
    """One result for each run of equal `class_names`, and which of them speaks for each result."""
    spokesmen: list[DetectionResult] = []
    speaker = np.zeros(len(results), dtype=np.int64)
    last: object = object()
    for i, result in enumerate(results):
        names = result.metadata.get("class_names")
        same = names is last or (
            isinstance(names, (Mapping, list, tuple))
            and type(names) is type(last)
            and names == last
        )
        if not same:
            spokesmen.append(result)
            last = names
        speaker[i] = len(spokesmen) - 1
    return spokesmen, speaker


def _optional_columns(
    results: Sequence[DetectionResult], counts: npt.NDArray[np.int64]
) -> dict[str, pd.Series[Any]]:
    columns: dict[str, pd.Series[Any]] = {}
    if any("tracker_ids" in result.metadata for result in results):
        ids: list[Any] = []
        for result in results:
            # -1 stands for a box that no track has taken yet.
            given = result.metadata.get("tracker_ids", [-1] * len(result))
            ids.extend(None if number < 0 else number for number in map(int, given))
        columns["tracker_id"] = _numbers(ids, "Int64")
    for name in _OPTIONAL_FACTS:
        if any(name in result.metadata for result in results):
            per_image = _numbers((r.metadata.get(name) for r in results), _NUMBER_FACTS[name])
            columns[name] = per_image.repeat(counts.tolist()).reset_index(drop=True)
    return columns


def _image_facts(
    boxes: pd.DataFrame, images: pd.DataFrame | None
) -> list[dict[str, Any] | ItemFailure]:
    """What is known of each image beside its boxes."""
    if images is not None:
        return [_facts_of_row(row) for row in images.to_dict("records")]
    said = boxes.attrs.get("detkit", {})
    present = boxes["image_index"].nunique()
    count = said.get("num_images", 0 if present == 0 else int(boxes["image_index"].max()) + 1)
    if present < count and said.get("num_failed") != 0:
        raise ValueError(
            f"{count - present} of {count} images have no row, and this table does not say whether "
            "they were empty or failed: pass images=images_dataframe(results) as well"
        )
    return [{} for _ in range(count)]


def _facts_of_row(row: Mapping[Any, Any]) -> dict[str, Any] | ItemFailure:
    known = {str(k): v for k, v in row.items() if not pd.isna(v)}
    source = known.get("source")
    if known["status"] == "failed":
        error = DetkitError(str(known.get("error", "failed")))
        return ItemFailure(int(known["image_index"]), known.get("stage", "detect"), error, source)
    facts = {k: known[k] for k in (*_NUMBER_FACTS, "model", "source") if k in known}
    if "image_height" in known and "image_width" in known:
        facts["image_hw"] = (int(known["image_height"]), int(known["image_width"]))
    return facts
