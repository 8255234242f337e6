"""`detect_to_folder`: everything a user named, through a detector, into one folder.

Owns the layout of that folder: tables, annotated pictures and videos, a summary. Knows nothing of
terminals or notebooks; progress is told to a callback. What a killed run leaves is `journal.py`'s.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit.addresses import without_credentials
from detkit.drawing import annotate
from detkit.errors import DetkitError, ItemFailure, describe
from detkit.images import RGBImage
from detkit.pipeline.annotated import annotate_video
from detkit.pipeline.background import OneAtATime
from detkit.pipeline.folder_report import (
    FolderReport,
    InputOutcome,
    write_outcomes,
    write_summary,
)
from detkit.pipeline.image_feed import ImageRecord
from detkit.pipeline.images import detect_images
from detkit.pipeline.inputs import Inputs
from detkit.pipeline.journal import Journal, identity
from detkit.pipeline.outputs import OutputNames, picture_suffix
from detkit.progress import NoProgress, Progress, shown_if
from detkit.results import DetectionResult
from detkit.video.frames import Frame
from detkit.video.picture_folder import save_picture
from detkit.video.table_sink import Place, TableSink
from detkit.video.tables import CsvSink

if TYPE_CHECKING:
    from detkit.api.async_detector import AsyncDetector, SettingsOptions


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
    resume: bool = False,
    on_progress: Callable[[str, int], None] | None = None,
    progress: bool = False,
) -> FolderReport:
    """Detect in images and videos and write tables and annotated copies.

    The folder then holds `detections.csv` (a row per box), `images.csv` (a row per input, those
    with no detection or an error included), `annotated/`, `summary.json` and `journal.jsonl`. When
    cancelled, what is done so far is written before the cancellation goes on.

    Args:
        detector: Stays open.
        inputs: From `sort_inputs`.
        folder: Made if it is not there; files of the same names are replaced, others stay.
        settings: Per-call settings of the detector.
        track: Number the objects of videos; see `detect_video`.
        max_frames: Of each video; see `detect_video`.
        max_seconds: Of each video; see `detect_video`.
        facts: What else `summary.json` shall say, such as the model.
        resume: Go on from what an earlier run has done in this folder, whatever ended it: inputs
            that it finished, and that have not changed, are in the tables again, first, without
            being detected in. Those that failed are tried again. Detector, settings and `facts`
            must be the same.
        on_progress: Called with a source and the number of its pictures that were just done.
        progress: Whether to show a bar: images and frames per second, those that failed, and the
            time left where there are no videos.

    Raises:
        VideoWriteError: If the folder cannot be written.
        UnsupportedSettingError: If the run to resume was asked for something else.
    """
    report = FolderReport(Path(folder))
    total = None if inputs.videos else len(inputs.images)
    of_videos = {"track": track, "max_frames": max_frames, "max_seconds": max_seconds}
    started = time.perf_counter()
    asked = {**(facts or {}), **(settings or {}), **of_videos, **identity(detector.detector)}
    journal = Journal(report.folder, asked, resume=resume)
    table = CsvSink(report.folder / "detections.csv")
    try:
        (report.folder / "annotated").mkdir(exist_ok=True)
        with shown_if(progress, total, "pictures") as bar:
            tell = on_progress or _ignore
            job = _Job(detector, report, settings or {}, of_videos, tell, bar, table, journal)
            done = job.done_before()
            job.missing(inputs.missing)
            await job.images([path for path in inputs.images if path not in done])
            for video in inputs.videos:
                if without_credentials(video) not in done:
                    await job.video(video)
        report.is_complete = True
    finally:
        report.elapsed_s = time.perf_counter() - started
        journal.close()
        table.close()
        write_outcomes(report)
        write_summary(report, facts or {})
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
        table: TableSink,
        journal: Journal,
    ) -> None:
        self._detector = detector
        self._report = report
        self._settings: dict[str, Any] = dict(settings)
        self._video_options = {**self._settings, **of_videos}
        self._on_progress, self._bar = on_progress, bar
        self._table, self._journal = table, journal
        self._names = OutputNames(report.folder / "annotated")

    def done_before(self) -> frozenset[str]:
        """Take over what an earlier run has done; the names of these inputs."""
        sources = set()
        for outcome, found in self._journal.begin():
            for place, result in found:
                self._table.write(result, **place._asdict())
                self._count(result)
            self._report.num_before += len(found)
            self._report.outcomes.append(outcome)
            self._names.reserve(Path(outcome.output).name)
            sources.add(outcome.source)
        return frozenset(sources)

    def missing(self, sources: Iterable[tuple[str, str]]) -> None:
        for source, reason in sources:
            self._add(InputOutcome(source, "image", "failed", 0, 0, error=reason))

    async def images(self, paths: list[str]) -> None:
        run: Any = detect_images(self._detector, paths, keep_images=True, **self._settings)
        async with OneAtATime() as writer:
            async for record in run:
                output = ""
                if record.result is not None:
                    target = self._names.take(record.source, picture_suffix(record.source))
                    output = self._relative(target)
                    self._found(record.result, Place(record.source, None, None))
                    await writer.do(_save_annotated, target, record.image, record.result)
                self._add(_image_outcome(record, output))
                self._bar.add(failed=record.failure is not None)
                self._on_progress(record.source, 1)

    async def video(self, name: str) -> None:
        path = without_credentials(name)
        target = self._names.take(path, ".mp4")
        num_boxes = num_frames = 0

        def on_frame(frame: Frame, outcome: DetectionResult | ItemFailure) -> None:
            nonlocal num_boxes, num_frames
            num_frames += 1
            if isinstance(outcome, DetectionResult):
                num_boxes += len(outcome)
                place = Place(frame.source_id, frame.frame_index, frame.pts_seconds)
                self._found(outcome, place)
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
        self._journal.finish(outcome)

    def _found(self, result: DetectionResult, place: Place) -> None:
        self._count(result)
        self._table.write(result, **place._asdict())
        self._journal.add(place, result)

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
