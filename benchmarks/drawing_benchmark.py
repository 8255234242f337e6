"""Boxes and labels into a frame: `annotate` beside supervision's annotators, and what each loads.

    python benchmarks/drawing_benchmark.py [--rounds 9] [--no-write]

Both draw the same boxes and the same texts into a copy of the same 1280×720 frame, on one thread,
and take turns; both are seen to have coloured every box and written every label first. Writes
`benchmarks/results/drawing_benchmark.json`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measurement import interleave, print_table, write_results
from detkit import DetectionResult
from detkit.drawing import annotate
from detkit.images import RGBImage

NUM_BOXES = (0, 1, 5, 20, 100)
FRAMES_PER_ROUND = 30
HEIGHT, WIDTH = 720, 1280
NAMES = {0: "bolt", 1: "nut", 2: "gear", 3: "washer"}
Draw = Callable[[RGBImage, DetectionResult], RGBImage]
# Seconds and MiB that an import adds to a process with numpy and OpenCV.
_IMPORT = """
import time, cv2, numpy, psutil
memory = psutil.Process().memory_info
before, started = memory().rss, time.perf_counter()
import {module}
print(time.perf_counter() - started, (memory().rss - before) / 2**20)
"""


def make_result(num_boxes: int) -> DetectionResult:
    """Boxes of all sizes that objects in a video have, anywhere in the frame."""
    random = np.random.default_rng(num_boxes)
    sizes = random.uniform(30, 250, (num_boxes, 2))
    corners = random.uniform(20, [WIDTH - 271, HEIGHT - 271], (num_boxes, 2))
    boxes = np.concatenate([corners, corners + sizes], axis=1)
    scores = np.sort(random.uniform(0.3, 0.99, num_boxes))[::-1]
    classes = np.arange(num_boxes) % len(NAMES)
    return DetectionResult(boxes, scores, classes, {"class_names": NAMES})


def supervision_draw() -> Draw:
    """Its annotators as its own example uses them, with our texts."""
    import supervision

    frames, labels = supervision.BoxAnnotator(), supervision.LabelAnnotator()

    def draw(image: RGBImage, result: DetectionResult) -> RGBImage:
        found = supervision.Detections(
            xyxy=result.boxes, confidence=result.scores, class_id=result.classes
        )
        texts = [
            f"{result.class_name(class_id)} {score:.2f}"
            for class_id, score in zip(result.classes, result.scores, strict=True)
        ]
        drawn = frames.annotate(image.copy(), found)
        picture: RGBImage = labels.annotate(drawn, found, labels=texts)
        return picture

    return draw


def check(name: str, draw: Draw, image: RGBImage) -> None:
    """Every box has a line where its upper edge is, or a label; the image itself is untouched."""
    before, result = image.copy(), make_result(20)
    drawn = draw(image, result)
    assert np.array_equal(image, before), f"{name} writes into the image"
    changed = (drawn != image).any(axis=2)
    for x_min, y_min, x_max, _ in result.boxes.round().astype(int).tolist():
        edge = changed[y_min - 1 : y_min + 3, x_min:x_max].any(axis=0)
        assert edge.mean() > 0.95, f"{name} leaves out a box"
    plain = draw(image, make_result(0))
    assert np.array_equal(plain, image), f"{name} draws where nothing is"


def import_cost(module: str) -> dict[str, float]:
    """In a fresh process, the least of three."""
    command = [sys.executable, "-c", _IMPORT.format(module=module)]
    runs = []
    for _ in range(3):
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        runs.append((float(said[0]), float(said[1])))
    return {"seconds": round(min(runs)[0], 2), "mib": round(min(runs)[1])}


def main(arguments: list[str] | None = None) -> None:
    """Check, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-write", action="store_true", help="print only")
    given = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 9), np.uint8)
    draws: dict[str, Draw] = {"detkit": annotate, "supervision": supervision_draw()}
    for name, draw in draws.items():
        check(name, draw, image)

    def frames(draw: Draw, result: DetectionResult) -> int:
        for _ in range(FRAMES_PER_ROUND):
            draw(image, result)
        return FRAMES_PER_ROUND

    findings: dict[str, Any] = {}
    for num_boxes in NUM_BOXES:
        result = make_result(num_boxes)
        players = {n: lambda d=d, r=result: frames(d, r) for n, d in draws.items()}
        timings = interleave(players, given.rounds)
        ratio = timings["detkit"].speedup_over(timings["supervision"])
        findings[str(num_boxes)] = {
            "ms_per_frame": {n: round(1e3 / t.per_second, 3) for n, t in timings.items()},
            "detkit_over_supervision": round(ratio, 3),
        }
    rows = [
        (number, *(f"{ms:.2f}" for ms in f["ms_per_frame"].values()), f["detkit_over_supervision"])
        for number, f in findings.items()
    ]
    header = ("boxes", "detkit, ms", "supervision, ms", "detkit over it")
    print_table(f"drawing into {WIDTH}×{HEIGHT}, one thread", header, rows)
    loads = {"detkit": import_cost("detkit.drawing"), "supervision": import_cost("supervision")}
    rows = [(name, f"{cost['seconds']} s", f"{cost['mib']} MiB") for name, cost in loads.items()]
    print_table("import, beside numpy and OpenCV", ("library", "takes", "adds"), rows)
    if not given.no_write:
        said = {"boxes": findings, "import": loads}
        print(f"\nwritten: {write_results('drawing_benchmark', said)}")


if __name__ == "__main__":
    main()
