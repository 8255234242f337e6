"""ultralytics with `stream=True`: the form its documentation recommends for long inputs."""

from __future__ import annotations

from benchmarks.contestants.contract import Setup, Work, of_ultralytics, open_yolo, options

TITLE = "ultralytics, stream"
PACKAGES = ("ultralytics",)


def _streamed(setup: Setup, source: str) -> Work:
    model = open_yolo(setup.checkpoint, str(setup.files()[0]))
    return lambda: [
        of_ultralytics(result) for result in model.predict(source, stream=True, **options())
    ]


def folder(setup: Setup) -> Work:
    """The folder's path."""
    return _streamed(setup, str(setup.folder))


def video(setup: Setup) -> Work:
    """The clip's path."""
    return _streamed(setup, str(setup.video))


WAYS = {"folder": folder, "video": video}
