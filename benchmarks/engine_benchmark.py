"""What the engine itself costs, and what its batching and its workers are worth.

    python benchmarks/engine_benchmark.py [--rounds 7]

Overhead against `loop.run_in_executor`, a simulated accelerator, workers that wait, the end of
a batch, the embedded model against a bare loop, the lag of the event loop, the latency of a lone
call, the cost of the import, and memory over 100,000 images. Writes
`benchmarks/results/engine_benchmark.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measurement import interleave, print_table, write_results
from detkit import AsyncDetector, DetectionResult
from detkit.benchmark import Instruments, LoopContestant, SingleStream
from detkit.benchmark.rounds import play_round
from detkit.samples import sample_detector, scene
from detkit.testing import FakeDetector, numbered_image, result_number

TINY = numbered_image(1)


class NoOp:
    """Answers at once."""

    answer = DetectionResult.empty()

    def detect(self, image: np.ndarray) -> DetectionResult:
        """The same empty result."""
        return self.answer

    def detect_batch(self, images: list[np.ndarray]) -> list[DetectionResult]:
        """The same empty result for each."""
        return [self.answer] * len(images)


def overhead(rounds: int, num_calls: int = 20_000) -> dict[str, Any]:
    """20,000 gathered calls of a detector that does nothing."""
    detector = NoOp()

    async def executor() -> int:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(4) as pool:
            calls = (loop.run_in_executor(pool, detector.detect, TINY) for _ in range(num_calls))
            return len(await asyncio.gather(*calls))

    async def engine() -> int:
        async with AsyncDetector(detector) as wrapped:
            calls = (wrapped.detect_async(TINY) for _ in range(num_calls))
            return len(await asyncio.gather(*calls))

    timings = interleave(
        {
            "run_in_executor": lambda: asyncio.run(executor()),
            "detect_async": lambda: asyncio.run(engine()),
        },
        rounds,
    )
    ours, theirs = timings["detect_async"], timings["run_in_executor"]
    return {
        "detect_async_per_s": round(ours.per_second),
        "run_in_executor_per_s": round(theirs.per_second),
        "ratio": round(ours.speedup_over(theirs), 2),
        "microseconds_per_image": round(1e6 / ours.per_second, 1),
    }


def simulated_accelerator(rounds: int) -> dict[str, Any]:
    """A serial device that needs 20 ms a call and 0.5 ms an image. Simulated, by waiting."""
    num_images, size = 512, 32
    images = [numbered_image(n) for n in range(num_images)]
    device = FakeDetector(delay_s=0.020, delay_per_image_s=0.0005, serial=True)

    async def concurrently() -> list[DetectionResult]:
        async with AsyncDetector(device, max_workers=1, default_batch_size=size) as detector:
            return await asyncio.gather(*(detector.detect_async(image) for image in images))

    few = images[:64]
    assert [result_number(r) for r in asyncio.run(concurrently())] == list(range(num_images))
    timings = interleave(
        {
            "one at a time": lambda: len([device.detect(image) for image in few]),
            "512 concurrent": lambda: len(asyncio.run(concurrently())),
        },
        max(3, rounds // 2),
        warm_up=False,
    )
    optimum_s = num_images / size * (0.020 + size * 0.0005)
    batched = timings["512 concurrent"]
    return {
        "share_of_optimum": round(optimum_s / batched.median_s, 4),
        "speedup_over_loop": round(batched.speedup_over(timings["one at a time"]), 2),
    }


def waiting_workers(rounds: int) -> dict[str, Any]:
    """A detector that waits 20 ms for each image, with one worker and with four."""
    images = [numbered_image(n) for n in range(64)]

    def run(max_workers: int) -> int:
        device = FakeDetector(delay_per_image_s=0.020)
        with AsyncDetector(device, max_workers, default_batch_size=4) as detector:
            results = detector.detect_batch(images)
        assert [result_number(r) for r in results] == list(range(64))
        return len(results)

    timings = interleave({"1": lambda: run(1), "4": lambda: run(4)}, max(3, rounds // 2), False)
    return {"four_workers_over_one": round(timings["4"].speedup_over(timings["1"]), 2)}


def batch_tail(rounds: int) -> dict[str, Any]:
    """48 images in batches of 32: two workers over one, on two devices and on a serial one."""
    images = [numbered_image(n) for n in range(48)]

    def run(max_workers: int, device: FakeDetector) -> int:
        with AsyncDetector(device, max_workers) as detector:
            results = detector.detect_batch(images, batch_size=32)
        assert [result_number(r) for r in results] == list(range(48))
        return len(results)

    def two_over_one(device: FakeDetector) -> float:
        contestants = {"1": lambda: run(1, device), "2": lambda: run(2, device)}
        timings = interleave(contestants, max(3, rounds // 2), warm_up=False)
        return round(timings["2"].speedup_over(timings["1"]), 2)

    return {
        "own_devices": two_over_one(FakeDetector(delay_per_image_s=0.004)),
        "one_serial_device": two_over_one(
            FakeDetector(delay_s=0.020, delay_per_image_s=0.0005, serial=True)
        ),
    }


def real_model(rounds: int, num_images: int = 48) -> dict[str, Any]:
    """The embedded model: `detect_batch` against a bare loop over the same arrays."""
    model = sample_detector()
    images = [scene(seed)[0] for seed in range(91_000, 91_000 + num_images)]
    with AsyncDetector(model) as four, AsyncDetector(model, max_workers=1) as one:
        loop = [model.detect(image) for image in images]
        assert four.detect_batch(images) == loop and one.detect_batch(images) == loop
        timings = interleave(
            {
                "loop": lambda: len([model.detect(image) for image in images]),
                "1 worker": lambda: len(one.detect_batch(images)),
                "4 workers": lambda: len(four.detect_batch(images)),
            },
            rounds * 2 + 1,
        )
    base = timings["loop"]
    return {
        "loop_images_per_s": round(base.per_second, 1),
        "engine_1_worker_over_loop": round(timings["1 worker"].speedup_over(base), 3),
        "engine_4_workers_over_loop": round(timings["4 workers"].speedup_over(base), 3),
    }


def loop_lag(seconds: float = 5.0) -> dict[str, Any]:
    """How late a 5 ms ticker is while the embedded model works on all cores."""
    images = [scene(seed)[0] for seed in range(92_000, 92_008)]

    async def measure() -> list[float]:
        lags: list[float] = []
        async with AsyncDetector(sample_detector()) as detector:
            await detector.detect_batch_async(images)
            end = time.perf_counter() + seconds

            async def load() -> None:
                while time.perf_counter() < end:
                    await detector.detect_batch_async(images)

            async def tick() -> None:
                while (due := time.perf_counter() + 0.005) < end:
                    await asyncio.sleep(0.005)
                    lags.append(time.perf_counter() - due)

            await asyncio.gather(load(), tick())
        return lags

    lags = sorted(asyncio.run(measure()))
    return {
        "p99_ms": round(1000 * lags[int(len(lags) * 0.99)], 2),
        "max_ms": round(1000 * lags[-1], 2),
        "ticks": len(lags),
    }


def lone_latency(num_calls: int = 2000) -> dict[str, Any]:
    """What the engine adds to one call that nobody else keeps company."""

    async def measure() -> list[float]:
        took: list[float] = []
        async with AsyncDetector(NoOp()) as detector:
            for _ in range(num_calls):
                started = time.perf_counter()
                await detector.detect_async(TINY)
                took.append(time.perf_counter() - started)
        return took

    took = sorted(asyncio.run(measure()))
    return {
        "p50_ms": round(1000 * statistics.median(took), 3),
        "p99_ms": round(1000 * took[int(len(took) * 0.99)], 3),
    }


def import_cost(rounds: int = 7) -> dict[str, Any]:
    """Seconds that `import detkit` takes in a fresh interpreter, and what it loads."""
    code = (
        "import sys, time; t = time.perf_counter(); import detkit; "
        "print(time.perf_counter() - t, *sys.modules)"
    )
    heavy = {
        "torch",
        "ultralytics",
        "openvino",
        "onnxruntime",
        "pandas",
        "matplotlib",
        "ipywidgets",
    }
    seconds, loaded = [], set()
    for _ in range(rounds):
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        first, *modules = out.stdout.split()
        seconds.append(float(first))
        loaded = heavy & set(modules)
    return {"median_s": round(statistics.median(seconds), 3), "heavy_libraries": sorted(loaded)}


def harness_overhead(rounds: int, num_queries: int = 200) -> dict[str, Any]:
    """What `detkit.benchmark` itself adds to each query of a contestant that does nothing."""
    tools = Instruments()
    contestant = LoopContestant(lambda images: [NoOp.answer] * len(images), tools)
    took = []
    for _ in range(rounds):
        begun = time.perf_counter()
        play_round(
            contestant, [TINY] * num_queries, SingleStream(), np.random.default_rng(0), tools
        )
        took.append((time.perf_counter() - begun) / num_queries)
    seconds = statistics.median(took)
    return {
        "microseconds_per_query": round(seconds * 1e6, 1),
        "share_of_a_10_ms_detection": round(seconds / 0.010, 4),
    }


def map_memory(num_images: int = 100_000) -> dict[str, Any]:
    """Growth of resident memory while 100,000 images of 64 x 64 go through `map`."""
    page = 4096

    def resident_mb() -> float:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * page / 2**20

    with AsyncDetector(FakeDetector()) as detector:
        images = (numbered_image(n % 2**24, (64, 64)) for n in range(num_images))
        results = detector.map(images)
        for _ in range(num_images // 10):
            next(results)
        before = resident_mb()
        count = num_images // 10 + sum(1 for _ in results)
        after = resident_mb()
    return {"images": count, "growth_mb": round(after - before, 2)}


def main() -> None:
    """Measure everything, print it, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    findings = {
        "import": import_cost(),
        "lone_call_added_latency": lone_latency(),
        "overhead_noop": overhead(rounds),
        "simulated_accelerator": simulated_accelerator(rounds),
        "waiting_workers": waiting_workers(rounds),
        "batch_tail": batch_tail(rounds),
        "map_memory": map_memory(),
        "benchmark_harness": harness_overhead(rounds),
        "real_model": real_model(rounds),
        "event_loop_lag": loop_lag(),
    }
    rows = [
        (f"{group}: {key}", value)
        for group, facts in findings.items()
        for key, value in facts.items()
    ]
    print_table("The engine", ("what", "measured"), rows)
    print(f"\nwritten to {write_results('engine_benchmark', findings).name}")


if __name__ == "__main__":
    main()
