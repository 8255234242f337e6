"""A million boxes into a table: how long, and how much memory more at the peak.

    python -m benchmarks.table_benchmark

Writes `benchmarks/results/table_benchmark.json`. Knows `to_dataframe`; the table is checked
against the results before it is timed.
"""

from __future__ import annotations

import json
import statistics
import threading
import time

import numpy as np
import psutil

from benchmarks.measurement import write_results
from detkit.notebook import from_dataframe, to_dataframe
from detkit.results import DetectionResult

NUM_IMAGES, BOXES_PER_IMAGE, ROUNDS = 100_000, 10, 5
MAX_S, MAX_BYTES = 2.0, 400_000_000


def make_results() -> list[DetectionResult]:
    """Results that differ, as those of a detector do."""
    random = np.random.default_rng(0)
    facts = {"class_names": {0: "bolt", 1: "nut", 2: "gear"}, "image_hw": (720, 1280)}
    results = []
    for _ in range(NUM_IMAGES):
        corners = random.uniform(0, 300, (BOXES_PER_IMAGE, 4)).astype(np.float32)
        corners[:, 2:] += corners[:, :2]
        scores = random.uniform(0, 1, BOXES_PER_IMAGE)
        results.append(
            DetectionResult(corners, scores, random.integers(0, 3, BOXES_PER_IMAGE), facts)
        )
    return results


def measure(results: list[DetectionResult], names: list[str]) -> tuple[float, int]:
    """Seconds, and bytes of memory more than before at the peak."""
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    table = to_dataframe(results, names)
    elapsed_s = time.perf_counter() - started
    done.set()
    watcher.join()
    assert len(table) == NUM_IMAGES * BOXES_PER_IMAGE
    return elapsed_s, peak - before


def main() -> None:
    """Check, measure, print JSON; fail beyond the bounds."""
    results = make_results()
    names = [f"image_{i}.jpg" for i in range(NUM_IMAGES)]
    assert from_dataframe(to_dataframe(results[:1000])) == results[:1000]
    rounds = [measure(results, names) for _ in range(ROUNDS)]
    median_s = statistics.median(seconds for seconds, _ in rounds)
    most_bytes = max(num_bytes for _, num_bytes in rounds)
    said = {
        "boxes": NUM_IMAGES * BOXES_PER_IMAGE,
        "median_s": round(median_s, 3),
        "peak_mb": round(most_bytes / 1e6),
    }
    print(json.dumps(said, indent=2))
    print(f"written to {write_results('table_benchmark', said).name}")
    if median_s > MAX_S or most_bytes > MAX_BYTES:
        raise SystemExit(f"beyond {MAX_S} s or {MAX_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
