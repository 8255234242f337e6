"""Detections into table files: CSV, JSON Lines and Parquet, one sink for each.

Owns columns and formats, and that a file under its final name is whole. Knows results; never a
picture, a detector or a data frame.
"""

from __future__ import annotations

import contextlib
import csv
import json
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
# Rows in memory before a Parquet row group is written: some 10 MB.
_ROWS_PER_GROUP = 65_536


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


class CsvSink(TableSink):
    """One row per box. Pixels have two decimals and confidences four; no value is empty text."""

    def _begin(self) -> None:
        self._file = self.partial_path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)

    def _append(
        self,
        result: DetectionResult,
        source: str,
        frame_index: int | None,
        pts_seconds: float | None,
    ) -> None:
        when = "" if pts_seconds is None else f"{pts_seconds:.6f}"
        for row in _rows(result):
            box = [f"{row[key]:.2f}" for key in COLUMNS[1:5]]
            kind = [row["class_id"], row["class_name"], f"{row['confidence']:.4f}"]
            self._writer.writerow([source, *box, *kind, row["tracker_id"], frame_index, when])

    def _end(self) -> None:
        self._file.close()


class JsonLinesSink(TableSink):
    """One line per image, those without boxes included: `source`, `detections` and so on."""

    def _begin(self) -> None:
        self._file = self.partial_path.open("w", encoding="utf-8")

    def _append(
        self,
        result: DetectionResult,
        source: str,
        frame_index: int | None,
        pts_seconds: float | None,
    ) -> None:
        line = {
            "source": source,
            "frame_index": frame_index,
            "pts_seconds": pts_seconds,
            "image_hw": result.metadata.get("image_hw"),
            "detections": list(_rows(result)),
        }
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _end(self) -> None:
        self._file.close()


class ParquetSink(TableSink):
    """One row per box, typed, compressed with zstd."""

    def _begin(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"source": pa.string(), "class_name": pa.string(), "pts_seconds": pa.float64()}
        whole = dict.fromkeys(("class_id", "tracker_id", "frame_index"), pa.int64())
        kinds = {**dict.fromkeys(COLUMNS, pa.float32()), **kinds, **whole}
        self._schema = pa.schema([(name, kinds[name]) for name in COLUMNS])
        self._writer = pq.ParquetWriter(str(self.partial_path), self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def _append(
        self,
        result: DetectionResult,
        source: str,
        frame_index: int | None,
        pts_seconds: float | None,
    ) -> None:
        where = {"source": source, "frame_index": frame_index, "pts_seconds": pts_seconds}
        self._rows.extend({**row, **where} for row in _rows(result))
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []

    def _end(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()


_SINKS: dict[str, type[TableSink]] = {
    ".csv": CsvSink,
    ".jsonl": JsonLinesSink,
    ".parquet": ParquetSink,
}


def open_table(path: str | os.PathLike[str]) -> TableSink:
    """The sink that a file name asks for: .csv, .jsonl or .parquet.

    Raises:
        VideoWriteError: If the name has another ending, or the file cannot be made.

    Example:
        >>> with open_table("boxes.csv") as table:  # doctest: +SKIP
        ...     table.write(result, source="a.jpg")
    """
    kind = _SINKS.get(Path(path).suffix.lower())
    if kind is None:
        endings = ", ".join(_SINKS)
        raise VideoWriteError(f"{os.fspath(path)}: the name of a table must end in {endings}")
    return kind(path)


def _rows(result: DetectionResult) -> Iterator[dict[str, Any]]:
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
