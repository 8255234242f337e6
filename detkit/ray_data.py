"""The same detector on a Ray cluster: `detect_dataset` gives one row per image file.

Knows the engine and files; Ray is imported when it is asked for and is an extra:
`pip install "detkit[ray]"`. An image that cannot be read or detected becomes a row that says why,
never the end of its block.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from detkit.api.async_detector import AsyncDetector
from detkit.detection.environment import quiet_environment
from detkit.errors import DetkitError, ItemFailure, describe
from detkit.image_files import decode_image
from detkit.images import RGBImage
from detkit.results import DetectionResult

if TYPE_CHECKING:
    import pyarrow as pa


class RayMissingError(DetkitError, ImportError):
    """Ray Data is not installed here."""


def detect_dataset(
    paths: Iterable[str | os.PathLike[str]] | Any,
    make_detector: Callable[[], Any],
    *,
    num_actors: int = 1,
    max_workers: int = 1,
    batch_size: int = 16,
    num_gpus: float = 0.0,
) -> Any:
    """Detect in many image files on a Ray cluster, lazily.

    Args:
        paths: Paths of images that every node can read, or a `ray.data.Dataset` with a column
            `path`.
        make_detector: Makes a loaded detector; called once in each actor.
        num_actors: Processes that each hold a detector.
        max_workers: Workers of the `AsyncDetector` in each; also the cores that Ray reserves.
        batch_size: Images that an actor is given together.
        num_gpus: Share of a GPU that Ray reserves for each actor.

    Returns:
        A `ray.data.Dataset`, one row per image: `path`, `status` ("ok" or "failed"), `error`,
        `num_detections`, `boxes` (`(N, 4)` x_min, y_min, x_max, y_max in pixels), `scores` and
        `classes`. The order of rows is Ray's.

    Raises:
        RayMissingError: If Ray Data is not installed.
        ValueError: If there are no paths, or a number is below 1.
    """
    for name, value in {"num_actors": num_actors, "max_workers": max_workers}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size!r}")
    data = _ray_data()
    dataset: Any = paths
    if not isinstance(paths, data.Dataset):
        rows = [{"path": os.fspath(path)} for path in paths]
        if not rows:
            raise ValueError("there are no images to detect in")
        dataset = data.from_items(rows, override_num_blocks=min(len(rows), 4 * num_actors))
    return dataset.map_batches(
        _Detecting,
        fn_constructor_args=(make_detector, max_workers),
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=data.ActorPoolStrategy(size=num_actors),
        num_cpus=max_workers,
        num_gpus=num_gpus,
    )


def _ray_data() -> Any:
    quiet_environment()  # no usage statistics
    try:
        from ray import data
    except ImportError as error:
        raise RayMissingError(
            f'detecting on a cluster needs Ray Data: pip install "detkit[ray]" ({error})'
        ) from error
    return data


class _Detecting:
    """Lives in an actor; a detector that cannot be made ends the whole job, as it should."""

    def __init__(self, make_detector: Callable[[], Any], max_workers: int) -> None:
        self._engine = AsyncDetector(make_detector(), max_workers)

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        paths = [str(path) for path in batch.column("path").to_pylist()]
        numbers = pa.float32()
        schema = pa.schema(
            [
                ("path", pa.string()),
                ("status", pa.string()),
                ("error", pa.string()),
                ("num_detections", pa.int64()),
                ("boxes", pa.list_(pa.list_(numbers))),
                ("scores", pa.list_(numbers)),
                ("classes", pa.list_(pa.int64())),
            ]
        )
        outcomes = detect_files(self._engine, paths)
        rows = [_row(path, outcome) for path, outcome in zip(paths, outcomes, strict=True)]
        return pa.Table.from_pylist(rows, schema=schema)


def detect_files(engine: AsyncDetector, paths: list[str]) -> list[DetectionResult | BaseException]:
    """One result or error for each file, in order."""
    outcomes: list[Any] = []
    images: list[RGBImage] = []
    places: list[int] = []
    for place, path in enumerate(paths):
        try:
            images.append(decode_image(path))
            places.append(place)
            outcomes.append(None)
        except Exception as error:  # noqa: BLE001  one bad file must not end its block
            outcomes.append(error)
    for place, outcome in zip(places, _detect(engine, images), strict=True):
        outcomes[place] = outcome
    return outcomes


def _detect(engine: AsyncDetector, images: list[RGBImage]) -> list[DetectionResult | BaseException]:
    found = engine.map(images, on_error="yield")
    return [o.exception if isinstance(o, ItemFailure) else o for o in found]


def _row(path: str, outcome: DetectionResult | BaseException) -> dict[str, Any]:
    if isinstance(outcome, DetectionResult):
        return {
            "path": path,
            "status": "ok",
            "num_detections": len(outcome),
            "boxes": outcome.boxes.tolist(),
            "scores": outcome.scores.tolist(),
            "classes": outcome.classes.tolist(),
        }
    return {"path": path, "status": "failed", "error": describe(outcome)}
