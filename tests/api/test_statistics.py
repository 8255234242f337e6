"""What an engine counts, and how it says it."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detkit import AsyncDetector, EngineStatistics, PartialBatchError
from detkit.api.statistics import Recorder
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, numbered_image, result_number

FIELDS = {field.name for field in dataclasses.fields(EngineStatistics)}


def snapshot(recorder: Recorder, now: float) -> EngineStatistics:
    return recorder.snapshot(
        now,
        offered=0,
        queue_depth=0,
        blocked=0,
        workers=1,
        busy_workers=0,
        worker_deaths=0,
        circuit_open=False,
    )


# -- the recorder -------------------------------------------------------------------------------


def test_before_the_first_image_nothing_is_made_up() -> None:
    stats = snapshot(Recorder(), now=5.0)
    assert math.isnan(stats.latency_p50_s)
    assert math.isnan(stats.latency_p95_s)
    assert math.isnan(stats.latency_p99_s)
    assert stats.throughput_per_s == 0.0
    assert stats.batch_size_histogram == {}
    assert (stats.submitted, stats.succeeded, stats.running) == (0, 0, 0)


def test_percentiles_are_latencies_that_were_measured() -> None:
    recorder = Recorder()
    recorder.record_results([n / 1000 for n in range(100, 0, -1)], now=1.0)
    stats = snapshot(recorder, now=1.0)
    assert (stats.latency_p50_s, stats.latency_p95_s, stats.latency_p99_s) == (0.050, 0.095, 0.099)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_percentiles_are_in_order_and_within_the_data(latencies_s: list[float]) -> None:
    recorder = Recorder()
    recorder.record_results(latencies_s, now=0.0)
    low, p50, p95, p99, high = recorder.percentiles_s(0.0, 0.5, 0.95, 0.99, 1.0)
    assert min(latencies_s) == low <= p50 <= p95 <= p99 <= high == max(latencies_s)
    assert sum(latency <= p50 for latency in latencies_s) >= len(latencies_s) / 2


def test_percentiles_forget_what_is_long_past() -> None:
    recorder = Recorder()
    recorder.record_results([9.0], now=0.0)
    recorder.record_results([1.0] * 4096, now=1.0)
    assert recorder.percentiles_s(1.0) == [1.0]


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("rate_per_s", [10.0, 200.0])
def test_throughput_of_a_steady_stream(batch_size: int, rate_per_s: float) -> None:
    recorder = Recorder()
    now = 100.0
    for _ in range(4000):
        recorder.record_results([0.1] * batch_size, now)
        now += batch_size / rate_per_s
    assert recorder.throughput_per_s(now - batch_size / rate_per_s) == pytest.approx(rate_per_s)


def test_throughput_falls_to_zero_when_work_stops() -> None:
    recorder = Recorder()
    for step in range(10):
        recorder.record_results([0.1], now=step / 10)
    assert recorder.throughput_per_s(0.9) == pytest.approx(10.0)
    assert recorder.throughput_per_s(5.0) < 2.0
    assert recorder.throughput_per_s(60.0) == 0.0


# -- the engine's figures -----------------------------------------------------------------------


def test_get_stats_has_the_keys_of_the_specification_and_every_counter() -> None:
    with AsyncDetector(FakeDetector(), 3, 5, batch_timeout_s=0.25, max_queue_size=9) as detector:
        stats = detector.get_stats()
    assert stats["max_workers"] == 3
    assert stats["default_batch_size"] == 5
    assert stats["shutdown"] is False
    assert stats["detector_loaded"] is True
    assert stats["batch_timeout_s"] == 0.25
    assert stats["max_queue_size"] == 9
    assert stats["overflow"] == "block"
    assert set(stats) >= FIELDS
    assert detector.get_stats()["shutdown"] is True


def test_snapshot_is_frozen_and_stays_as_it_was() -> None:
    with AsyncDetector(FakeDetector()) as detector:
        before = detector.statistics()
        detector.detect(numbered_image(1))
        after = detector.statistics()
    assert (before.submitted, after.submitted) == (0, 1)
    assert (before.batch_size_histogram, after.batch_size_histogram) == ({}, {1: 1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.submitted = 5  # type: ignore[misc]


def test_every_moment_of_an_image_is_visible() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=1, default_batch_size=4, max_queue_size=3) as detector:

        async def main() -> None:
            tasks = [
                asyncio.create_task(detector.detect_async(numbered_image(n))) for n in range(1)
            ]
            await asyncio.to_thread(gates.at("in_detector").wait_for_arrivals, 1)
            images = [numbered_image(n) for n in range(1, 6)]
            batch = asyncio.create_task(detector.detect_batch_async(images))
            await asyncio.sleep(0)
            stats = detector.statistics()
            assert (stats.running, stats.queue_depth, stats.blocked) == (1, 3, 2)
            assert (stats.workers, stats.busy_workers) == (1, 1)
            assert (stats.submitted, stats.succeeded) == (6, 0)
            gates.open_all()
            assert [result_number(r) for r in await batch] == [1, 2, 3, 4, 5]
            await asyncio.gather(*tasks)

        asyncio.run(main())
    stats = detector.statistics()
    assert (stats.running, stats.queue_depth, stats.blocked) == (0, 0, 0)
    assert (stats.workers, stats.busy_workers) == (0, 0)
    assert (stats.submitted, stats.succeeded) == (6, 6)
    assert stats.batches == sum(stats.batch_size_histogram.values()) == len(fake.batch_sizes)
    assert sum(size * number for size, number in stats.batch_size_histogram.items()) == 6
    assert 0 < stats.latency_p50_s <= stats.latency_p95_s <= stats.latency_p99_s < 20


def test_counters_add_up_at_every_moment_of_a_mixed_load(scheduling: str) -> None:
    broken: list[EngineStatistics] = []
    is_over = threading.Event()

    def behave(images: Sequence[RGBImage]) -> object:
        if any(image[0, 0, 2] % 10 == 3 for image in images):
            raise ValueError("every tenth image")
        return FakeDetector().detect_batch(images)

    with AsyncDetector(
        FakeDetector(behaviour=behave), max_queue_size=16, overflow="reject"
    ) as detector:

        def watch() -> None:
            while not is_over.is_set():
                s = detector.statistics()
                ended = s.succeeded + s.failed + s.cancelled + s.rejected
                waiting = s.queue_depth + s.blocked + s.running
                if s.submitted != ended + waiting or min(dataclasses.astuple(s)[:11]) < 0:
                    broken.append(s)

        def load() -> None:
            for _ in range(20):
                images = [numbered_image(n) for n in range(20)]
                try:
                    detector.detect_batch(images, 4)
                except PartialBatchError as error:
                    assert {3, 13} <= {f.index for f in error.failures}
                detector.submit(numbered_image(1)).cancel()

        watcher = threading.Thread(target=watch)
        loads = [threading.Thread(target=load) for _ in range(3)]
        for thread in (watcher, *loads):
            thread.start()
        for thread in loads:
            thread.join()
        is_over.set()
        watcher.join()
    assert broken == []
    stats = detector.statistics()
    assert stats.submitted == 3 * 20 * 21
    assert stats.submitted == stats.succeeded + stats.failed + stats.cancelled + stats.rejected
    assert stats.failed + stats.rejected >= 3 * 20 * 2
