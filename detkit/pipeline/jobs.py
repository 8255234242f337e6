"""`detect_to_folder`: everything a user named, through a detector, into one folder.

Owns the layout of that folder: tables, annotated pictures and videos, a summary. Knows nothing of
terminals or notebooks; progress is told to a callback.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from detkit.addresses import without_credentials
from detkit.drawing import annotate
from detkit.errors import DetkitError, ItemFailure, describe
from detkit.images import RGBImage
from detkit.pipeline.annotated import annotate_video
from detkit.pipeline.background import OneAtATime
from detkit.pipeline.image_feed import ImageRecord
from detkit.pipeline.images import detect_images
from detkit.pipeline.inputs import Inputs
from detkit.pipeline.outputs import OutputNames, picture_suffix
from detkit.progress import NoProgress, Progress, shown_if
from detkit.results import DetectionResult
from detkit.stored_text import cell, storable
from detkit.video.frames import Frame
from detkit.video.picture_folder import save_picture
from detkit.video.table_sink import TableSink
from detkit.video.tables import CsvSink
from detkit.video.writing import replacing

if TYPE_CHECKING:
    from detkit.api.async_detector import AsyncDetector, SettingsOptions


@dataclass(frozen=True, slots=True)
class InputOutcome:
    """What became of one input: a row of `images.csv`.

    Attributes:
        source: The file as named or found; an address without what is secret in it.
        kind: "image" or "video".
        status: "ok", "failed", or for a damaged video "truncated" or "corrupt"; a video of which
            only a part was asked for is "ok".
        num_detections: Boxes found, over all frames of a video.
        num_frames: 1 for an image, frames read for a video.
        output: The annotated file relative to the folder, or "".
        error: Why it failed, or "".
    """

    source: str
    kind: Literal["image", "video"]
    status: str
    num_detections: int
    num_frames: int
    output: str = ""
    error: str = ""


@dataclass(slots=True)
class FolderReport:
    """What `detect_to_folder` did so far.

    Attributes:
        folder: Where everything lies.
        outcomes: One entry per input that is done, in order.
        detections_by_class: Number of boxes by class name.
        num_pictures: Images and frames that went through the detector.
        elapsed_s: Wall time in seconds.
        is_complete: False when it was interrupted.
    """

    folder: Path
    outcomes: list[InputOutcome] = field(default_factory=list)
    detections_by_class: Counter[str] = field(default_factory=Counter)
    num_pictures: int = 0
    elapsed_s: float = 0.0
    is_complete: bool = False

    @property
    def failed(self) -> list[InputOutcome]:
        """The inputs that failed or were damaged."""
        return [outcome for outcome in self.outcomes if outcome.status != "ok"]


async def detect_to_folder(
    detector: AsyncDetector,
    inputs: Inputs,
    folder: str | os.PathLike[str],
    *,
    settings: SettingsOptions | None = None,
    track: bool = False,
    max_frames: int | None = None,
    max_seconds: float | None = None,
    facts: Mapping[str, Any] | None = None,
    on_progress: Callable[[str, int], None] | None = None,
    progress: bool = False,
) -> FolderReport:
    """Detect in images and videos and write tables and annotated copies.

    The folder then holds `detections.csv` (a row per box), `images.csv` (a row per input, those
    with no detection or an error included), `annotated/` and `summary.json`. When cancelled,
    what is done so far is written before the cancellation goes on.

    Args:
        detector: Stays open.
        inputs: From `sort_inputs`.
        folder: Made if it is not there; files of the same names are replaced, others stay.
        settings: Per-call settings of the detector.
        track: Number the objects of videos; see `detect_video`.
        max_frames: Of each video; see `detect_video`.
        max_seconds: Of each video; see `detect_video`.
        facts: What else `summary.json` shall say, such as the model.
        on_progress: Called with a source and the number of its pictures that were just done.
        progress: Whether to show a bar: images and frames per second, those that failed, and the
            time left where there are no videos.

    Raises:
        VideoWriteError: If the folder cannot be written.
    """
    report = FolderReport(Path(folder))
    total = None if inputs.videos else len(inputs.images)
    of_videos = {"track": track, "max_frames": max_frames, "max_seconds": max_seconds}
    started = time.perf_counter()
    table = CsvSink(report.folder / "detections.csv")
    try:
        (report.folder / "annotated").mkdir(exist_ok=True)
        with shown_if(progress, total, "pictures") as bar:
            tell = on_progress or _ignore
            job = _Job(detector, report, settings or {}, of_videos, tell, bar)
            job.missing(inputs.missing)
            await job.images(inputs.images, table)
            for video in inputs.videos:
                await job.video(video, table)
        report.is_complete = True
    finally:
        report.elapsed_s = time.perf_counter() - started
        table.close()
        _write_outcomes(report)
        _write_summary(report, facts or {})
    return report


def _ignore(source: str, num_pictures: int) -> None:
    """No progress wanted."""


class _Job:
    """One run of `detect_to_folder`."""

    def __init__(
        self,
        detector: AsyncDetector,
        report: FolderReport,
        settings: SettingsOptions,
        of_videos: Mapping[str, Any],
        on_progress: Callable[[str, int], None],
        bar: Progress | NoProgress,
    ) -> None:
        self._detector = detector
        self._report = report
        self._settings: dict[str, Any] = dict(settings)
        self._video_options = {**self._settings, **of_videos}
        self._on_progress, self._bar = on_progress, bar
        self._names = OutputNames(report.folder / "annotated")

    def missing(self, sources: Iterable[tuple[str, str]]) -> None:
        for source, reason in sources:
            self._add(InputOutcome(source, "image", "failed", 0, 0, error=reason))

    async def images(self, paths: list[str], table: TableSink) -> None:
        run: Any = detect_images(self._detector, paths, keep_images=True, **self._settings)
        async with OneAtATime() as writer:
            async for record in run:
                output = ""
                if record.result is not None:
                    target = self._names.take(record.source, picture_suffix(record.source))
                    output = self._relative(target)
                    self._count(record.result)
                    table.write(record.result, source=record.source)
                    await writer.do(_save_annotated, target, record.image, record.result)
                self._add(_image_outcome(record, output))
                self._bar.add(failed=record.failure is not None)
                self._on_progress(record.source, 1)

    async def video(self, name: str, table: TableSink) -> None:
        path = without_credentials(name)
        target = self._names.take(path, ".mp4")
        num_boxes = num_frames = 0

        def on_frame(frame: Frame, outcome: DetectionResult | ItemFailure) -> None:
            nonlocal num_boxes, num_frames
            num_frames += 1
            if isinstance(outcome, DetectionResult):
                num_boxes += len(outcome)
                self._count(outcome)
                table.write(
                    outcome,
                    source=frame.source_id,
                    frame_index=frame.frame_index,
                    pts_seconds=frame.pts_seconds,
                )
            self._bar.add(failed=isinstance(outcome, ItemFailure))
            self._on_progress(path, 1)

        try:
            done = await annotate_video(
                self._detector, name, target, on_frame=on_frame, **self._video_options
            )
        except DetkitError as error:
            self._add(
                InputOutcome(path, "video", "failed", num_boxes, num_frames, error=describe(error))
            )
            return
        is_whole = done.status in ("complete", "interrupted")  # the latter by a limit
        status: str = "ok" if is_whole else done.status
        error_text = ""
        if not is_whole:
            error_text = f"{done.num_frames} of {done.expected_frames or '?'} frames could be read"
        if done.num_failed:
            status, error_text = "failed", f"the detector failed on {done.num_failed} frames"
        self._add(
            InputOutcome(
                path, "video", status, num_boxes, num_frames, self._relative(target), error_text
            )
        )

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._report.folder).as_posix()

    def _add(self, outcome: InputOutcome) -> None:
        self._report.outcomes.append(outcome)

    def _count(self, result: DetectionResult) -> None:
        self._report.num_pictures += 1
        self._report.detections_by_class.update(result.names)


def _image_outcome(record: ImageRecord, output: str) -> InputOutcome:
    if record.failure is not None:
        error = describe(record.failure.exception)
        return InputOutcome(record.source, "image", "failed", 0, 0, error=error)
    num = 0 if record.result is None else len(record.result)
    return InputOutcome(record.source, "image", "ok", num, 1, output)


def _save_annotated(path: Path, image: RGBImage, result: DetectionResult) -> None:
    save_picture(path, annotate(image, result))


def _write_outcomes(report: FolderReport) -> None:
    columns = [column.name for column in fields(InputOutcome)]
    with (
        replacing(report.folder / "images.csv") as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        for outcome in report.outcomes:
            values = [getattr(outcome, name) for name in columns]
            writer.writerow([cell(v) if isinstance(v, str) else v for v in values])


def _write_summary(report: FolderReport, facts: Mapping[str, Any]) -> None:
    pictures_per_s = report.num_pictures / report.elapsed_s if report.elapsed_s else 0.0
    summary = {
        **facts,
        "status": "complete" if report.is_complete else "interrupted",
        "inputs": len(report.outcomes),
        "failed": len(report.failed),
        "images_and_frames": report.num_pictures,
        "detections": report.detections_by_class.total(),
        "detections_by_class": dict(report.detections_by_class.most_common()),
        "elapsed_s": round(report.elapsed_s, 3),
        "per_second": round(pictures_per_s, 2),
        "failures": [{"source": o.source, "error": o.error or o.status} for o in report.failed],
    }
    text = storable(json.dumps(summary, indent=2, ensure_ascii=False))
    with replacing(report.folder / "summary.json") as partial:
        partial.write_text(text + "\n", "utf-8")
