"""supervision's `process_video` round ultralytics' OpenVINO export."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contestants.contract import Found, Setup, Work, frames_in, options
from benchmarks.contestants.ultralytics_openvino import open_export

TITLE = "supervision, process_video"
PACKAGES = ("supervision", "ultralytics", "openvino")


def file_to_file(setup: Setup) -> Work:
    """The video's path; boxes and labels are drawn by supervision's annotators."""
    import supervision

    model = open_export(setup, setup.first_bgr())
    boxes, labels = supervision.BoxAnnotator(), supervision.LabelAnnotator()
    target = setup.scratch / "out.mp4"

    def work() -> list[Found]:
        found: list[Found] = []

        def draw(picture: Any, index: int) -> Any:
            detections = supervision.Detections.from_ultralytics(
                model.predict(picture, **options())[0]
            )
            found.append(Found(detections.xyxy.astype(np.float32), detections.class_id.astype(int)))
            picture = boxes.annotate(picture, detections)
            return labels.annotate(picture, detections)

        supervision.process_video(str(setup.video), str(target), draw)
        assert frames_in(target) == len(found), "frames are missing in the file"
        return found

    return work


WAYS = {"file_to_file": file_to_file}
