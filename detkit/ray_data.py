"""The same detector on a Ray cluster: `detect_dataset` gives one row per image file.

Owns the columns of those rows and the way back to records, `dataset_records`. Knows the engine and
files; Ray is imported when it is asked for and is an extra: `pip install "detkit[ray]"`. An image
that cannot be read or detected becomes a row that says why, never the end of its block; a process
that dies is started again by Ray and its block done anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from detkit.api.async_detector import AsyncDetector
from detkit.detection.environment import quiet_environment
from detkit.errors import DetkitError, ItemFailure, MissingPackageError, describe
from detkit.image_files import decode_image
from detkit.images import RGBImage
from detkit.pipeline import ImageRecord
from detkit.results import DetectionResult

if TYPE_CHECKING:
    import pyarrow as pa


class RayMissingError(MissingPackageError):
    """Ray Data is not installed here."""


class DetectorNotSentError(DetkitError, TypeError):
    """`make_detector` cannot be sent to the processes of a cluster."""


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

    Uses the Ray that this process is connected to, else the cluster that `RAY_ADDRESS` names, else
    starts one here that listens on the loopback address only.

    Args:
        paths: Paths of images that every node can read, or a `ray.data.Dataset` with a column
            `path`.
        make_detector: Makes a loaded detector; called once in each actor, so it may be a lambda
            of a notebook but must not hold a loaded detector: `lambda: load("yolov8n.pt")`.
        num_actors: Processes that each hold a detector.
        max_workers: Workers of the `AsyncDetector` in each; also the cores that Ray reserves.
        batch_size: Images that an actor is given together.
        num_gpus: Share of a GPU that Ray reserves for each actor.

    Returns:
        A `ray.data.Dataset`, one row per image: `index` (position among the paths), `path`,
        `status` ("ok" or "failed"), `stage` and `error` of a failed one, `image_hw`,
        `num_detections`, `boxes` (`(N, 4)` x_min, y_min, x_max, y_max in pixels), `scores`,
        `classes` and `class_names` of the boxes. The order of rows is Ray's;
        `dataset_records` gives them in the order of the paths. A detector that cannot be made
        ends the run with an error of Ray that tells what `make_detector` raised.

    Raises:
        RayMissingError: If Ray Data is not installed.
        DetectorNotSentError: If `make_detector` is no function, or holds what cannot be pickled.
        ValueError: If there are no paths, or a number is below 1.

    Example:
        >>> from detkit.notebook import to_dataframe
        >>> dataset = detect_dataset(paths, lambda: load("yolov8n.pt"))  # doctest: +SKIP
        >>> table = to_dataframe(dataset_records(dataset))  # doctest: +SKIP
    """
    for name, value in {"num_actors": num_actors, "max_workers": max_workers}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size!r}")
    data = _ray_data()
    _check_sendable(make_detector)
    dataset: Any = paths
    if not isinstance(paths, data.Dataset):
        rows = [{"index": index, "path": os.fspath(path)} for index, path in enumerate(paths)]
        if not rows:
            raise ValueError("there are no images to detect in")
        _connect()
        dataset = data.from_items(rows, override_num_blocks=min(len(rows), 4 * num_actors))
    found = dataset.map_batches(
        _Detecting,
        fn_constructor_args=(make_detector, max_workers),
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=data.ActorPoolStrategy(size=num_actors),
        num_cpus=max_workers,
        num_gpus=num_gpus,
    )
    found.context.enable_progress_bars = False  # of this dataset alone: quiet, as all of detkit
    return found


def dataset_records(dataset: Any) -> list[ImageRecord]:
    """Run a dataset of `detect_dataset` and bring its rows here, as `detect_images` gives them.

    Args:
        dataset: What `detect_dataset` returned, or a filtered one; or its rows as dictionaries.

    Returns:
        One record per row, in the order of the paths given; of a `ray.data.Dataset` that had no
        column `index`, in the order of its paths' names. What `to_dataframe`, `images_dataframe`
        and `show_grid` of `detkit.notebook` take.
    """
    rows = dataset.take_all() if hasattr(dataset, "take_all") else list(dataset)
    rows.sort(key=lambda row: (row["index"] is None, row["index"] or 0, row["path"]))
    return [_record(place, row) for place, row in enumerate(rows)]


def _ray_data() -> Any:
    quiet_environment()  # no usage statistics
    try:
        from ray import data
    except ImportError as error:
        raise RayMissingError(
            f'detecting on a cluster needs Ray Data: pip install "detkit[ray]" ({error})'
        ) from error
    return data


def _check_sendable(make_detector: Callable[[], Any]) -> None:
    from ray import cloudpickle

    dumps: Callable[[object], bytes] = cloudpickle.dumps
    advice = 'give a function that makes a detector, as in lambda: load("yolov8n.pt")'
    if not callable(make_detector):
        kind = type(make_detector).__name__
        raise DetectorNotSentError(f"make_detector must be a function, got a {kind}; {advice}")
    try:
        dumps(make_detector)
    except Exception as error:  # a stranger's object may raise anything
        raise DetectorNotSentError(
            f"make_detector holds what cannot be sent to another process ({describe(error)}); "
            f"{advice}"
        ) from error


def _connect() -> None:
    """Join the cluster that is named, else start one that nobody outside this machine can reach."""
    import ray

    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
        return
    # Not "auto": that also joins what another process on this machine has started for itself.
    with _on_loopback():
        ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray do here what it does on macOS and Windows: keep to the loopback address.

    On Linux it replaces 127.0.0.1 by the address that others see (read in 2.60.0).
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


class _Detecting:
    """Lives in an actor; a detector that cannot be made ends the whole job, as it should."""

    def __init__(self, make_detector: Callable[[], Any], max_workers: int) -> None:
        self._problem: Exception | None = None
        try:
            self._engine = AsyncDetector(make_detector(), max_workers)
        except Exception as error:  # noqa: BLE001  told at the first block, see below
            self._problem = error

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        if self._problem is not None:
            # Raised here, where Ray ends the job with it. In `__init__` it would try again.
            raise self._problem
        paths = [str(path) for path in batch.column("path").to_pylist()]
        known = "index" in batch.column_names
        indices = batch.column("index").to_pylist() if known else [None] * len(paths)
        numbers = pa.float32()
        schema = pa.schema(
            [
                ("index", pa.int64()),
                ("path", pa.string()),
                ("status", pa.string()),
                ("stage", pa.string()),
                ("error", pa.string()),
                ("image_hw", pa.list_(pa.int64())),
                ("num_detections", pa.int64()),
                ("boxes", pa.list_(pa.list_(numbers))),
                ("scores", pa.list_(numbers)),
                ("classes", pa.list_(pa.int64())),
                ("class_names", pa.list_(pa.string())),
            ]
        )
        outcomes = detect_files(self._engine, paths)
        rows = [_row(*facts) for facts in zip(indices, paths, outcomes, strict=True)]
        return pa.Table.from_pylist(rows, schema=schema)


def detect_files(engine: AsyncDetector, paths: list[str]) -> list[DetectionResult | ItemFailure]:
    """One result or failure for each file, in order."""
    outcomes: list[Any] = []
    images: list[RGBImage] = []
    places: list[int] = []
    for place, path in enumerate(paths):
        try:
            images.append(decode_image(path))
            places.append(place)
            outcomes.append(None)
        except Exception as error:  # noqa: BLE001  one bad file must not end its block
            outcomes.append(ItemFailure(place, "decode", error, path))
    for place, outcome in zip(places, engine.map(images, on_error="yield"), strict=True):
        outcomes[place] = outcome
    return outcomes


def _row(index: int | None, path: str, outcome: DetectionResult | ItemFailure) -> dict[str, Any]:
    if isinstance(outcome, ItemFailure):
        problem = {"stage": outcome.stage, "error": describe(outcome.exception)}
        return {"index": index, "path": path, "status": "failed", **problem}
    return {
        "index": index,
        "path": path,
        "status": "ok",
        "image_hw": outcome.metadata.get("image_hw"),
        "num_detections": len(outcome),
        "boxes": outcome.boxes.tolist(),
        "scores": outcome.scores.tolist(),
        "classes": outcome.classes.tolist(),
        "class_names": list(outcome.names),
    }


def _record(place: int, row: dict[str, Any]) -> ImageRecord:
    path = row["path"]
    if row["status"] == "failed":
        failure = ItemFailure(place, row["stage"], DetkitError(row["error"]), path)
        return ImageRecord(place, path, None, failure)
    names = dict(zip(map(int, row["classes"]), row["class_names"], strict=True))
    metadata: dict[str, Any] = {"source": path, "class_names": names}
    if row["image_hw"] is not None:
        metadata["image_hw"] = tuple(map(int, row["image_hw"]))
    boxes = [list(box) for box in row["boxes"]]
    result = DetectionResult(boxes, list(row["scores"]), list(row["classes"]), metadata)
    return ImageRecord(place, path, result, None)
