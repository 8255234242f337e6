"""What a contestant of the comparison is given and what it gives back.

A contestant is a file of this folder with `TITLE`, `PACKAGES` (distributions it needs) and `WAYS`:
for each scenario it takes part in, a function that loads everything and returns the work of one
round. It runs in a process of its own and knows nothing of the others or of the clock. `HELPERS =
True` says that it starts further processes, whose core-seconds and memory then count as its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from detkit import DetectionResult
from detkit.image_files import decode_image

CONFIDENCE, IOU = 0.25, 0.7


@dataclass(frozen=True)
class Setup:
    """The same for all contestants.

    Attributes:
        checkpoint: Weights for ultralytics.
        onnx: The same weights for detkit.
        folder: Image files, numbered in order.
        video: A clip.
        cores: Threads or workers that a parallel contestant starts.
        scratch: An empty folder for what a contestant has to write.
    """

    checkpoint: Path
    onnx: Path
    folder: Path
    video: Path
    cores: int
    scratch: Path

    def files(self) -> list[Path]:
        """The images in order."""
        return sorted(self.folder.glob("*.jpg"))

    def rgb_arrays(self) -> list[npt.NDArray[np.uint8]]:
        """The images in memory, as detkit takes them."""
        return [decode_image(path) for path in self.files()]

    def bgr_arrays(self) -> list[npt.NDArray[np.uint8]]:
        """The images in memory, as ultralytics takes them."""
        return [np.ascontiguousarray(image[..., ::-1]) for image in self.rgb_arrays()]

    def first_bgr(self) -> npt.NDArray[np.uint8]:
        """The first frame of the video, as ultralytics takes it."""
        from detkit.video import VideoSource

        frame = next(iter(VideoSource(self.video)))
        return np.ascontiguousarray(frame.image[..., ::-1])


@dataclass(frozen=True)
class Found:
    """What was found in one image: `(N, 4)` boxes in pixels and `(N,)` class ids."""

    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


def frames_in(video: Path) -> int:
    """How many frames a video file announces; nothing is decoded."""
    import cv2

    capture = cv2.VideoCapture(str(video))
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()


Work = Callable[[], list[Found]]
Way = Callable[[Setup], Work]


def of_detkit(result: DetectionResult) -> Found:
    """A result of detkit."""
    return Found(result.boxes, result.classes)


def of_ultralytics(result: Any) -> Found:
    """A result of ultralytics, brought to numpy as every user of it must."""
    boxes = result.boxes
    return Found(
        boxes.xyxy.cpu().numpy().astype(np.float32), boxes.cls.cpu().numpy().astype(np.int64)
    )


def open_yolo(weights: Path, warm_up_with: Any) -> Any:
    """A model of ultralytics that has run once: its first call builds its predictor."""
    from detkit.detection.environment import quiet_environment

    quiet_environment()
    from ultralytics import YOLO  # type: ignore[attr-defined]

    model = YOLO(str(weights), task="detect")
    model.predict(warm_up_with, **options())
    return model


def options() -> dict[str, Any]:
    """What every call of ultralytics is given."""
    return {"conf": CONFIDENCE, "iou": IOU, "device": "cpu", "verbose": False, "save": False}


def run_in_loop(make: Callable[[], Any]) -> Any:
    """Run a coroutine in a loop of its own, as a script does."""
    return asyncio.run(make())
