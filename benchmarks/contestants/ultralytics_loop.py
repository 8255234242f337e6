"""ultralytics as most notebooks use it: one `predict` after another."""

from __future__ import annotations

from benchmarks.contestants.contract import Setup, Work, of_ultralytics, open_yolo, options

TITLE = "ultralytics, loop"
PACKAGES = ("ultralytics",)


def arrays(setup: Setup) -> Work:
    """Images in memory."""
    images = setup.bgr_arrays()
    model = open_yolo(setup.checkpoint, images[0])
    return lambda: [of_ultralytics(model.predict(image, **options())[0]) for image in images]


def folder(setup: Setup) -> Work:
    """Files, each given by its path."""
    files = [str(path) for path in setup.files()]
    model = open_yolo(setup.checkpoint, files[0])
    return lambda: [of_ultralytics(model.predict(file, **options())[0]) for file in files]


WAYS = {"arrays": arrays, "folder": folder}
