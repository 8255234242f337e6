"""ultralytics with its own OpenVINO export: in a loop, and on a video file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.contestants.contract import (
    Found,
    Setup,
    Work,
    frames_in,
    of_ultralytics,
    open_yolo,
    options,
)

TITLE = "ultralytics, OpenVINO export"
PACKAGES = ("ultralytics", "openvino")


def open_export(setup: Setup, warm_up_with: Any) -> Any:
    """A model of ultralytics on its own export."""
    # The export is written beside the weights.
    copy = Path(shutil.copy(setup.checkpoint, setup.scratch))
    exported = open_yolo(copy, warm_up_with).export(format="openvino", dynamic=True, verbose=False)
    return open_yolo(Path(exported), warm_up_with)


def arrays(setup: Setup) -> Work:
    """Images in memory."""
    images = setup.bgr_arrays()
    model = open_export(setup, images[0])
    return lambda: [of_ultralytics(model.predict(image, **options())[0]) for image in images]


def file_to_results(setup: Setup) -> Work:
    """The video's path, with `stream=True`."""
    model = open_export(setup, setup.first_bgr())
    given = {**options(), "stream": True}
    return lambda: [of_ultralytics(r) for r in model.predict(str(setup.video), **given)]


def file_to_file(setup: Setup) -> Work:
    """The video's path, with `stream=True, save=True`: the file it writes has its boxes."""
    model = open_export(setup, setup.first_bgr())
    given = {**options(), "stream": True, "save": True, "exist_ok": True}
    given |= {"project": str(setup.scratch), "name": "out"}

    def work() -> list[Found]:
        found = [of_ultralytics(r) for r in model.predict(str(setup.video), **given)]
        (written,) = (setup.scratch / "out").glob("*.*")
        assert frames_in(written) == len(found), "frames are missing in the file"
        return found

    return work


WAYS = {"arrays": arrays, "file_to_results": file_to_results, "file_to_file": file_to_file}
