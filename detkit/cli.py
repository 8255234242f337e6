"""The `detkit` command: reads arguments, shows progress, turns errors into one line each.

Owns words, tables and exit codes; every job is done elsewhere and imported when it is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from detkit.terminal import console, plain, plain_lines, progress, show_demo, show_report

if TYPE_CHECKING:
    from rich.console import Console

    from detkit.detection import YOLOv8Detector
    from detkit.errors import ItemFailure
    from detkit.pipeline import FolderReport, VideoSummary
    from detkit.results import DetectionResult
    from detkit.video import Frame, VideoSource

SAMPLE_MODEL = "sample"
DEFAULT_MODEL = "yolov8n.pt"

app = typer.Typer(
    name="detkit",
    help="Find objects in images and videos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help=f"A .pt or .onnx file, the name of an official model, or '{SAMPLE_MODEL}' for the "
        "small one inside detkit.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")]


def main() -> None:
    """Run the command; errors that detkit foresees end it with one line and exit code 1."""
    from detkit.errors import DetkitError

    try:
        app()
    except DetkitError as error:
        _fail(str(error))


@app.callback(invoke_without_command=True)
def _top(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if show_version:
        from detkit import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("detkit-demo"),
) -> None:
    """Try every way of detecting on this machine, with a model that comes with detkit."""
    from detkit.demo import run_demo

    screen = console()
    with screen.status("starting") as status, _errors_in_one_line():
        report = asyncio.run(run_demo(out, say=lambda line: status.update(line)))
    show_demo(screen, report)
    if not report.is_good:
        raise typer.Exit(1)


@app.command()
def detect(
    sources: Annotated[
        list[str], typer.Argument(help="Images, videos, folders or patterns like 'a/**/*.jpg'.")
    ],
    model: ModelOption = DEFAULT_MODEL,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("detkit-out"),
    confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Keep detections of at least this score.")
    ] = 0.25,
    device: DeviceOption = "cpu",
) -> None:
    """Detect objects in your own images, folders and videos."""
    from detkit.pipeline import sort_inputs

    screen = console()
    inputs = sort_inputs(sources, out)
    if not inputs.images and not inputs.videos:
        _fail("; ".join(reason for _, reason in inputs.missing) or "there is nothing to do")
    with screen.status(f"loading {model}"), _errors_in_one_line():
        detector = _load(model, device)
    screen.print(
        f"{plain(repr(detector))}: {len(inputs.images)} images, {len(inputs.videos)} videos",
        soft_wrap=True,
    )
    report = _run_detect(screen, detector, inputs, out, confidence)
    show_report(screen, report)
    if report.failed:
        raise typer.Exit(1)


@app.command()
def video(
    source: Annotated[str, typer.Argument(help="A video file.")],
    out: Annotated[Path, typer.Option(help="The video to write: .mp4, .mov or .mkv.")] = Path(
        "annotated.mp4"
    ),
    model: ModelOption = DEFAULT_MODEL,
    confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Keep detections of at least this score.")
    ] = 0.25,
    device: DeviceOption = "cpu",
    stride: Annotated[int, typer.Option(min=1, help="Take every so many frames only.")] = 1,
    table: Annotated[
        Path | None, typer.Option(help="Also write the boxes: .csv, .jsonl or .parquet.")
    ] = None,
) -> None:
    """Write a video again with its detections drawn in."""
    from detkit.video import VideoSource

    screen = console()
    with _errors_in_one_line():
        opened = VideoSource(source)
        if out.absolute() == opened.path.absolute():
            _fail(f"{out} is the video itself; give another name with --out")
        with screen.status(f"loading {plain(model)}"):
            detector = _load(model, device)
        screen.print(plain(repr(detector)), soft_wrap=True)
        done = _run_video(screen, detector, opened, out, table, stride, confidence)
    rate = f"{done.frames_per_second:.1f} frames/s"
    screen.print(
        f"{done.num_frames} frames, {done.num_detections} detections, {rate}: "
        f"{plain(str(done.output))}",
        soft_wrap=True,
    )
    if done.num_failed:
        _fail(f"the detector failed on {done.num_failed} frames; they have no boxes")
    if done.status != "complete":
        _fail(f"{source} is {done.status}: {opened.num_frames} frames could be read")


@app.command()
def doctor() -> None:
    """Show versions, devices, runtimes and what is switched off."""
    from rich.table import Table

    from detkit.doctor import examine

    screen = console()
    with screen.status("looking"):
        findings = examine()
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "", "detail"):
        table.add_column(heading, overflow="fold")
    colors = {"ok": "green", "off": "dim", "missing": "red", "broken": "red"}
    topic = ""
    for finding in findings:
        shown = finding.topic if finding.topic != topic else ""
        topic = finding.topic
        verdict = f"[{colors[finding.verdict]}]{finding.verdict}[/]"
        table.add_row(shown, plain(finding.name), verdict, plain(finding.detail))
    screen.print(table)
    if any(finding.verdict in ("missing", "broken") for finding in findings):
        raise typer.Exit(1)


# -- doing ------------------------------------------------------------------------------------


def _load(model: str, device: str) -> YOLOv8Detector:
    from detkit.detection import YOLOv8Detector
    from detkit.errors import ModelNotFoundError
    from detkit.samples import sample_detector

    if model == SAMPLE_MODEL:
        return sample_detector(device=device)
    detector = YOLOv8Detector()
    try:
        detector.load_model(model, device)
    except ModelNotFoundError as error:
        _fail(
            f"{error}\nOr take `--model {SAMPLE_MODEL}`, the model that comes "
            "with detkit; it knows machine parts only."
        )
    return detector


def _run_detect(
    screen: Console, detector: YOLOv8Detector, inputs: Any, out: Path, confidence: float
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
        with _errors_in_one_line():
            return asyncio.run(job())
    except KeyboardInterrupt:
        _fail(f"interrupted; what was done is in {out}", code=130)


def _run_video(
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
        _fail(f"interrupted; what was done is in {partial}", code=130)


def _num_pictures(inputs: Any) -> int:
    """Images and frames together, as far as the files announce them."""
    from detkit.errors import VideoError
    from detkit.video import VideoSource

    total = len(inputs.images)
    for video in inputs.videos:
        with contextlib.suppress(VideoError):  # It fails again when its turn comes, and is told.
            total += VideoSource(video).expected_frames or 0
    return total


@contextlib.contextmanager
def _errors_in_one_line() -> Iterator[None]:
    from detkit.errors import DetkitError

    try:
        yield
    except DetkitError as error:
        _fail(str(error))


def _fail(message: str, code: int = 1) -> NoReturn:
    console(stderr=True).print(f"[red]detkit:[/] {plain_lines(message)}", soft_wrap=True)
    raise typer.Exit(code)
