"""Detections into table files: CSV, JSON Lines and Parquet; and which file name asks for what.

Owns these three formats. Knows results; never a picture, a detector or a data frame.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

from detkit.errors import VideoWriteError
from detkit.results import DetectionResult
from detkit.stored_text import cell, storable
from detkit.video.annotation_files import CocoSink, MotSink
from detkit.video.table_sink import COLUMNS, Place, TableSink, rows_of, size_hw

# Rows in memory before a Parquet row group is written: 5 MB, as they are packed in between; as
# they come they would take 40.
_ROWS_PER_GROUP = 65_536
_ROWS_UNPACKED = 2_048


class CsvSink(TableSink):
    """One row per box. Pixels have two decimals and confidences four; no value is empty text.

    A name that a spreadsheet would run as a formula has an apostrophe in front.
    """

    def _begin(self) -> None:
        self._file = self.partial_path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)

    def _append(self, result: DetectionResult, place: Place) -> None:
        name = cell(place.source)
        when = "" if place.pts_seconds is None else f"{place.pts_seconds:.6f}"
        for row in rows_of(result):
            box = [f"{row[key]:.2f}" for key in COLUMNS[1:5]]
            kind = [row["class_id"], cell(row["class_name"]), f"{row['confidence']:.4f}"]
            self._writer.writerow([name, *box, *kind, row["tracker_id"], place.frame_index, when])

    def _end(self) -> None:
        self._file.close()


class JsonLinesSink(TableSink):
    """One line per image, those without boxes included: `source`, `detections` and so on."""

    def _begin(self) -> None:
        self._file = self.partial_path.open("w", encoding="utf-8", errors="backslashreplace")

    def _append(self, result: DetectionResult, place: Place) -> None:
        line = {
            **place._asdict(),
            "image_hw": size_hw(result),
            "detections": list(rows_of(result)),
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
        self._packed: list[Any] = []

    def _append(self, result: DetectionResult, place: Place) -> None:
        where = {**place._asdict(), "source": storable(place.source)}
        self._rows.extend({**row, **where} for row in rows_of(result))
        if len(self._rows) >= _ROWS_UNPACKED:
            self._pack()
        if sum(len(table) for table in self._packed) >= _ROWS_PER_GROUP:
            self._flush()

    def _pack(self) -> None:
        import pyarrow as pa

        self._packed.append(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._pack()
        if self._packed:
            tables, self._packed = self._packed, []
            self._writer.write_table(pa.concat_tables(tables))

    def _end(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()


_SINKS: dict[str, type[TableSink]] = {
    ".csv": CsvSink,
    ".jsonl": JsonLinesSink,
    ".parquet": ParquetSink,
    ".json": CocoSink,
    ".txt": MotSink,
}


def open_table(path: str | os.PathLike[str]) -> TableSink:
    """The sink that a file name asks for: .csv, .jsonl, .parquet, .json (COCO) or .txt (MOT).

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
