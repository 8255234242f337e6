"""`detkit video`: one video in, the same with its detections drawn in out."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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


class Policy(str, Enum):
    """What becomes of frames that come faster than they are detected."""

    every = "every"
    latest = "latest"


def command(
    source: Annotated[str, typer.Argument(help="A video file.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The video to write: .mp4, .mov or .mkv; without an ending, a folder of pictures."
        ),
    ] = Path("annotated.mp4"),
    model: models.ModelOption = models.DEFAULT_MODEL,
    confidence: models.ConfidenceOption = 0.25,
    device: models.DeviceOption = "cpu",
    track: Annotated[
        bool, typer.Option("--track", help="Number the objects and draw where they came from.")
    ] = False,
    policy: Annotated[
        Policy, typer.Option(help="every: lose no frame; latest: the newest frame wins.")
    ] = Policy.every,
    max_age: Annotated[
        float | None, typer.Option(min=0.0, help="Drop frames older than so many seconds.")
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Take every so many frames only.")] = 1,
    audio: Annotated[bool, typer.Option("--audio", help="Copy the sound.")] = False,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Also write the boxes: .csv, .jsonl, .parquet, .json (COCO) or .txt (MOT)."
        ),
    ] = None,
) -> None:
    """Write a video again with its detections drawn in."""
    from detkit.video import VideoSource

    options = {
        "confidence_threshold": confidence,
        "track": track,
        "policy": policy.value,
        "max_age_s": max_age,
        "stride": stride,
        "keep_audio": audio,
    }
    screen = console()
    with errors_in_one_line():
        opened = VideoSource(source)
        if out.absolute() == opened.path.absolute():
            fail(f"{out} is the video itself; give another name with --out")
        with screen.status(f"loading {plain(model)}") as status:
            detector = models.load(model, device, lambda text: status.update(plain(text)))
        screen.print(plain(repr(detector)), soft_wrap=True)
        done = _run(screen, detector, opened, out, table, options)
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
    options: dict[str, Any],
) -> VideoSummary:
    from detkit.api.async_detector import AsyncDetector
    from detkit.pipeline import annotate_video
    from detkit.results import DetectionResult
    from detkit.video import open_table
    from detkit.video.writing import partial_name

    async def job() -> VideoSummary:
        with contextlib.ExitStack() as stack:
            table = None if table_path is None else stack.enter_context(open_table(table_path))
            total = -(-(source.expected_frames or 0) // options["stride"])
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
                return await annotate_video(engine, source, out, on_frame=on_frame, **options)

    try:
        return asyncio.run(job())
    except KeyboardInterrupt:
        kept = [partial_name(path) for path in (out, table_path) if path is not None]
        done = " and ".join(str(path) for path in kept if path.exists()) or "nowhere"
        fail(f"interrupted; what was done is in {done}", code=130)
