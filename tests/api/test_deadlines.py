"""T11: a deadline is prompt, however long the only worker is busy with something else."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from stopwatch import Stopwatch

from detkit import AsyncDetector, DetectionResult, PartialBatchError
from detkit.errors import DetectionTimeoutError
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, image_number, numbered_image, result_number

DEADLINE_S = 0.05
BOUND_S = 0.15
NUM_ITEMS = 100
BUSY, AFTER = 1_000_000, 1_000_001

pytestmark = pytest.mark.usefixtures("scheduling")


@contextmanager
def one_busy_worker() -> Iterator[AsyncDetector]:
    """A detector whose only worker is inside a call; afterwards: nobody else ever ran."""
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates, can_replicate=False)
    with AsyncDetector(fake, max_workers=4) as detector:
        busy = detector.submit(numbered_image(BUSY))
        gates.at("in_detector").wait_for_arrivals(1)
        try:
            yield detector
            stats = detector.statistics()
            assert (stats.queue_depth, stats.blocked, stats.running) == (0, 0, 1)
        finally:
            gates.open_all()
        assert result_number(busy.result(5)) == BUSY
        assert result_number(detector.detect(numbered_image(AFTER))) == AFTER
    assert dict(fake.seen) == {BUSY: 1, AFTER: 1}, "an image that had timed out was detected"


def in_vain(
    attempt: Callable[[RGBImage], Awaitable[object]], error: type[BaseException]
) -> list[float]:
    """How long each of `NUM_ITEMS` attempts at once took that must end with `error`, in seconds."""

    async def one(image: RGBImage) -> float:
        stopwatch = Stopwatch()
        with pytest.raises(error):
            await attempt(image)
        assert stopwatch.wall_s >= DEADLINE_S * 0.98
        return stopwatch.elapsed_s

    async def all_of_them() -> list[float]:
        return await asyncio.gather(*(one(numbered_image(n)) for n in range(NUM_ITEMS)))

    return asyncio.run(all_of_them())


def test_t11_timeout_s_of_100_awaited_images_is_prompt() -> None:
    with one_busy_worker() as detector:
        took_s = in_vain(
            lambda image: detector.detect_async(image, timeout_s=DEADLINE_S), DetectionTimeoutError
        )
        stats = detector.statistics()
        assert (stats.timed_out, stats.failed, stats.cancelled) == (NUM_ITEMS, NUM_ITEMS, 0)
    assert max(took_s) <= BOUND_S


def test_t11_wait_for_of_100_awaited_images_is_prompt() -> None:
    with one_busy_worker() as detector:
        took_s = in_vain(
            lambda image: asyncio.wait_for(detector.detect_async(image), DEADLINE_S),
            asyncio.TimeoutError,
        )
        stats = detector.statistics()
        assert (stats.timed_out, stats.failed, stats.cancelled) == (0, 0, NUM_ITEMS)
    assert max(took_s) <= BOUND_S


def test_t11_deadline_of_blocked_images_is_prompt() -> None:
    """A full queue that blocks holds nobody past its deadline."""
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates, can_replicate=False)
    with AsyncDetector(fake, max_workers=1, default_batch_size=1, max_queue_size=5) as detector:
        busy = detector.submit(numbered_image(BUSY))
        gates.at("in_detector").wait_for_arrivals(1)

        try:
            took_s = in_vain(
                lambda image: detector.detect_async(image, timeout_s=DEADLINE_S),
                DetectionTimeoutError,
            )
        finally:
            gates.open_all()
        assert result_number(busy.result(5)) == BUSY
    assert max(took_s) <= BOUND_S
    assert dict(fake.seen) == {BUSY: 1}


def test_t11_timeout_s_of_a_plain_call_is_prompt() -> None:
    took_s: list[float] = []
    num_threads, num_calls = 10, NUM_ITEMS // 10
    with one_busy_worker() as detector:

        def call() -> None:
            for number in range(num_calls):
                stopwatch = Stopwatch()
                with pytest.raises(DetectionTimeoutError):
                    detector.detect(numbered_image(number), timeout_s=DEADLINE_S)
                took_s.append(stopwatch.elapsed_s)

        threads = [threading.Thread(target=call) for _ in range(num_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(took_s) == NUM_ITEMS
    assert max(took_s) <= BOUND_S


@pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])
def test_t11_timeout_s_of_a_batch_is_prompt_and_accounts_for_every_image(awaited: bool) -> None:
    images = [numbered_image(n) for n in range(NUM_ITEMS)]
    with one_busy_worker() as detector:
        stopwatch = Stopwatch()
        with pytest.raises(PartialBatchError) as caught:
            if awaited:
                asyncio.run(detector.detect_batch_async(images, timeout_s=DEADLINE_S))
            else:
                detector.detect_batch(images, timeout_s=DEADLINE_S)
        took_s = stopwatch.elapsed_s
    error = caught.value
    assert took_s <= BOUND_S
    assert (error.successful, error.total) == (0, NUM_ITEMS)
    assert [f.index for f in error.failures] == list(range(NUM_ITEMS))
    assert {type(f.exception) for f in error.failures} == {DetectionTimeoutError}
    assert {f.stage for f in error.failures} == {"queue"}


def test_t11_a_batch_past_its_deadline_keeps_what_was_finished() -> None:
    gates = Gates()
    gates.at("second").close()
    plain = FakeDetector()

    def stop_at_second(images: Sequence[RGBImage]) -> list[DetectionResult]:
        if image_number(images[0]) == 1:
            gates.at("second").pass_through()
        return plain.detect_batch(images)

    fake = FakeDetector(behaviour=stop_at_second, can_replicate=False)
    with AsyncDetector(fake, max_workers=1, default_batch_size=1) as detector:
        with pytest.raises(PartialBatchError) as caught:
            # Long enough for the first image even on a machine that is busy otherwise.
            detector.detect_batch([numbered_image(n) for n in range(4)], timeout_s=0.5)
        gates.open_all()
    assert [result_number(r) for r in caught.value.results] == [0]
    assert [(f.index, f.stage) for f in caught.value.failures] == [
        (1, "detect"),
        (2, "queue"),
        (3, "queue"),
    ]


def test_the_stopwatch_counts_every_wait_for_something_else_than_a_cpu() -> None:
    """Also while another thread computes: a deadline that a lock delays must not look prompt."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            hashlib.sha256(bytes(2**16))

    thread = threading.Thread(target=compute)
    thread.start()
    stopwatch = Stopwatch()
    threading.Event().wait(0.2)
    elapsed_s, wall_s = stopwatch.elapsed_s, stopwatch.wall_s
    stop.set()
    thread.join()
    assert wall_s >= 0.2 * 0.98
    assert 0 <= elapsed_s <= wall_s
