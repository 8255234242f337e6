"""Who takes part in the runtime benchmark beside detkit, on which images, and if they agree."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.contestants.contract import Found, of_detkit, of_ultralytics, open_yolo, options
from benchmarks.suite import agreement_of
from detkit import DetectionResult
from detkit.samples import scene

# Half precision moves a score across the threshold now and then; int8 more often.
MIN_F1 = 0.85


def load_images(video: str | None, count: int) -> list[np.ndarray]:
    """RGB images of 1280 x 720: frames spread over a clip, or rendered scenes."""
    if video is None:
        return [scene(seed)[0] for seed in range(97_000, 97_000 + count)]
    frames = _frames(video)
    return [frames[index] for index in _spread(len(frames), count)]


def other_images(video: str | None, count: int) -> list[np.ndarray]:
    """What `load_images` leaves: to calibrate with, so that the others can judge.

    The remaining frames of the clip and every second one of the clips beside it, or other scenes.
    """
    if video is None:
        return [scene(seed)[0] for seed in range(98_000, 98_000 + 2 * count)]
    frames = _frames(video)
    taken = set(_spread(len(frames), count))
    beside = sorted(path for path in Path(video).parent.glob("*.mp4") if not path.samefile(video))
    return [frame for index, frame in enumerate(frames) if index not in taken] + [
        frame for path in beside for frame in _frames(str(path))[::2]
    ]


def _spread(total: int, count: int) -> list[int]:
    return sorted(set(np.linspace(0, total - 1, count).astype(int).tolist()))


def _frames(video: str) -> list[np.ndarray]:
    capture = cv2.VideoCapture(video)
    frames = []
    while (read := capture.read())[0]:
        frames.append(np.ascontiguousarray(read[1][..., ::-1]))
    capture.release()
    return frames


def ultralytics_loop(
    checkpoint: str, images: Sequence[np.ndarray], scratch: str, *, export: bool
) -> Callable[[], list[Any]]:
    """One `predict` after another, with torch or with ultralytics' own OpenVINO export."""
    turned = [np.ascontiguousarray(image[..., ::-1]) for image in images]
    weights = Path(shutil.copy(checkpoint, scratch))
    model = open_yolo(weights, turned[0])
    if export:
        exported = model.export(format="openvino", dynamic=True, verbose=False)
        model = open_yolo(Path(exported), turned[0])
    return lambda: [model.predict(image, **options())[0] for image in turned]


def agree(finders: dict[str, Callable[[], list[Any]]]) -> dict[str, float]:
    """F1 of everybody beside the first.

    Raises:
        SystemExit: If somebody finds other objects; then nothing is timed.
    """
    truth: list[Found] | None = None
    scores: dict[str, float] = {}
    for name, find in finders.items():
        found = [
            of_detkit(r) if isinstance(r, DetectionResult) else of_ultralytics(r) for r in find()
        ]
        truth = truth or found
        score = agreement_of(found, truth)
        if score is None or score.f1 < MIN_F1:
            raise SystemExit(f"{name!r} finds other objects than the first: {score}")
        scores[name] = round(score.f1, 3)
    return scores
