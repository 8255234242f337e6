"""`TableSink`: how detections go into any file of results, whatever its format.

Owns the columns, and that a file under its final name is whole. Knows results; never a format, a
picture or a detector.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit.errors import VideoWriteError
from detkit.results import DetectionResult
from detkit.video.writing import partial_name, write_errors

if TYPE_CHECKING:
    from types import TracebackType

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


class TableSink(ABC):
    """Takes results, image by image, and writes them to one file.

    While it is being written the file is `<name>.partial<suffix>`; `close` renames it. An error
    inside `with` leaves the partial file. Calls must come from one thread at a time.

    Attributes:
        path: The finished file.
        num_rows: Boxes written so far.

    Raises:
        VideoWriteError: If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.num_rows = 0
        self.partial_path = partial_name(self.path)
        self._is_open = True
        with write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._begin()

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
        if not self._is_open:
            raise VideoWriteError(f"{self.path}: the table is already closed")
        with write_errors(self.path):
            self._append(result, source, frame_index, pts_seconds)
        self.num_rows += len(result)

    @abstractmethod
    def _begin(self) -> None:
        """Create the partial file."""

    @abstractmethod
    def _append(
        self,
        result: DetectionResult,
        source: str,
        frame_index: int | None,
        pts_seconds: float | None,
    ) -> None:
        """Write one image's boxes."""

    @abstractmethod
    def _end(self) -> None:
        """Finish the partial file."""

    def close(self) -> None:
        """Finish the file and give it its name. Idempotent.

        Raises:
            VideoWriteError: If the disk is full; the partial file stays.
        """
        if self._is_open:
            self._is_open = False
            with write_errors(self.path):
                self._end()
                self.partial_path.replace(self.path)

    def abort(self) -> None:
        """Stop, and leave what was written as the partial file. Idempotent; never raises."""
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(OSError, ValueError):
                self._end()

    def __enter__(self) -> TableSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


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
