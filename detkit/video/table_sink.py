"""`TableSink`: how detections go into any file of results, whatever its format.

Owns the columns, and that a file under its final name is whole. Knows results; never a format, a
picture or a detector.
"""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from detkit.results import DetectionResult
from detkit.video.writing import Sink, write_errors

COLUMNS = (
    "source",
    "x_min",
    "y_min",
    "x_max",
    "y_max",
    "class_id",
    "class_name",
    "confidence",
    "tracker_id",
    "frame_index",
    "pts_seconds",
)


class Place(NamedTuple):
    """Where a result comes from: an image, or a frame of a video."""

    source: str
    frame_index: int | None
    pts_seconds: float | None


class TableSink(Sink):
    """Takes results, image by image, and writes them to one file.

    While it is being written the file is `<name>.partial`; `close` renames it. An error
    inside `with` leaves the partial file. Calls must come from one thread at a time.

    Attributes:
        path: The finished file.
        num_rows: Boxes written so far.

    Raises:
        VideoWriteError: If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.num_rows = 0
        with write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._claim()
            try:
                self._begin()
            except BaseException:
                self._release()
                raise

    def write(
        self,
        result: DetectionResult,
        *,
        source: str,
        frame_index: int | None = None,
        pts_seconds: float | None = None,
    ) -> None:
        """Append all boxes of one image.

        Args:
            result: What was found.
            source: Where the image came from.
            frame_index: Its position in a video.
            pts_seconds: Its time in a video.

        Raises:
            VideoWriteError: If the sink is closed or the disk is full.
        """
        self._check_open()
        with write_errors(self.path):
            self._append(result, _place(source, frame_index, pts_seconds))
        self.num_rows += len(result)

    @abstractmethod
    def _begin(self) -> None:
        """Create the partial file."""

    @abstractmethod
    def _append(self, result: DetectionResult, place: Place) -> None:
        """Write one image's boxes."""

    @abstractmethod
    def _end(self) -> None:
        """Finish the partial file."""

    def _finish(self) -> None:
        self._end()
        self.partial_path.replace(self.path)

    def _leave(self) -> None:
        self._end()


def _place(source: str, frame_index: int | None, pts_seconds: float | None) -> Place:
    """As plain numbers, which every format knows; a time that is NaN is none."""
    index = None if frame_index is None else int(frame_index)
    if pts_seconds is not None:
        pts_seconds = float(pts_seconds) if math.isfinite(pts_seconds) else None
    return Place(source, index, pts_seconds)


def size_hw(result: DetectionResult) -> tuple[int, int] | None:
    """Height and width of its image, where the result knows."""
    height, width = result.metadata.get("image_hw") or (None, None)
    return None if height is None or width is None else (int(height), int(width))


def rows_of(result: DetectionResult) -> Iterator[dict[str, Any]]:
    """The boxes of a result, by column; what only the frame knows is left out."""
    tracks = result.metadata.get("tracker_ids")
    for index, (box, score, class_id) in enumerate(
        zip(result.boxes.tolist(), result.scores.tolist(), result.classes.tolist(), strict=True)
    ):
        track = None if tracks is None or int(tracks[index]) < 0 else int(tracks[index])
        yield {
            **dict(zip(COLUMNS[1:5], box, strict=True)),
            "class_id": class_id,
            "class_name": result.class_name(class_id),
            "confidence": score,
            "tracker_id": track,
        }
