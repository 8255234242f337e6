"""How near detkit comes to what the processor can do, with arrays of 1280 x 720 in memory.

    python benchmarks/runtime_benchmark.py MODEL.pt [--video CLIP] [--rounds 7]
        [--precision auto|fp32|bf16|int8] [--detkit-model PATH]

ultralytics with torch and with its OpenVINO export, raw OpenVINO in both layouts (one request on
all cores, one stream for each core), the network as detkit compiles it in both too, and detkit take
turns after all that detect have found the same objects.
`--detkit-model` gives detkit and raw OpenVINO another file of the same network, and `--precision
int8` one that is calibrated first, on other frames than those that judge and time it. Also memory
and the first result of a fresh process. Writes `results/runtime_benchmark.json`, or
`runtime_benchmark_int8.json` and so on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measurement import interleave, print_table, write_results
from benchmarks.raw_openvino import RawOpenVino
from benchmarks.runtime_contestants import agree, load_images, other_images, ultralytics_loop
from detkit import AsyncDetector, YOLOv8Detector
from detkit.detection.optimization_report import compare

# What is asked of int8 beside float32, counting boxes of one class that overlap by half.
MIN_INT8_F1 = 0.9

_FRESH = """
import time, resource, sys
import numpy as np
from detkit import AsyncDetector, YOLOv8Detector
detector = YOLOv8Detector()
detector.load_model(sys.argv[1], precision=sys.argv[2])
image = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
detector.detect(image)
print(time.time())
with AsyncDetector(detector, max_workers=2) as engine:
    for _ in range(3):
        engine.detect_batch([image] * 32)
print(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("VmRSS")))
print("torch" in sys.modules)
"""


def fresh_process(model: str, precision: str) -> dict[str, Any]:
    """First result and memory of a process that finds a warm cache; median of three."""
    firsts, memory, torch = [], [], False
    for _ in range(3):
        started = time.time()
        command = [sys.executable, "-c", _FRESH, model, precision]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        first, kib, has_torch = done.stdout.split()
        firsts.append(float(first) - started)
        memory.append(int(kib) / 1024)
        torch |= has_torch == "True"
    return {
        "first_result_s": round(sorted(firsts)[1], 2),
        "resident_mib_two_workers": round(sorted(memory)[1]),
        "torch_imported": torch,
    }


def with_cpu(work: Callable[[], int], cpu_s: list[float]) -> Callable[[], int]:
    """The same work, which notes the core-seconds it took for each item."""

    def timed() -> int:
        before = time.process_time()
        count = work()
        cpu_s.append((time.process_time() - before) / count)
        return count

    return timed


def int8_copy(given: argparse.Namespace, images: list[Any], out: str) -> tuple[str, dict[str, Any]]:
    """The model in int8, calibrated on other images than these, and how it agrees on these."""
    exact = YOLOv8Detector()
    exact.load_model(given.model, precision="auto")
    others = other_images(given.video, len(images))
    report = exact.optimize(others, out=out, min_f1=MIN_INT8_F1, on_progress=print)
    print(report)
    baseline = report.baseline
    exact.load_model(given.model, precision="fp32")
    small = YOLOv8Detector()
    small.load_model(report.path)
    names = [(index, f"frame {index}") for index in range(len(images))]
    seen = compare(names, exact.detect_batch(images), small.detect_batch(images))
    exact.close()
    small.close()
    return str(report.path), {
        "int8": {
            "kept_in_float": report.kept,
            "num_calibration": report.num_calibration,
            "f1_beside_float32": round(seen.f1, 3),
            "mean_iou": round(seen.mean_iou, 3),
            "score_drift": round(seen.score_drift, 3),
            "num_boxes": seen.num_boxes,
            "f1_while_calibrating": round(report.fidelity.f1, 3),
            "speedup_over": {baseline: round(report.speedup, 3)},
        }
    }


def measure(
    given: argparse.Namespace, path: str, images: list[Any], scratch: str
) -> dict[str, Any]:
    """Let everybody find the same objects, then take turns; print, and tell what was found."""
    detector = YOLOv8Detector()
    detector.load_model(path, precision=given.precision)
    raw = RawOpenVino(detector, images, as_exported=True)
    ours = RawOpenVino(detector, images, as_exported=False)
    with AsyncDetector(detector) as engine:
        finders = {
            "ultralytics .pt": ultralytics_loop(given.model, images, scratch, export=False),
            "ultralytics OpenVINO": ultralytics_loop(given.model, images, scratch, export=True),
            "detkit": lambda: engine.detect_batch(images),
        }
        f1 = agree(finders)
        works: dict[str, Callable[[], int]] = {
            **{name: lambda find=find: len(find()) for name, find in finders.items()},
            "raw, one request": raw.one_request,
            "raw, stream per core": raw.stream_per_core,
            "detkit's network alone, one request": ours.one_request,
            "detkit's network alone, stream per core": ours.stream_per_core,
            "detkit, lone calls": lambda: len([detector.detect(image) for image in images]),
        }
        cpu_s: dict[str, list[float]] = {name: [] for name in works}
        timed = {name: with_cpu(work, cpu_s[name]) for name, work in works.items()}
        timings = interleave(timed, given.rounds)
    cores = {name: sorted(took)[len(took) // 2] for name, took in cpu_s.items()}
    best = max(("raw, one request", "raw, stream per core"), key=lambda n: timings[n].per_second)
    over = {name: round(timings["detkit"].speedup_over(t), 3) for name, t in timings.items()}
    rows = [
        (n, f"{t.per_second:.1f}", f"{1e3 * cores[n]:.1f}", f"{over[n]:.2f}")
        for n, t in timings.items()
    ]
    print_table(repr(detector), ("way", "images/s", "core-ms/image", "detkit is"), rows)
    fresh = fresh_process(path, given.precision)
    print(json.dumps(fresh))
    return {
        "detector": repr(detector),
        "f1_beside_the_first": f1,
        "contestants": {
            n: {**t.as_json(), "core_ms_per_image": round(1e3 * cores[n], 2)}
            for n, t in timings.items()
        },
        "detkit_over": over,
        "best_raw_layout": best,
        "core_seconds_over_best_raw": round(cores["detkit"] / cores[best], 3),
        "fresh_process": fresh,
    }


def main() -> None:
    """Parse the command line, verify, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a YOLOv8 checkpoint (.pt)")
    parser.add_argument("--detkit-model", help="another file of the same network for detkit")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--video", help="frames to use in place of rendered scenes")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()

    images = load_images(given.video, given.images)
    with TemporaryDirectory() as scratch:
        path, made = given.detkit_model or given.model, {}
        if given.precision == "int8" and given.detkit_model is None:
            path, made = int8_copy(given, images, f"{scratch}/int8")
        findings = measure(given, path, images, scratch)
    suffix = "" if given.precision == "auto" else f"_{given.precision}"
    print(f"written to {write_results(f'runtime_benchmark{suffix}', {**findings, **made}).name}")


if __name__ == "__main__":
    main()
