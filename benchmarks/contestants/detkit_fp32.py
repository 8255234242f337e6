"""detkit with exact float32 arithmetic: `detect_batch`, `detect_images`, `detect_video`."""

from __future__ import annotations

import asyncio

from benchmarks.contestants.contract import (
    CONFIDENCE,
    IOU,
    Found,
    Setup,
    Work,
    frames_in,
    of_detkit,
)
from detkit import AsyncDetector, DetectionResult, YOLOv8Detector
from detkit.detection.runtimes.contract import Precision

TITLE = "detkit, float32"
PACKAGES = ("openvino",)


def open_engine(setup: Setup, precision: Precision) -> AsyncDetector:
    """An engine with as many workers as cores."""
    detector = YOLOv8Detector()
    detector.load_model(
        setup.onnx,
        device="cpu",
        precision=precision,
        confidence_threshold=CONFIDENCE,
        iou_threshold=IOU,
    )
    return AsyncDetector(detector, max_workers=setup.cores)


def arrays(setup: Setup, precision: Precision = "fp32") -> Work:
    """Images in memory."""
    images, engine = setup.rgb_arrays(), open_engine(setup, precision)
    return lambda: [of_detkit(result) for result in engine.detect_batch(images)]


def folder(setup: Setup, precision: Precision = "fp32") -> Work:
    """The folder's path; files are read ahead."""
    from detkit import detect_images

    engine = open_engine(setup, precision)

    def work() -> list[Found]:
        records = detect_images(engine, setup.folder)
        return [of_detkit(record.result) for record in records if record.result is not None]

    return work


def video(setup: Setup, precision: Precision = "fp32") -> Work:
    """The clip's path."""
    from detkit import detect_video

    engine = open_engine(setup, precision)

    def work() -> list[Found]:
        pairs = detect_video(engine, setup.video)
        return [of_detkit(o) for _, o in pairs if isinstance(o, DetectionResult)]

    return work


def file_to_file(setup: Setup, precision: Precision = "fp32") -> Work:
    """The clip's path; the annotated clip is H.264."""
    from detkit.pipeline import annotate_video

    engine = open_engine(setup, precision)
    target = setup.scratch / "out.mp4"

    def work() -> list[Found]:
        found: list[Found] = []

        def keep(frame: object, outcome: object) -> None:
            assert isinstance(outcome, DetectionResult)
            found.append(of_detkit(outcome))

        asyncio.run(annotate_video(engine, setup.video, target, on_frame=keep))
        assert frames_in(target) == len(found), "frames are missing in the file"
        return found

    return work


WAYS = {"arrays": arrays, "folder": folder, "video": video}
