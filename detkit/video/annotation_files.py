"""Detections into the files that labelling and evaluation tools read: COCO JSON and MOT text.

Owns these two formats. Knows results; never a picture, a detector or a data frame.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detkit.errors import VideoWriteError
from detkit.results import DetectionResult
from detkit.video.table_sink import Place, TableSink, rows_of, size_hw


class CocoSink(TableSink):
    """COCO object detection, as of https://cocodataset.org/#format-data.

    Images count from 1. A frame of `belt.mp4` is called `belt/frame_000017.jpg`, as in a folder of
    frames that detkit writes; its image also holds `source`, `frame_index` and `pts_seconds`.
    Annotations also hold `score` and, where there is one, `track_id`. Memory holds a line per
    image, no boxes.
    """

    def _begin(self) -> None:
        self._file = self.partial_path.open("w", encoding="utf-8", errors="backslashreplace")
        self._images: list[dict[str, Any]] = []
        self._names: dict[int, str] = {}
        self._file.write('{"annotations": [')

    def _append(self, result: DetectionResult, place: Place) -> None:
        height, width = size_hw(result) or (None, None)
        image_id = len(self._images) + 1
        image = {"id": image_id, "file_name": place.source, "width": width, "height": height}
        if place.frame_index is not None:
            name = f"{Path(place.source).stem}/frame_{place.frame_index:06d}.jpg"
            image |= {"file_name": name, **place._asdict()}
        self._images.append(image)
        for number, row in enumerate(rows_of(result), start=self.num_rows + 1):
            self._names[row["class_id"]] = row["class_name"]
            self._file.write("" if number == 1 else ",")
            self._file.write("\n" + json.dumps(_coco_annotation(row, number, image_id)))

    def _end(self) -> None:
        kinds = [{"id": i, "name": self._names[i]} for i in sorted(self._names)]
        with self._file:
            self._file.write('],\n"images": ' + json.dumps(self._images, ensure_ascii=False))
            self._file.write(',\n"categories": ' + json.dumps(kinds, ensure_ascii=False) + "}\n")


def _coco_annotation(row: dict[str, Any], number: int, image_id: int) -> dict[str, Any]:
    width, height = row["x_max"] - row["x_min"], row["y_max"] - row["y_min"]
    annotation = {
        "id": number,
        "image_id": image_id,
        "category_id": row["class_id"],
        "bbox": [round(value, 2) for value in (row["x_min"], row["y_min"], width, height)],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "score": round(row["confidence"], 4),
    }
    track = row["tracker_id"]
    return annotation if track is None else {**annotation, "track_id": track}


class MotSink(TableSink):
    """MOTChallenge text, as of https://motchallenge.net/instructions: one video a file.

    A row is `frame, id, left, top, width, height, confidence, -1, -1, -1`. Frames and pixels count
    from 1; the id is -1 where there is no track. Class names have no place in it.
    """

    def _begin(self) -> None:
        self._file = self.partial_path.open("w", encoding="ascii")
        self._source: str | None = None

    def _append(self, result: DetectionResult, place: Place) -> None:
        source, frame_index, _ = place
        if frame_index is None or source != (self._source or source):
            raise VideoWriteError(
                f"{self.path}: MOT text holds the frames of one video, got {source!r}"
                + ("" if self._source is None else f" after {self._source!r}")
            )
        self._source = source
        for row in rows_of(result):
            left, top = row["x_min"], row["y_min"]
            box = (left + 1, top + 1, row["x_max"] - left, row["y_max"] - top)
            track = -1 if row["tracker_id"] is None else row["tracker_id"]
            numbers = ",".join(f"{value:.2f}" for value in box)
            self._file.write(
                f"{frame_index + 1},{track},{numbers},{row['confidence']:.4f},-1,-1,-1\n"
            )

    def _end(self) -> None:
        self._file.close()
