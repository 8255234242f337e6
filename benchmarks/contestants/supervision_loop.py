"""supervision round ultralytics: its `Detections` made from every result."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contestants.contract import Found, Setup, Work, open_yolo, options

TITLE = "supervision, loop"
PACKAGES = ("supervision", "ultralytics")


def arrays(setup: Setup) -> Work:
    """Images in memory."""
    import supervision

    images = setup.bgr_arrays()
    model = open_yolo(setup.checkpoint, images[0])

    def detect(image: Any) -> Found:
        result = model.predict(image, **options())[0]
        found = supervision.Detections.from_ultralytics(result)
        return Found(found.xyxy.astype(np.float32), found.class_id.astype(np.int64))

    return lambda: [detect(image) for image in images]


WAYS = {"arrays": arrays}
