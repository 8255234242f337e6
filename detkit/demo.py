"""`detkit demo`: every way of detecting, tried on this machine and held against the truth.

Owns the story of the demo and its four files. Knows nothing of terminals.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from detkit.api.async_detector import AsyncDetector
from detkit.boxes import Agreement, agreement
from detkit.images import RGBImage
from detkit.pipeline import annotate_video, detect_video
from detkit.results import DetectionResult
from detkit.video.sinks import VideoSink
from detkit.video.tables import CsvSink
from detkit.video.writing import replacing, write_errors

if TYPE_CHECKING:
    from detkit.detection import YOLOv8Detector

NUM_IMAGES = 24
NUM_CONCURRENT = 64
NUM_FRAMES = 75
CLIP_FPS = 25
_GRID_IMAGES = 9
# The sample model reaches more on scenes it has not seen; less means that something is broken.
PASSING_F1 = 0.8
_NOTHING = Agreement(0, 0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class Way:
    """One way of detecting, and how fast it was here.

    Attributes:
        name: As a user would write it.
        num_images: How many images it detected.
        elapsed_s: Wall time in seconds.
    """

    name: str
    num_images: int
    elapsed_s: float

    @property
    def images_per_s(self) -> float:
        """Images per second."""
        return self.num_images / self.elapsed_s if self.elapsed_s else 0.0


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What `run_demo` found.

    Attributes:
        folder: Where the four files lie.
        detector: The model and what runs it.
        ways: The plain loop first, then what is compared with it.
        found: Number of boxes by class name, in the sample images.
        truth: Number of true objects by class name.
        images_score: Agreement with the truth, images.
        clip_score: Agreement with the truth, clip.
        all_ways_agree: Whether every way gave the loop's boxes.
    """

    folder: Path
    detector: str
    ways: list[Way]
    found: dict[str, int]
    truth: dict[str, int]
    images_score: Agreement
    clip_score: Agreement
    all_ways_agree: bool

    @property
    def is_good(self) -> bool:
        """Whether results are right on this machine."""
        scores = (self.images_score.f1, self.clip_score.f1)
        return self.all_ways_agree and min(scores) >= PASSING_F1


async def run_demo(
    folder: str | os.PathLike[str],
    *,
    num_images: int = NUM_IMAGES,
    num_concurrent: int = NUM_CONCURRENT,
    num_frames: int = NUM_FRAMES,
    say: Callable[[str], None] = lambda line: None,
) -> DemoReport:
    """Detect the samples in every way and write what was found.

    Writes `detections.csv`, `grid.png`, `annotated.mp4` and `summary.json`.

    Args:
        folder: Made if it is not there.
        num_images: How many sample images.
        num_concurrent: How many `detect_async` calls wait at the same time.
        num_frames: Length of the clip.
        say: Told what is going on, a line at a time.

    Raises:
        ModelLoadError: If no runtime can load the sample model.
        VideoWriteError: If the folder cannot be written.
    """
    from detkit.samples import sample_detector, scene

    target = Path(folder)
    _make(target)
    say("loading the sample model")
    base = sample_detector()
    say(f"rendering {num_images} images and a clip of {num_frames} frames")
    scenes = [scene(seed) for seed in range(num_images)]
    images, truths = [image for image, _ in scenes], [truth for _, truth in scenes]

    with TemporaryDirectory(prefix="detkit-demo-") as temporary:
        clip_path = Path(temporary) / "clip.mp4"
        clip_truths = _render_clip(clip_path, num_frames)
        say("detecting")
        async with AsyncDetector(base) as detector:
            ways, outcomes = await _compare_ways(base, detector, images, num_concurrent)
            results = outcomes[0]
            clip_results = await _detect_clip(detector, clip_path, ways)
            say("writing annotated.mp4")
            video = await annotate_video(detector, clip_path, target / "annotated.mp4")
            ways.append(Way("annotate_video", video.num_frames, video.elapsed_s))
    with CsvSink(target / "detections.csv") as table:
        for index, result in enumerate(results):
            table.write(result, source=f"scene {index}")
        for index, result in enumerate(clip_results):
            when = float(result.metadata["pts_seconds"])
            table.write(result, source="clip", frame_index=index, pts_seconds=when)
    say("drawing")
    _save_grid(target / "grid.png", images[:_GRID_IMAGES], results[:_GRID_IMAGES])
    report = DemoReport(
        target,
        repr(base),
        ways,
        _count(results),
        _count(truths),
        _score(results, truths),
        _score(clip_results, clip_truths),
        all(_same(results, other) for other in outcomes[1:]),
    )
    _write_summary(report)
    return report


def _make(folder: Path) -> None:
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


async def _compare_ways(
    base: YOLOv8Detector,
    detector: AsyncDetector,
    images: Sequence[RGBImage],
    num_concurrent: int,
) -> tuple[list[Way], list[list[DetectionResult]]]:
    """Times of each way, and what each found in the images."""
    many = [images[i % len(images)] for i in range(max(num_concurrent, len(images)))]
    ways: list[Way] = []
    outcomes: list[list[DetectionResult]] = []

    def note(name: str, results: list[DetectionResult], started: float) -> None:
        ways.append(Way(name, len(results), time.perf_counter() - started))
        outcomes.append(results[: len(images)])

    # Loading the workers' own copies of the model, with the first batch, is not measured.
    base.detect(images[0])
    await detector.detect_batch_async(many)

    started = time.perf_counter()
    note("plain loop", [base.detect(image) for image in many], started)

    started = time.perf_counter()
    note("detect_batch", await asyncio.to_thread(detector.detect_batch, many), started)

    started = time.perf_counter()
    calls = (detector.detect_async(image) for image in many)
    note(f"{len(many)} × detect_async", list(await asyncio.gather(*calls)), started)
    return ways, outcomes


def _render_clip(path: Path, num_frames: int) -> list[DetectionResult]:
    """Write the sample clip as a video file, and return its truth."""
    from detkit.samples import clip

    truths = []
    with VideoSink(path, CLIP_FPS, crf=18) as sink:
        for image, truth in clip(7, num_frames, fps=CLIP_FPS):
            sink.write(image)
            truths.append(truth)
    return truths


async def _detect_clip(
    detector: AsyncDetector, path: Path, ways: list[Way]
) -> list[DetectionResult]:
    started = time.perf_counter()
    results = []
    async for _, outcome in detect_video(detector, path):
        assert isinstance(outcome, DetectionResult)  # With on_error="raise" there is no other.
        results.append(outcome)
    ways.append(Way("detect_video", len(results), time.perf_counter() - started))
    return results


def _score(results: Sequence[DetectionResult], truths: Sequence[DetectionResult]) -> Agreement:
    total = _NOTHING
    for result, truth in zip(results, truths, strict=True):
        total = total.plus(agreement(result.boxes, result.classes, truth.boxes, truth.classes))
    return total


def _same(one: Sequence[DetectionResult], other: Sequence[DetectionResult]) -> bool:
    # A batch may round a score differently: the same boxes at an overlap of 0.95 is the same.
    total = _NOTHING
    for a, b in zip(one, other, strict=False):
        total = total.plus(agreement(a.boxes, a.classes, b.boxes, b.classes, 0.95))
    return total.f1 > 0.99  # A box at the very threshold may come or go with a rounded score.


def _count(results: Sequence[DetectionResult]) -> dict[str, int]:
    return dict(Counter(name for result in results for name in result.names).most_common())


def _save_grid(path: Path, images: Sequence[RGBImage], results: Sequence[DetectionResult]) -> None:
    from detkit.notebook.grids import show_grid

    figure: Any = show_grid(images, results, columns=3)
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix.removeprefix("."), dpi=200)


def _write_summary(report: DemoReport) -> None:
    summary = {
        "detector": report.detector,
        "passed": report.is_good,
        "ways": [{**asdict(w), "images_per_s": round(w.images_per_s, 2)} for w in report.ways],
        "all_ways_agree": report.all_ways_agree,
        "found": report.found,
        "truth": report.truth,
        "f1_images": round(report.images_score.f1, 4),
        "mean_iou_images": round(report.images_score.mean_iou, 4),
        "f1_clip": round(report.clip_score.f1, 4),
    }
    with replacing(report.folder / "summary.json") as partial:
        partial.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", "utf-8")
