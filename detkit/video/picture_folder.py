"""`PictureFolder`: frames as numbered JPEG or PNG files; and one picture as a file.

Owns names, bytes and the promise that a folder under its final name is whole. Knows OpenCV; never
a detector or a result.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Literal

import cv2

from detkit.errors import VideoWriteError, describe
from detkit.images import RGBImage, validate_image
from detkit.video.writing import Sink, replacing, unlink_link, write_errors

_JPEG_QUALITY = 92
_TIMES = "frames.csv"


class PictureFolder(Sink):
    """Writes each frame as `frame_000017.jpg`, and `frames.csv` with their times.

    While it is being written the folder is `<name>.partial`; `close` renames it. An error inside
    `with` leaves the partial folder. Frames must come from one thread at a time.

    Args:
        path: The folder. It must not be there yet, or be empty.
        suffix: ".jpg" or ".png".

    Attributes:
        frames_written: Pictures written so far.

    Raises:
        VideoWriteError: If the folder holds something already or cannot be made.

    Example:
        >>> import numpy as np
        >>> with PictureFolder("frames") as folder:  # doctest: +SKIP
        ...     folder.write(np.zeros((240, 320, 3), np.uint8), 0.0)
    """

    def __init__(
        self, path: str | os.PathLike[str], *, suffix: Literal[".jpg", ".png"] = ".jpg"
    ) -> None:
        super().__init__(path)
        self.frames_written = 0
        self._suffix = suffix
        with write_errors(self.path):
            if self.path.exists() and any(self.path.iterdir()):
                raise VideoWriteError(f"{self.path}: the folder is not empty; give another name")
            unlink_link(self.partial_path)
            self.partial_path.mkdir(parents=True, exist_ok=True)
            self._claim()
            for left in self.partial_path.glob("frame_*"):  # by a run that was killed
                left.unlink()
            self._times = (self.partial_path / _TIMES).open("w", newline="", encoding="utf-8")
            self._writer = csv.writer(self._times)
            self._writer.writerow(("file", "frame_index", "pts_seconds"))

    def write(
        self,
        image: RGBImage,
        pts_seconds: float | None = None,
        *,
        frame_index: int | None = None,
    ) -> None:
        """Write one frame.

        Args:
            image: uint8 RGB of shape (H, W, 3); sizes may differ.
            pts_seconds: Its time, for the table.
            frame_index: The number in its name; by default one after another from 0.

        Raises:
            VideoWriteError: If the folder is closed or the disk is full.
            InvalidImageError: If it is no uint8 RGB array.
        """
        image = validate_image(image)
        self._check_open()
        number = self.frames_written if frame_index is None else frame_index
        name = f"frame_{number:06d}{self._suffix}"
        with write_errors(self.path):
            (self.partial_path / name).write_bytes(_encoded(image, self._suffix))
            self._writer.writerow(
                (name, number, "" if pts_seconds is None else f"{pts_seconds:.6f}")
            )
        self.frames_written += 1

    def _finish(self) -> None:
        self._times.close()
        if not self.frames_written:
            raise VideoWriteError(f"{self.path}: no frame was written")
        if self.path.exists():
            self.path.rmdir()  # Empty; Windows does not rename over it.
        self.partial_path.rename(self.path)

    def _leave(self) -> None:
        self._times.close()

    def __repr__(self) -> str:
        return f"<PictureFolder {str(self.path)!r}, {self.frames_written} frames, {self._state}>"


def save_picture(path: Path, image: RGBImage) -> None:
    """Write an RGB image as JPEG or PNG, whole or not at all.

    Raises:
        VideoWriteError: If it cannot be written.
    """
    with replacing(path) as partial:
        partial.write_bytes(_encoded(image, path.suffix))


def _encoded(image: RGBImage, suffix: str) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    try:
        _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    except cv2.error as error:  # JPEG ends at 65,535 pixels a side.
        raise ValueError(f"it cannot be encoded: {describe(error)}") from error
    return data.tobytes()
