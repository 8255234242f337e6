"""The specification's five comparisons, on the embedded model or one of your own.

    python benchmarks/async_benchmark.py [--model yolov8n.pt] [--images 48] [--rounds 5]

Synchronous detection, concurrent `detect_async`, `detect_batch` with several batch sizes, video
streaming, and several worker counts. The results of every way are verified to be the same before
anything is timed; contestants take turns within each round. Prints tables and writes
`benchmarks/results/async_benchmark.json`; with `--model`, its name is added to that of the file.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measurement import Timing, interleave, print_table, write_results
from detkit import AsyncDetector, DetectionResult, YOLOv8Detector, detect_multiple_async
from detkit.samples import clip, sample_detector, scene

BATCH_SIZES = (1, 4, 8, 16, 32)
WORKER_COUNTS = (1, 2, 4, 8)
Results = list[DetectionResult]


def load(model: str | None) -> YOLOv8Detector:
    """The detector to measure."""
    if model is None:
        return sample_detector()
    detector = YOLOv8Detector()
    detector.load_model(model, device="cpu")
    return detector


def ways(
    detector: YOLOv8Detector, images: Sequence[np.ndarray]
) -> dict[str, Callable[[], Results]]:
    """Every way to get the same results: name and what to call."""
    engines: dict[tuple[int, int], AsyncDetector] = {}

    def engine(max_workers: int = 4, batch_size: int = 16) -> AsyncDetector:
        key = (max_workers, batch_size)
        if key not in engines:
            engines[key] = AsyncDetector(detector, max_workers, batch_size)
        return engines[key]

    def synchronous() -> Results:
        return [detector.detect(image) for image in images]

    def concurrent() -> Results:
        return asyncio.run(detect_multiple_async(engine(), images))

    def batch(size: int) -> Callable[[], Results]:
        return lambda: engine().detect_batch(images, batch_size=size)

    def workers(count: int) -> Callable[[], Results]:
        return lambda: engine(max_workers=count).detect_batch(images)

    return {
        "synchronous loop": synchronous,
        "concurrent detect_async": concurrent,
        **{f"detect_batch, batch_size={size}": batch(size) for size in BATCH_SIZES},
        **{f"detect_batch, max_workers={count}": workers(count) for count in WORKER_COUNTS},
    }


def video_ways(
    detector: YOLOv8Detector, frames: Sequence[np.ndarray]
) -> dict[str, Callable[[], Results]]:
    """Frames one by one as the specification's example awaits them, and as a stream."""
    engine = AsyncDetector(detector, max_workers=4, default_batch_size=4)

    async def awaited() -> Results:
        return [await engine.detect_async(frame) for frame in frames]

    async def streamed() -> Results:
        return [result async for result in engine.stream(frames)]

    return {
        "video: loop": lambda: [detector.detect(frame) for frame in frames],
        "video: await each frame": lambda: asyncio.run(awaited()),
        "video: stream": lambda: asyncio.run(streamed()),
    }


def verify(contestants: dict[str, Callable[[], Results]]) -> None:
    """Refuse to time ways that do not agree.

    Raises:
        SystemExit: If one gives other boxes than the first.
    """
    (first, *others) = contestants.items()
    truth = first[1]()
    for name, work in others:
        for mine, theirs in zip(work(), truth, strict=True):
            same = len(mine) == len(theirs) and np.allclose(mine.boxes, theirs.boxes, atol=0.01)
            if not same:
                raise SystemExit(f"{name!r} disagrees with {first[0]!r}: not timed")


def time_all(contestants: dict[str, Callable[[], Results]], rounds: int) -> dict[str, Timing]:
    """Verify, then let them take turns."""
    verify(contestants)
    timed = {name: lambda work=work: len(work()) for name, work in contestants.items()}
    return interleave(timed, rounds)


def report(title: str, timings: dict[str, Timing]) -> None:
    """Print one table; the first contestant is what the others are compared with."""
    base = next(iter(timings.values()))
    rows = [
        (name, f"{t.per_second:.1f}", f"{1000 / t.per_second:.1f}", f"{t.speedup_over(base):.2f}x")
        for name, t in timings.items()
    ]
    print_table(title, ("way", "images/s", "ms/image", "speed-up"), rows)


def main() -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="weights to use instead of the embedded model")
    parser.add_argument("--images", type=int, default=48, help="images and frames per round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    detector = load(arguments.model)
    images = [scene(seed)[0] for seed in range(90_000, 90_000 + arguments.images)]
    frames = [frame for frame, _ in clip(90_000, arguments.images)]
    stills = time_all(ways(detector, images), arguments.rounds)
    video = time_all(video_ways(detector, frames), arguments.rounds)

    report(f"{detector!r}, {len(images)} images of 1280 x 720, median of rounds", stills)
    report("video frames of 1280 x 720", video)
    timings = {**stills, **video}
    name = f"async_benchmark_{Path(arguments.model).stem}" if arguments.model else "async_benchmark"
    path = write_results(
        name,
        {
            "detector": repr(detector),
            "contestants": {name: timing.as_json() for name, timing in timings.items()},
            "speedup_over_loop": {
                name: round(t.speedup_over(stills["synchronous loop"]), 3)
                for name, t in stills.items()
            },
        },
    )
    print(f"\nwritten to {path.name}")


if __name__ == "__main__":
    main()
