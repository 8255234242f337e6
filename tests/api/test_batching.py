"""T01 to T03: every image ends exactly once, in any company, without waiting for nobody."""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from detkit import AsyncDetector
from detkit.testing import FakeDetector, Gates, numbered_image, result_number

NUM_TASKS, NUM_THREADS = 64, 8


def test_t01_exactly_once_under_load(
    scheduling: str, repetitions: Callable[[int, int], int]
) -> None:
    num_items = repetitions(10_000, 100_000)
    share = math.ceil(num_items / (NUM_TASKS + NUM_THREADS))
    settled: Counter[int] = Counter()
    mismatches: list[int] = []
    lock = threading.Lock()
    fake = FakeDetector()

    def note(number: int, answer: int) -> None:
        with lock:
            settled[number] += 1
            if number != answer:
                mismatches.append(number)

    with AsyncDetector(fake, max_workers=4) as detector:

        async def task(first: int) -> None:
            for number in range(first, first + share):
                result = await detector.detect_async(numbered_image(number))
                note(number, result_number(result))

        async def tasks() -> None:
            await asyncio.gather(*(task(index * share) for index in range(NUM_TASKS)))

        def thread(first: int) -> None:
            for number in range(first, first + share):
                note(number, result_number(detector.detect(numbered_image(number))))

        threads = [
            threading.Thread(target=thread, args=((NUM_TASKS + index) * share,))
            for index in range(NUM_THREADS)
        ]
        started = time.perf_counter()
        for t in threads:
            t.start()
        asyncio.run(tasks())
        for t in threads:
            t.join()
        if scheduling == "usual":
            assert time.perf_counter() - started <= 60 * num_items / 100_000
    total = share * (NUM_TASKS + NUM_THREADS)
    assert settled == Counter(range(total))
    assert mismatches == []
    stats = detector.statistics()
    assert stats.submitted == total == sum(fake.seen.values())
    assert stats.submitted == stats.succeeded + stats.failed + stats.cancelled + stats.rejected
    assert (stats.queue_depth, stats.blocked, stats.running) == (0, 0, 0)
    assert max(stats.batch_size_histogram) <= 16


@pytest.mark.parametrize("batch_size", range(1, 17))
def test_t02_batch_equals_single(batch_size: int) -> None:
    images = [numbered_image(n, hw=((4, 4), (6, 4), (4, 8))[n % 3]) for n in range(500)]
    single = FakeDetector()
    fake = FakeDetector()
    with AsyncDetector(fake, max_workers=3) as detector:
        results = detector.detect_batch(images, batch_size=batch_size)
    assert results == [single.detect(image) for image in images]
    assert max(fake.batch_sizes) <= batch_size
    assert [r.metadata["image_hw"] for r in results] == [image.shape[:2] for image in images]


def latencies_s(batch_timeout_s: float, num_calls: int) -> list[float]:
    """Of calls that come one after another, in ascending order."""

    async def measure() -> list[float]:
        took = []
        async with AsyncDetector(FakeDetector(), batch_timeout_s=batch_timeout_s) as detector:
            for number in range(num_calls):
                started = time.perf_counter()
                await detector.detect_async(numbered_image(number))
                took.append(time.perf_counter() - started)
        return sorted(took)

    return asyncio.run(measure())


def p99_s(batch_timeout_s: float, num_calls: int, bound_s: float) -> tuple[float, float]:
    """Of the best try, and the least of all: what else the machine does can only add.

    So one try within the bound is enough; on a machine left alone it is the first.
    """
    best_s = least_s = math.inf
    for _ in range(5):
        took = latencies_s(batch_timeout_s, num_calls)
        least_s = min(least_s, took[0])
        best_s = min(best_s, took[math.ceil(0.99 * len(took)) - 1])
        if best_s <= bound_s:
            break
    return best_s, least_s


def test_t03_lone_call_waits_for_nobody() -> None:
    bound_s = 0.005
    best_s, _ = p99_s(0.0, 200, bound_s)
    assert best_s <= bound_s


def test_t03_lone_call_waits_as_long_as_it_was_told() -> None:
    bound_s = 0.005 + 0.010
    best_s, least_s = p99_s(0.005, 100, bound_s)
    assert least_s >= 0.005
    assert best_s <= bound_s


def test_t03_full_batches_do_not_wait() -> None:
    async def ten() -> list[int]:
        async with AsyncDetector(
            FakeDetector(), default_batch_size=2, batch_timeout_s=1000.0
        ) as detector:
            calls = (detector.detect_async(numbered_image(n)) for n in range(10))
            return [result_number(r) for r in await asyncio.gather(*calls)]

    started = time.perf_counter()
    assert asyncio.run(ten()) == list(range(10))
    assert time.perf_counter() - started <= 0.5


@pytest.mark.parametrize("seed", range(20))
def test_t03_executed_batches_are_as_modelled(seed: int) -> None:
    choose = random.Random(seed)
    max_batch_size = choose.randint(1, 8)
    arrivals = [choose.randint(1, 12) for _ in range(choose.randint(1, 6))]  # during each call
    arrivals[0] = 1
    expected, waiting = [], 0
    for arriving in arrivals + [0] * 99:  # one worker takes what waits, oldest first
        waiting += arriving
        expected.append(min(waiting, max_batch_size))
        waiting -= expected[-1]
        if not waiting and len(expected) >= len(arrivals):
            break
    numbers = iter(range(1000))
    gates = Gates()
    gate = gates.at("in_detector")
    gate.close()
    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=1, default_batch_size=max_batch_size) as detector:
        futures = []
        for call in range(len(expected)):
            num_arriving = arrivals[call] if call < len(arrivals) else 0
            futures += [detector.submit(numbered_image(next(numbers))) for _ in range(num_arriving)]
            if call:
                gate.let_through(1)
            gate.wait_for_arrivals(call + 1)
        gates.open_all()
        assert [result_number(f.result(5)) for f in futures] == list(range(sum(arrivals)))
    assert fake.batch_sizes == expected
    assert detector.statistics().batch_size_histogram == Counter(expected)


def test_calls_pile_up_while_the_worker_is_busy_and_go_together() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=1, default_batch_size=8) as detector:
        first = detector.submit(numbered_image(0))
        gates.at("in_detector").wait_for_arrivals(1)
        rest = [detector.submit(numbered_image(n)) for n in range(1, 9)]
        gates.open_all()
        assert [result_number(f.result()) for f in [first, *rest]] == list(range(9))
    assert fake.batch_sizes == [1, 8]


def test_calls_of_tasks_threads_and_loops_are_served_together() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    answers: Counter[int] = Counter()
    with AsyncDetector(fake, max_workers=1, default_batch_size=16) as detector:
        blocker = detector.submit(numbered_image(0))
        gates.at("in_detector").wait_for_arrivals(1)

        async def gather(first: int) -> None:
            calls = (detector.detect_async(numbered_image(first + n)) for n in range(4))
            answers.update(result_number(r) for r in await asyncio.gather(*calls))

        threads = [
            threading.Thread(target=lambda first=first: asyncio.run(gather(first)))  # type: ignore[misc]
            for first in (10, 20)
        ]
        threads.append(
            threading.Thread(
                target=lambda: answers.update(
                    result_number(r)
                    for r in detector.detect_batch([numbered_image(30 + n) for n in range(4)])
                )
            )
        )
        for thread in threads:
            thread.start()
        while detector.statistics().queue_depth < 12:
            threading.Event().wait(0.001)
        gates.open_all()
        for thread in threads:
            thread.join()
        assert result_number(blocker.result()) == 0
    assert fake.batch_sizes == [1, 12]
    assert answers == Counter([*range(10, 14), *range(20, 24), *range(30, 34)])


def test_idle_workers_share_what_waits() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=2, default_batch_size=16) as detector:
        warm = [detector.submit(numbered_image(n)) for n in range(2)]
        gates.at("in_detector").wait_for_arrivals(2)
        gates.open_all()
        assert {result_number(f.result()) for f in warm} == {0, 1}
        gates.at("in_detector").close()
        fake.batch_sizes.clear()
        while detector.statistics().busy_workers:
            threading.Event().wait(0.001)
        batch = threading.Thread(
            target=detector.detect_batch, args=([numbered_image(n) for n in range(16)],)
        )
        batch.start()
        gates.at("in_detector").wait_for_arrivals(4)
        gates.open_all()
        batch.join()
    assert sum(fake.batch_sizes) == 16
    assert max(fake.batch_sizes) < 16


def test_idle_workers_share_a_call_with_a_batch_size_evenly() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    images = [numbered_image(n) for n in range(48)]
    with AsyncDetector(fake, max_workers=2) as detector:
        batch = threading.Thread(target=detector.detect_batch, args=(images, 32))
        batch.start()
        gates.at("in_detector").wait_for_arrivals(2)
        gates.open_all()
        batch.join()
        assert detector.statistics().batch_size_histogram == {24: 2}
