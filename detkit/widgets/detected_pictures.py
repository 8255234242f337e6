"""What `DetectPanel` holds for each picture, and what a person takes home from it.

Tables and archives are made here; every name in them is text from outside. Knows pictures,
results and pandas; never a widget, a thread or a model.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import pandas as pd

from detkit.drawing import annotate
from detkit.errors import ItemFailure, describe
from detkit.image_files import decode_image
from detkit.images import RGBImage
from detkit.pipeline.outputs import OutputNames
from detkit.results import DetectionResult
from detkit.stored_text import cell
from detkit.widgets.inbox import Upload
from detkit.widgets.pictures import SmallPicture, encode_jpeg

_COLUMNS = ["file", "object", "confidence", "x_min", "y_min", "x_max", "y_max", "note"]
_JPEG_QUALITY = 92


@dataclass(eq=False, slots=True)
class DetectedPicture:
    """One picture of the panel.

    Attributes:
        upload: The file as it came.
        small: It, shrunk for the page; `None` before, and if it cannot be read.
        outcome: The result in pixels of the file, or why there is none; `None` while it waits.
    """

    upload: Upload
    small: SmallPicture | None = None
    outcome: DetectionResult | ItemFailure | None = None

    def visible(self, confidence_threshold: float) -> DetectionResult | None:
        """What was found above a threshold; `None` if there is no result."""
        if isinstance(self.outcome, DetectionResult):
            return self.outcome.filter(confidence_threshold=confidence_threshold)
        return None

    def problem(self) -> str:
        """Why there is no result; empty otherwise."""
        failed = isinstance(self.outcome, ItemFailure)
        return describe(self.outcome.exception) if failed else ""  # type: ignore[union-attr]


def found_table(
    pictures: Sequence[DetectedPicture], confidence_threshold: float = 0.0
) -> pd.DataFrame:
    """One row per box, and one with a note for every picture without any.

    Returns:
        Columns `file`, `object`, `confidence`, `x_min`, `y_min`, `x_max`, `y_max` (pixels of the
        file) and `note`: "no objects", why it failed, or "not done yet".
    """
    rows: list[dict[str, object]] = []
    for picture in pictures:
        name, result = picture.upload.name, picture.visible(confidence_threshold)
        if result is None:
            rows.append({"file": name, "note": picture.problem() or "not done yet"})
        elif not len(result):
            rows.append({"file": name, "note": "no objects"})
        else:
            boxes = zip(result.names, result.scores, result.boxes.tolist(), strict=True)
            rows += [
                {
                    "file": name,
                    "object": kind,
                    "confidence": float(score),
                    **dict(zip(_COLUMNS[3:7], corners, strict=True)),
                    "note": "",
                }
                for kind, score, corners in boxes
            ]
    table: pd.DataFrame = pd.DataFrame(rows, columns=_COLUMNS)
    return table


def table_file(table: pd.DataFrame) -> bytes:
    """The table as CSV that spreadsheets open, and in which they find no formula."""
    safe = table.copy()
    for name in ("file", "object", "note"):
        safe[name] = safe[name].map(cell, na_action="ignore")
    # With the mark that tells spreadsheets that it is UTF-8.
    text: str = safe.to_csv(index=False, float_format="%.6g")
    return text.encode("utf-8-sig")


def pictures_file(
    pictures: Sequence[DetectedPicture],
    confidence_threshold: float,
    max_pixels: int,
    is_wanted: Callable[[], bool] = lambda: True,
) -> tuple[str, str, bytes]:
    """Name, media type and bytes of the annotated pictures: one PNG, or a zip of JPEGs.

    Args:
        pictures: Those without a result are left out.
        confidence_threshold: Draw boxes of at least this score.
        max_pixels: Of one picture.
        is_wanted: Asked before each picture; when it says no, the rest is left out.

    Raises:
        RuntimeError: If no picture has a result.
    """
    done = [p for p in pictures if isinstance(p.outcome, DetectionResult)]
    if not done:
        raise RuntimeError("there is no picture with a result to download yet")
    names = OutputNames("")
    if len(done) == 1:
        name = names.take(done[0].upload.name, ".png").name
        return name, "image/png", _png(_full(done[0], confidence_threshold, max_pixels))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as folder:
        for picture in done:
            if is_wanted():
                pixels = _full(picture, confidence_threshold, max_pixels)
                name = names.take(picture.upload.name, ".jpg").name
                folder.writestr(name, encode_jpeg(pixels, _JPEG_QUALITY))
    return "pictures.zip", "application/zip", archive.getvalue()


def _full(picture: DetectedPicture, confidence_threshold: float, max_pixels: int) -> RGBImage:
    """The picture in its own size with its boxes."""
    pixels = decode_image(picture.upload.data, max_pixels=max_pixels)
    result = picture.visible(confidence_threshold)
    return pixels if result is None else annotate(pixels, result)


def _png(pixels: RGBImage) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])
