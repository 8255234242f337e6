"""The embedded model in every scenario: a plain loop and an `AsyncDetector`, in turns.

    python benchmarks/scenarios_benchmark.py [--seconds 30]

Files are decoded on the clock. `server` and `video` get three quarters of the rate that the loop
reached in `single_stream`. Verifies that both find the same boxes, prints a table for each and
writes `benchmarks/results/scenario_<name>.json`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measurement import RESULTS
from detkit import AsyncDetector, YOLOv8Detector, decode_image
from detkit.benchmark import BenchmarkRun, Scenario, benchmark, scenario
from detkit.benchmark.tables import remarks, run_table, stage_table
from detkit.samples import sample_detector, scene

NUM_IMAGES = 32
# A rate that a lone worker can just not keep tells nothing but how long its queue became.
_SHARE_OF_RATE = 0.75


def measured(
    detector: YOLOv8Detector, paths: list[Path], meets: Scenario, seconds: float
) -> BenchmarkRun:
    """One scenario."""
    with AsyncDetector(detector) as engine:
        contestants = {"loop": detector, "AsyncDetector": engine}
        return benchmark(contestants, paths, meets, max_seconds=seconds)


def verify(detector: YOLOv8Detector, paths: list[Path]) -> None:
    """Refuse to time what does not agree.

    Raises:
        SystemExit: If the engine finds other boxes than the loop.
    """
    images = [decode_image(path) for path in paths]
    with AsyncDetector(detector) as engine:
        if engine.detect_batch(images) != [detector.detect(image) for image in images]:
            raise SystemExit("AsyncDetector disagrees with the loop: not timed")


def main() -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="most for each scenario")
    seconds = parser.parse_args().seconds
    detector = sample_detector()
    with TemporaryDirectory(prefix="detkit-scenarios-") as folder:
        paths = [Path(folder) / f"{n:03}.jpg" for n in range(NUM_IMAGES)]
        for number, path in enumerate(paths):
            cv2.imwrite(str(path), scene(93_000 + number)[0][..., ::-1])
        verify(detector, paths)
        rate = 10.0
        for name in ("single_stream", "multi_stream", "offline", "server", "video"):
            options = {"server": {"rate_per_s": rate}, "video": {"fps": rate}}.get(name, {})
            run = measured(detector, paths, scenario(name, **options), seconds)
            if name == "single_stream":
                rate = round(_SHARE_OF_RATE * run["loop"].images_per_s().value, 1)
            run.save(RESULTS / f"scenario_{name}.json")
            print(run_table(run).to_text(), stage_table(run).to_text(), sep="\n\n")
            print("\n".join(remarks(run)), "\n", flush=True)


if __name__ == "__main__":
    main()
