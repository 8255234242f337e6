"""`detkit video`: frames from anywhere in, the same with their detections drawn in out."""

from __future__ import annotations

import asyncio
import contextlib
import signal
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
    from detkit.video import Frame, FrameLedger, FrameSource

_WHY_DROPPED = {
    "stride": "left out by --stride",
    "newer": "overtaken by newer ones",
    "age": "too old",
    "left": "left behind at the end",
}


class Policy(str, Enum):
    """What becomes of frames that come faster than they are detected."""

    every = "every"
    latest = "latest"


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="A video file, an address (rtsp, rtsps, http, https), the number of a camera, a "
            "folder of pictures, or a pattern like 'frames/*.png'."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="The video to write: .mp4, .mov or .mkv; without an ending, a folder of pictures."
        ),
    ] = Path("annotated.mp4"),
    model: models.ModelOption = models.DEFAULT_MODEL,
    confidence: models.ConfidenceOption = 0.25,
    device: models.DeviceOption = "cpu",
    track: models.TrackOption = False,
    policy: Annotated[
        Policy | None,
        typer.Option(
            help="every: lose no frame; latest: the newest frame wins, as is usual for cameras and "
            "addresses."
        ),
    ] = None,
    max_age: Annotated[
        float | None, typer.Option(min=0.0, help="Drop frames older than so many seconds.")
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Take every so many frames only.")] = 1,
    max_frames: models.MaxFramesOption = None,
    seconds: models.SecondsOption = None,
    audio: Annotated[bool, typer.Option("--audio", help="Copy the sound.")] = False,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Also write the boxes: .csv, .jsonl, .parquet, .json (COCO) or .txt (MOT)."
        ),
    ] = None,
) -> None:
    """Write a video again with its detections drawn in.

    A camera or an address runs until --seconds, --max-frames or Ctrl-C end
    it; the video is then finished. When Ctrl-C ends anything else, what was
    done stays under a name with .partial.
    """
    from detkit.pipeline import open_source

    options = {
        "confidence_threshold": confidence,
        "track": track,
        "policy": None if policy is None else policy.value,
        "max_age_s": max_age,
        "stride": stride,
        "max_frames": max_frames,
        "max_seconds": seconds,
        "keep_audio": audio,
    }
    screen = console()
    with errors_in_one_line():
        opened = open_source(source)
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
    if opened.is_live or {"newer", "age"} & done.ledger.dropped.keys():
        screen.print(plain(_fates(done.ledger)), soft_wrap=True)
    if done.num_failed:
        fail(f"the detector failed on {done.num_failed} frames; they have no boxes")
    if done.status in ("truncated", "corrupt"):
        read = f"{done.ledger.captured} frames could be read"
        fail(f"{done.source or 'the source'} is {done.status}: {read}")


def _run(
    screen: Console,
    detector: YOLOv8Detector,
    source: FrameSource,
    out: Path,
    table_path: Path | None,
    options: dict[str, Any],
) -> VideoSummary:
    from detkit.api.async_detector import AsyncDetector
    from detkit.errors import StreamLostError
    from detkit.pipeline import annotate_video
    from detkit.pipeline.video_run import Limits
    from detkit.results import DetectionResult
    from detkit.video import open_table

    limits = Limits(options["max_frames"], options["max_seconds"])

    async def job() -> VideoSummary:
        with contextlib.ExitStack() as stack:
            if source.is_live:
                _end_at_interrupt(source)
            table = None if table_path is None else stack.enter_context(open_table(table_path))
            total = limits.num_expected(source, options["stride"])
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
        fail(f"interrupted; {_what_is_left(out, table_path)}", code=130)
    except StreamLostError as error:
        fail(f"{error}; {_what_is_left(out, table_path)}")


def _end_at_interrupt(source: FrameSource) -> None:
    """Let Ctrl-C end a live source, so that what was written is finished; a second one breaks."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        source.close()

    with contextlib.suppress(NotImplementedError):  # Windows
        loop.add_signal_handler(signal.SIGINT, end)


def _what_is_left(*paths: Path | None) -> str:
    from detkit.video.writing import partial_name

    kept = [partial_name(path) for path in paths if path is not None]
    return "what was done is in " + (
        " and ".join(str(path) for path in kept if path.exists()) or "nowhere"
    )


def _fates(ledger: FrameLedger) -> str:
    """One line on what became of the frames."""
    counts = ledger.summary()
    dropped = ", ".join(f"{num} {_WHY_DROPPED[reason]}" for reason, num in ledger.dropped.items())
    line = f"{ledger.captured} frames read, {ledger.detected} detected"
    line += f", dropped: {dropped}" if dropped else ""
    if counts["reconnects"]:
        line += f"; connected again {counts['reconnects']} times, {counts['gap_s']:.1f} s missing"
    if counts["age_p95_s"] is not None:
        line += f"; age of a frame when detected: {1e3 * counts['age_p95_s']:.0f} ms at most (95 %)"
    return line
