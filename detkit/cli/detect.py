"""`detkit detect`: images, folders and videos into tables and annotated copies."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detkit.cli import models
from detkit.cli.ending import errors_in_one_line, fail
from detkit.terminal import console, plain, progress, show_report

if TYPE_CHECKING:
    from rich.console import Console

    from detkit.detection import YOLOv8Detector
    from detkit.pipeline import FolderReport, Inputs
    from detkit.pipeline.video_run import Limits


def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Images, videos, folders, patterns like 'a/**/*.jpg', addresses (rtsp, http), "
            "numbers of cameras."
        ),
    ],
    model: models.ModelOption = models.DEFAULT_MODEL,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("detkit-out"),
    confidence: models.ConfidenceOption = 0.25,
    device: models.DeviceOption = "cpu",
    track: models.TrackOption = False,
    max_frames: models.MaxFramesOption = None,
    seconds: models.SecondsOption = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where an earlier run into the same folder ended."),
    ] = False,
) -> None:
    """Detect objects in your own images, folders, videos, cameras and streams."""
    from detkit import __version__
    from detkit.pipeline import sort_inputs

    screen = console()
    inputs = sort_inputs(sources, out)
    if not inputs.images and not inputs.videos:
        fail("; ".join(reason for _, reason in inputs.missing) or "there is nothing to do")
    with screen.status(f"loading {plain(model)}") as status, errors_in_one_line():
        detector = models.load(model, device, lambda text: status.update(plain(text)))
    screen.print(
        f"{plain(repr(detector))}: {len(inputs.images)} images, {len(inputs.videos)} videos",
        soft_wrap=True,
    )
    options = {"track": track, "max_frames": max_frames, "max_seconds": seconds, "resume": resume}
    facts = {"detkit": __version__, "detector": repr(detector), "confidence_threshold": confidence}
    with errors_in_one_line():
        report = _run(screen, detector, inputs, out, facts, options)
    show_report(screen, report)
    if report.failed:
        raise typer.Exit(1)


def _run(
    screen: Console,
    detector: YOLOv8Detector,
    inputs: Inputs,
    out: Path,
    facts: dict[str, Any],
    options: dict[str, Any],
) -> FolderReport:
    from detkit.api.async_detector import AsyncDetector
    from detkit.pipeline import detect_to_folder
    from detkit.pipeline.video_run import Limits

    limits = Limits(options["max_frames"], options["max_seconds"])
    rest = _not_done(inputs, out) if options["resume"] else inputs

    async def job() -> FolderReport:
        with progress(screen, _num_pictures(rest, limits)) as advance:
            async with AsyncDetector(detector) as engine:
                return await detect_to_folder(
                    engine,
                    inputs,
                    out,
                    settings={"confidence_threshold": facts["confidence_threshold"]},
                    facts=facts,
                    **options,
                    on_progress=advance,
                )

    try:
        return asyncio.run(job())
    except KeyboardInterrupt:
        fail(f"interrupted; what was done is in {out}, and --resume goes on from there", code=130)


def _not_done(inputs: Inputs, out: Path) -> Inputs:
    """What is left to do, for the bar."""
    from detkit.pipeline.inputs import Inputs
    from detkit.pipeline.journal import done_before

    done = done_before(out)
    images = [name for name in inputs.images if name not in done]
    videos = [name for name in inputs.videos if name not in done]
    return Inputs(images, videos, inputs.missing)


def _num_pictures(inputs: Inputs, limits: Limits) -> int | None:
    """Images and frames together, as far as the files announce them; `None` with a live source."""
    from detkit.errors import DetkitError
    from detkit.pipeline import open_source

    total = len(inputs.images)
    for video in inputs.videos:
        with contextlib.suppress(DetkitError):  # It fails again when its turn comes, and is told.
            source = open_source(video)
            expected = limits.num_expected(source, 1)
            if expected is None and source.is_live:
                return None
            total += expected or 0
    return total
