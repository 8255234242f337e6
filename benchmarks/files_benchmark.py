"""Folders of JPEG files: ultralytics' best way for folders, and `detect_images`.

    python benchmarks/files_benchmark.py [--model yolov8n.pt] [--rounds 7]

64 files of 1280 x 720 and 16 files of 4000 x 3000. Contestants: ultralytics' `predict` over the
folder with `batch=8, stream=True` on the checkpoint and on its OpenVINO export; detkit as it comes
and with `decode="exact"`. All must find the same before they are timed. Writes
`benchmarks/results/files_benchmark.json`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.contestants.contract import (
    CONFIDENCE,
    IOU,
    Found,
    of_detkit,
    of_ultralytics,
    open_yolo,
    options,
)
from benchmarks.measurement import Timing, interleave, print_table, write_results
from detkit import AsyncDetector, YOLOv8Detector, detect_images
from detkit.benchmark.machine import usable_cores
from detkit.boxes import Agreement, agreement
from detkit.samples import sample_model_path, scene

SHARED = Path(__file__).resolve().parents[2] / "shared"
COCO = SHARED / "models" / "yolov8n-coco.pt"
CLIP = SHARED / "videos" / "bigbuckbunny-720p.mp4"
WORK = {"1280 x 720": (64, (1280, 720)), "4000 x 3000": (16, (4000, 3000))}
# Against the first contestant, boxes of a class that overlap by half. Half precision and the way
# a large picture is scaled move a score of 0.25 across the threshold now and then.
MIN_F1 = 0.9

Work = Callable[[], list[Found]]


def pictures(num: int, is_coco: bool) -> list[Any]:
    """RGB pictures in which the model finds something: frames of a clip, or sample scenes."""
    capture = cv2.VideoCapture(str(CLIP)) if is_coco else None
    frames = []
    while capture is not None and (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    if len(frames) < num:
        return [scene(96_000 + seed)[0] for seed in range(num)]
    return [frames[i * len(frames) // num] for i in range(num)]


def write_folder(folder: Path, num: int, size_wh: tuple[int, int], is_coco: bool) -> None:
    """JPEG files of one size, cut to its aspect and enlarged."""
    folder.mkdir()
    for index, picture in enumerate(pictures(num, is_coco)):
        height, width = picture.shape[:2]
        wanted = min(width, height * size_wh[0] // size_wh[1])
        left = (width - wanted) // 2
        picture = picture[:, left : left + wanted]
        if picture.shape[1::-1] != size_wh:
            picture = cv2.resize(picture, size_wh, interpolation=cv2.INTER_CUBIC)
        name = str(folder / f"{index:05}.jpg")
        cv2.imwrite(name, picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


def of_ultralytics_folder(weights: Path, folder: Path) -> Work:
    """`predict` over the folder, as its documentation recommends for many files."""
    model = open_yolo(weights, str(next(folder.glob("*.jpg"))))
    asked = {**options(), "batch": 8, "stream": True}
    return lambda: [of_ultralytics(result) for result in model.predict(str(folder), **asked)]


def of_detkit_folder(engine: AsyncDetector, folder: Path, decode: Any) -> Work:
    """`detect_images` over the folder."""

    def work() -> list[Found]:
        records = detect_images(engine, folder, decode=decode)
        return [of_detkit(record.result) for record in records if record.result is not None]

    return work


def agreement_of(mine: list[Found], truth: list[Found]) -> Agreement:
    """How well a contestant's boxes agree with those of the first."""
    total = Agreement(0, 0, 0, 0.0)
    for a, b in zip(mine, truth, strict=True):
        total = total.plus(agreement(a.boxes, a.classes, b.boxes, b.classes))
    return total


def measure(
    contestants: dict[str, Work], rounds: int
) -> tuple[dict[str, Timing], dict[str, dict[str, Any]]]:
    """Verify that all find the same, then let them take turns."""
    outputs = {name: work() for name, work in contestants.items()}
    truth = next(iter(outputs.values()))
    checked: dict[str, dict[str, Any]] = {}
    for name, found in outputs.items():
        judged = agreement_of(found, truth)
        if judged.f1 < MIN_F1:
            sys.exit(f"{name} finds other things than the first contestant: {judged}")
        checked[name] = {"f1": round(judged.f1, 4), "mean_iou": round(judged.mean_iou, 4)}
    timings = interleave(
        {name: lambda work=work: len(work()) for name, work in contestants.items()}, rounds
    )
    return timings, checked


def main() -> None:
    """Measure both folders, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a .pt file; YOLOv8n or the sample model")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    chosen = given.model or (COCO if COCO.is_file() else sample_model_path(".pt"))
    findings: dict[str, Any] = {"model": chosen.name}
    with TemporaryDirectory(prefix="detkit-benchmark-") as name:
        root = Path(name)
        os.environ["DETKIT_CACHE_DIR"] = str(root / "cache")
        weights = Path(shutil.copy(chosen, root))
        base = YOLOv8Detector()
        base.load_model(weights, confidence_threshold=CONFIDENCE, iou_threshold=IOU)
        exported: Path | None = None
        with AsyncDetector(base, max_workers=usable_cores()) as engine:
            for title, (num, size_wh) in WORK.items():
                folder = root / title.replace(" ", "")
                write_folder(folder, num, size_wh, chosen == COCO)
                theirs = of_ultralytics_folder(weights, folder)
                if exported is None:
                    model = open_yolo(weights, np.zeros((720, 1280, 3), np.uint8))
                    exported = Path(model.export(format="openvino", dynamic=True, verbose=False))
                contestants = {
                    "ultralytics, .pt": theirs,
                    "ultralytics, OpenVINO": of_ultralytics_folder(exported, folder),
                    "detkit": of_detkit_folder(engine, folder, "auto"),
                    "detkit, exact": of_detkit_folder(engine, folder, "exact"),
                }
                findings[title] = report(title, *measure(contestants, given.rounds))
    print(f"\nwritten to {write_results('files_benchmark', findings).name}")


def report(
    title: str, timings: dict[str, Timing], checked: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Print one table and return what the result file keeps of it."""
    best = max(
        (t for name, t in timings.items() if name.startswith("ultralytics")),
        key=lambda t: t.per_second,
    )
    rows = [
        (name, f"{t.per_second:.1f}", f"{t.speedup_over(best):.2f}", checked[name]["f1"])
        for name, t in timings.items()
    ]
    head = ("contestant", "files/s", f"over {best.name}", "F1")
    print_table(f"{title}, {best.num_items} files", head, rows)
    ours = timings["detkit"].speedup_over(best)
    entries = {name: {**t.as_json(), **checked[name]} for name, t in timings.items()}
    return {"detkit_over_best_ultralytics": round(ours, 3), "contestants": entries}


if __name__ == "__main__":
    main()
