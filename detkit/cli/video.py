"""`detkit video`: one video in, the same with its detections drawn in out."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detkit.cli import models
from detkit.cli.ending import errors_in_one_line, fail
from detkit.terminal import console, plain, progress

if TYPE_CHECKING:
    from rich.console import Console

    from detkit.detection import YOLOv8Detector
    from detkit.errors import ItemFailure
    from detkit.pipeline import VideoSummary
    from detkit.results import DetectionResult
    from detkit.video import Frame, VideoSource


def command(
    source: Annotated[str, typer.Argument(help="A video file.")],
    out: Annotated[Path, typer.Option(help="The video to write: .mp4, .mov or .mkv.")] = Path(
        "annotated.mp4"
    ),
    model: models.ModelOption = models.DEFAULT_MODEL,
    confidence: models.ConfidenceOption = 0.25,
    device: models.DeviceOption = "cpu",
    stride: Annotated[int, typer.Option(min=1, help="Take every so many frames only.")] = 1,
    table: Annotated[
        Path | None, typer.Option(help="Also write the boxes: .csv, .jsonl or .parquet.")
    ] = None,
) -> None:
    """Write a video again with its detections drawn in."""
    from detkit.video import VideoSource

    screen = console()
    with errors_in_one_line():
        opened = VideoSource(source)
        if out.absolute() == opened.path.absolute():
            fail(f"{out} is the video itself; give another name with --out")
        with screen.status(f"loading {plain(model)}") as status:
            detector = models.load(model, device, lambda text: status.update(plain(text)))
        screen.print(plain(repr(detector)), soft_wrap=True)
        done = _run(screen, detector, opened, out, table, stride, confidence)
    rate = f"{done.frames_per_second:.1f} frames/s"
    screen.print(
        f"{done.num_frames} frames, {done.num_detections} detections, {rate}: "
        f"{plain(str(done.output))}",
        soft_wrap=True,
    )
    if done.num_failed:
        fail(f"the detector failed on {done.num_failed} frames; they have no boxes")
    if done.status != "complete":
        fail(f"{source} is {done.status}: {opened.num_frames} frames could be read")


def _run(
    screen: Console,
    detector: YOLOv8Detector,
    source: VideoSource,
    out: Path,
    table_path: Path | None,
    stride: int,
    confidence: float,
) -> VideoSummary:
    from detkit.api.async_detector import AsyncDetector
    from detkit.pipeline import annotate_video
    from detkit.results import DetectionResult
    from detkit.video import open_table

    async def job() -> VideoSummary:
        with contextlib.ExitStack() as stack:
            table = None if table_path is None else stack.enter_context(open_table(table_path))
            total = -(-(source.expected_frames or 0) // stride)
            advance = stack.enter_context(progress(screen, total))

            def on_frame(frame: Frame, outcome: DetectionResult | ItemFailure) -> None:
                advance(source.source_id, 1)
                if table is not None and isinstance(outcome, DetectionResult):
                    table.write(
                        outcome,
                        source=frame.source_id,
                        frame_index=frame.frame_index,
                        pts_seconds=frame.pts_seconds,
                    )

            async with AsyncDetector(detector) as engine:
                return await annotate_video(
                    engine,
                    source,
                    out,
                    stride=stride,
                    on_frame=on_frame,
                    confidence_threshold=confidence,
                )

    try:
        return asyncio.run(job())
    except KeyboardInterrupt:
        partial = out.with_name(f"{out.stem}.partial{out.suffix}")
        fail(f"interrupted; what was done is in {partial}", code=130)
