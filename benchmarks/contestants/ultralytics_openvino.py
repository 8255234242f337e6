"""ultralytics with its own OpenVINO export, in a loop."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.contestants.contract import Setup, Work, of_ultralytics, open_yolo, options

TITLE = "ultralytics, OpenVINO export"
PACKAGES = ("ultralytics", "openvino")


def arrays(setup: Setup) -> Work:
    """Images in memory."""
    images = setup.bgr_arrays()
    # The export is written beside the weights.
    copy = Path(shutil.copy(setup.checkpoint, setup.scratch))
    exported = open_yolo(copy, images[0]).export(format="openvino", dynamic=True, verbose=False)
    model = open_yolo(Path(exported), images[0])
    return lambda: [of_ultralytics(model.predict(image, **options())[0]) for image in images]


WAYS = {"arrays": arrays}
