"""`detkit detect`: images, folders and videos into tables and annotated copies."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detkit.cli import models
from detkit.cli.ending import errors_in_one_line, fail
from detkit.terminal import console, plain, progress, show_report

if TYPE_CHECKING:
    from rich.console import Console

    from detkit.detection import YOLOv8Detector
    from detkit.pipeline import FolderReport, Inputs


def command(
    sources: Annotated[
        list[str], typer.Argument(help="Images, videos, folders or patterns like 'a/**/*.jpg'.")
    ],
    model: models.ModelOption = models.DEFAULT_MODEL,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("detkit-out"),
    confidence: models.ConfidenceOption = 0.25,
    device: models.DeviceOption = "cpu",
) -> None:
    """Detect objects in your own images, folders and videos."""
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
    report = _run(screen, detector, inputs, out, confidence)
    show_report(screen, report)
    if report.failed:
        raise typer.Exit(1)


def _run(
    screen: Console, detector: YOLOv8Detector, inputs: Inputs, out: Path, confidence: float
) -> FolderReport:
    from detkit import __version__
    from detkit.api.async_detector import AsyncDetector
    from detkit.pipeline import detect_to_folder

    facts = {"detkit": __version__, "detector": repr(detector), "confidence_threshold": confidence}

    async def job() -> FolderReport:
        with progress(screen, _num_pictures(inputs)) as advance:
            async with AsyncDetector(detector) as engine:
                return await detect_to_folder(
                    engine,
                    inputs,
                    out,
                    settings={"confidence_threshold": confidence},
                    facts=facts,
                    on_progress=advance,
                )

    try:
        with errors_in_one_line():
            return asyncio.run(job())
    except KeyboardInterrupt:
        fail(f"interrupted; what was done is in {out}", code=130)


def _num_pictures(inputs: Inputs) -> int:
    """Images and frames together, as far as the files announce them."""
    from detkit.errors import VideoError
    from detkit.video import VideoSource

    total = len(inputs.images)
    for video in inputs.videos:
        with contextlib.suppress(VideoError):  # It fails again when its turn comes, and is told.
            total += VideoSource(video).expected_frames or 0
    return total
