"""ultralytics with a whole folder, or a list of arrays, in one call."""

from __future__ import annotations

from benchmarks.contestants.contract import Setup, Work, of_ultralytics, open_yolo, options

TITLE = "ultralytics, one call"
PACKAGES = ("ultralytics",)


def arrays(setup: Setup) -> Work:
    """A list of arrays; ultralytics runs it as one batch."""
    images = setup.bgr_arrays()
    model = open_yolo(setup.checkpoint, images[0])
    return lambda: [of_ultralytics(result) for result in model.predict(images, **options())]


def folder(setup: Setup) -> Work:
    """The folder's path."""
    source = str(setup.folder)
    model = open_yolo(setup.checkpoint, source)
    return lambda: [of_ultralytics(result) for result in model.predict(source, **options())]


WAYS = {"arrays": arrays, "folder": folder}
