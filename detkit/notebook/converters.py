"""Results to and from what supervision and ultralytics call results.

Owns which field is which. Either library is imported only where one of its objects is made, so
supervision need not be installed. Knows results; never a model or a picture's meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detkit.detection.environment import import_ultralytics
from detkit.errors import InvalidResultError
from detkit.images import RGBImage
from detkit.results import DetectionResult


def to_supervision(result: DetectionResult) -> Any:
    """A result as supervision `Detections`, class names in `data["class_name"]`.

    Raises:
        ImportError: If supervision is not installed: `pip install supervision`.
    """
    from supervision import Detections

    tracks = result.metadata.get("tracker_ids")
    return Detections(
        xyxy=result.boxes.copy(),
        confidence=result.scores.copy(),
        class_id=result.classes.copy(),
        tracker_id=None if tracks is None else np.asarray(tracks, dtype=np.int64),
        data={"class_name": np.array(result.names, dtype=str)},
    )


def from_supervision(
    detections: Any, class_names: Mapping[int, str] | Sequence[str] | None = None
) -> DetectionResult:
    """Supervision `Detections` as a result.

    Args:
        detections: Boxes; without `confidence` each counts as 1, without `class_id` as class 0.
        class_names: Names by class id; by default what `data["class_name"]` says.

    Raises:
        InvalidResultError: If boxes or scores make no sense.
    """
    num = len(detections.xyxy)
    scores, class_ids = detections.confidence, detections.class_id
    scores = np.ones(num, np.float32) if scores is None else scores
    class_ids = np.zeros(num, np.int64) if class_ids is None else np.asarray(class_ids, np.int64)
    said = detections.data.get("class_name")
    if class_names is None and said is not None:
        class_names = {int(i): str(n) for i, n in zip(class_ids, said, strict=True)}
    metadata: dict[str, Any] = {} if class_names is None else {"class_names": class_names}
    if detections.tracker_id is not None:
        metadata["tracker_ids"] = np.asarray(detections.tracker_id, dtype=np.int64)
    return DetectionResult(detections.xyxy, scores, class_ids, metadata)


def to_ultralytics(result: DetectionResult, image: RGBImage | None = None) -> Any:
    """A result as ultralytics `Results`.

    Args:
        result: What was found.
        image: Its image, RGB; by default the one that the result knows. Ultralytics gets it in
            the order it expects, which is BGR.

    Raises:
        ValueError: If there is no image: ultralytics' results hold theirs.
        InvalidResultError: If only some of its boxes have a track.
    """
    image = result.image if image is None else image
    if image is None:
        raise ValueError("ultralytics' results hold their image, and this one's is gone: pass it")
    import_ultralytics()
    from ultralytics.engine.results import Results

    columns = [result.boxes]
    tracks = result.metadata.get("tracker_ids")
    if tracks is not None and len(result):
        if any(track is None or int(track) < 0 for track in tracks):
            raise InvalidResultError("ultralytics wants a track for every box, or for none")
        columns.append(np.asarray(tracks, dtype=np.float32)[:, None])
    columns += [result.scores[:, None], result.classes[:, None].astype(np.float32)]
    return Results(
        orig_img=np.ascontiguousarray(image[:, :, ::-1]),
        path=str(result.metadata.get("source") or "image.jpg"),
        names=_names_by_id(result),
        boxes=np.hstack(columns),  # type: ignore[arg-type]  # it takes arrays as well
    )


def from_ultralytics(results: Any) -> DetectionResult:
    """One ultralytics `Results` as a result; its image is not kept.

    Raises:
        ValueError: If it holds no boxes, as of a classification model.
    """
    boxes = results.boxes
    if boxes is None:
        raise ValueError("these ultralytics results hold no boxes: is the model a detector?")
    metadata: dict[str, Any] = {
        "class_names": {int(i): str(name) for i, name in dict(results.names).items()},
        "image_hw": (int(results.orig_shape[0]), int(results.orig_shape[1])),
    }
    if results.path:
        metadata["source"] = str(results.path)
    if boxes.id is not None:
        metadata["tracker_ids"] = _array(boxes.id).astype(np.int64)
    corners, scores, class_ids = _array(boxes.xyxy), _array(boxes.conf), _array(boxes.cls)
    return DetectionResult(corners, scores, class_ids.astype(np.int64), metadata)


def _array(values: Any) -> npt.NDArray[Any]:
    """A tensor on any device, or an array, as an array."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


def _names_by_id(result: DetectionResult) -> dict[int, str]:
    names = result.metadata.get("class_names")
    if isinstance(names, Mapping):
        known = {int(i): str(name) for i, name in names.items()}
    else:
        known = dict(enumerate(map(str, names or ())))
    return known | dict(zip(result.classes.tolist(), result.names, strict=True))
