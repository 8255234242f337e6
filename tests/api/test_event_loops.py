"""T17 and T19: many loops, many threads, closed loops; and the loop stays responsive."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from stopwatch import Stopwatch

from detkit import AsyncDetector, DetectionResult, detect_multiple_async
from detkit.api.replies import LoopReplies
from detkit.api.waiting import HEARTBEAT_S
from detkit.api.workers import Failed
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, numbered_image, result_number

NUM_LOOPS, NUM_THREADS = 50, 8
LAG_P99_BOUND_S, LAG_MAX_BOUND_S = 0.020, 0.100


async def ask_on_this_loop(detector: AsyncDetector, numbers: Sequence[int]) -> None:
    """A third each by single awaits, by an awaited batch and by a stream; all in order."""
    images = [numbered_image(n) for n in numbers]
    third = len(images) // 3
    answers = await detect_multiple_async(detector, images[:third])
    answers += await detector.detect_batch_async(images[third : 2 * third])
    async for result in detector.stream(images[2 * third :]):
        assert isinstance(result, DetectionResult)
        answers.append(result)
    assert [result_number(a) for a in answers] == list(numbers)


def ask_without_a_loop(detector: AsyncDetector, numbers: Sequence[int]) -> None:
    images = [numbered_image(n) for n in numbers]
    third = len(images) // 3
    answers = [detector.detect(image) for image in images[:third]]
    answers += detector.detect_batch(images[third : 2 * third])
    answers += [r for r in detector.map(images[2 * third :]) if isinstance(r, DetectionResult)]
    assert [result_number(a) for a in answers] == list(numbers)


def test_t17_fifty_loops_eight_loops_at_once_and_eight_threads_share_one_detector(
    scheduling: str, repetitions: Callable[[int, int], int]
) -> None:
    num_items = repetitions(10_000, 100_000)
    per_loop = num_items // 4 // NUM_LOOPS
    per_thread = (num_items - per_loop * NUM_LOOPS) // (2 * NUM_THREADS)
    fake = FakeDetector()
    with AsyncDetector(fake, max_workers=4) as detector:

        def successive_loops() -> None:
            for i in range(NUM_LOOPS):
                numbers = range(i * per_loop, (i + 1) * per_loop)
                asyncio.run(ask_on_this_loop(detector, numbers))

        def one_loop(numbers: range) -> None:
            asyncio.run(ask_on_this_loop(detector, numbers))

        first = NUM_LOOPS * per_loop
        shares = [
            range(first + i * per_thread, first + (i + 1) * per_thread)
            for i in range(2 * NUM_THREADS)
        ]
        with ThreadPoolExecutor(1 + 2 * NUM_THREADS) as threads:
            work = [threads.submit(successive_loops)]
            work += [threads.submit(one_loop, share) for share in shares[:NUM_THREADS]]
            work += [
                threads.submit(ask_without_a_loop, detector, share)
                for share in shares[NUM_THREADS:]
            ]
            for one in work:
                one.result()
        stats = detector.statistics()
    total = first + 2 * NUM_THREADS * per_thread
    assert total >= 0.99 * num_items
    assert set(fake.seen.values()) == {1}, "an image was detected twice"
    assert len(fake.seen) == total
    assert (stats.submitted, stats.succeeded, stats.undeliverable) == (total, total, 0)
    assert (stats.worker_deaths, stats.queue_depth, stats.running) == (0, 0, 0)


def test_t17_a_thousand_results_for_a_closed_loop_are_counted_and_harm_nobody(
    capfd: pytest.CaptureFixture[str],
) -> None:
    gates = Gates()
    gates.at("in_detector").close()
    with AsyncDetector(FakeDetector(gates=gates), max_workers=4) as detector, gates:
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(detector.detect_async(numbered_image(n))) for n in range(1000)]
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        gates.at("in_detector").wait_for_arrivals(4)
        stats = detector.statistics()
        assert (stats.submitted, stats.workers) == (1000, 4)
        loop.close()
        gates.open_all()
        answers = detector.detect_batch([numbered_image(n) for n in range(2000, 2100)])
        assert [result_number(a) for a in answers] == list(range(2000, 2100))
        detector.shutdown()
        stats = detector.statistics()
        assert (stats.submitted, stats.succeeded, stats.undeliverable) == (1100, 1100, 1000)
        assert (stats.worker_deaths, stats.failed) == (0, 0)
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # destroyed on purpose
    del tasks, task
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_t17_images_whose_loop_is_forgotten_leave_the_queue() -> None:
    """A coroutine that is thrown away gives up, like one that is cancelled."""
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=1) as detector, gates:
        busy = detector.submit(numbered_image(0))
        gates.at("in_detector").wait_for_arrivals(1)
        loop = asyncio.new_event_loop()
        coroutines = [detector.detect_async(numbered_image(n)) for n in range(1, 101)]
        tasks = [loop.create_task(coroutine) for coroutine in coroutines]
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        assert detector.statistics().queue_depth == 100
        for task, coroutine in zip(tasks, coroutines, strict=True):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine.close()
        loop.close()
        stats = detector.statistics()
        assert (stats.queue_depth, stats.cancelled) == (0, 100)
        gates.open_all()
        assert result_number(busy.result(5)) == 0
    assert dict(fake.seen) == {0: 1}


# -- T19 ------------------------------------------------------------------------------------------


def percentile(values: list[float], rank: float) -> float:
    return sorted(values)[int(rank * (len(values) - 1))]


async def lag_of_this_loop(duration_s: float) -> list[float]:
    """How much later than every 5 ms the loop came round, in seconds."""
    lags: list[float] = []
    whole = Stopwatch()
    while whole.wall_s < duration_s:
        stopwatch = Stopwatch()
        await asyncio.sleep(0.005)
        lags.append(stopwatch.elapsed_s - 0.005)
    return lags


def test_t19_the_loop_stays_responsive_under_load(repetitions: Callable[[int, int], int]) -> None:
    """Two workers, each inside native code most of the time, as an inference library is."""
    duration_s = repetitions(5, 30)
    block = bytes(2**20)
    plain = FakeDetector()

    def infer(images: Sequence[RGBImage]) -> list[DetectionResult]:
        for _ in images:
            hashlib.sha256(block)  # about a millisecond, the interpreter's lock released
        return plain.detect_batch(images)

    num_done = 0
    with AsyncDetector(FakeDetector(behaviour=infer), max_workers=2) as detector:

        async def load() -> None:
            nonlocal num_done
            while True:
                await detect_multiple_async(detector, [numbered_image(n) for n in range(32)])
                num_done += 32

        async def main() -> list[float]:
            loads = [asyncio.ensure_future(load()) for _ in range(4)]
            lags = await lag_of_this_loop(duration_s)
            for task in loads:
                task.cancel()
            await asyncio.gather(*loads, return_exceptions=True)
            return lags

        lags = asyncio.run(main())
    assert num_done >= 320, "there was no load"
    print(f"lag p99 {percentile(lags, 0.99):.4f} s, max {max(lags):.4f} s")
    assert percentile(lags, 0.99) <= LAG_P99_BOUND_S
    assert max(lags) <= LAG_MAX_BOUND_S


# -- the heartbeat that lets a kernel's Stop button through ---------------------------------------


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts the heartbeats that were asked for."""

    num_beats = 0

    def call_later(self, delay: float, callback: Any, *args: Any, **options: Any) -> Any:
        self.num_beats += delay == HEARTBEAT_S
        return super().call_later(delay, callback, *args, **options)


def run_counting(main: Callable[[], Any]) -> int:
    loop = CountingLoop()
    try:
        loop.run_until_complete(main())
        return loop.num_beats
    finally:
        loop.close()


@pytest.mark.parametrize("call", ["image", "batch", "stream", "aclose"])
def test_t17_the_heart_beats_once_per_loop_while_something_is_awaited(call: str) -> None:
    gates = Gates()
    gates.at("in_detector").close()
    detector = AsyncDetector(FakeDetector(gates=gates), max_workers=1)
    images = [numbered_image(n) for n in range(20)]

    async def wait() -> object:
        if call == "image":
            return await detect_multiple_async(detector, images)
        if call == "batch":
            return await detector.detect_batch_async(images)
        if call == "stream":
            return [result async for result in detector.stream(images)]
        detector.submit(images[0])
        return await detector.aclose()

    async def main() -> None:
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(5.5 * HEARTBEAT_S)
        gates.open_all()
        await waiting

    assert 5 <= run_counting(main) <= 6
    detector.shutdown()


def test_t17_the_heart_stops_when_nothing_is_awaited() -> None:
    with AsyncDetector(FakeDetector()) as detector:

        async def main() -> None:
            await detector.detect_async(numbered_image(1))
            await asyncio.sleep(3.5 * HEARTBEAT_S)

        assert run_counting(main) == 1


def test_t17_a_signal_reaches_a_loop_that_only_awaits_a_detection() -> None:
    """The kernel's way to stop a cell: a handler that cancels what is awaited."""
    gates = Gates()
    gates.at("in_detector").close()
    with AsyncDetector(FakeDetector(gates=gates), max_workers=1) as detector, gates:

        async def main() -> float:
            call = asyncio.ensure_future(detector.detect_async(numbered_image(1)))
            before = signal.signal(signal.SIGUSR1, lambda *_: call.cancel())
            main_thread = threading.main_thread().ident
            assert main_thread is not None
            stopwatches: list[Stopwatch] = []

            def stop() -> None:
                gates.at("in_detector").wait_for_arrivals(1)
                stopwatches.append(Stopwatch())
                signal.pthread_kill(main_thread, signal.SIGUSR1)

            thread = threading.Thread(target=stop)
            try:
                thread.start()
                with pytest.raises(asyncio.CancelledError):
                    await call
                return stopwatches[0].elapsed_s
            finally:
                thread.join()
                signal.signal(signal.SIGUSR1, before)

        took_s = asyncio.run(main())
    assert took_s <= 0.5


def test_a_loop_that_ends_before_a_failure_is_raised_leaves_no_complaint(
    stray_errors: list[str],
) -> None:
    loop = asyncio.new_event_loop()
    replies = LoopReplies(loop, lambda items: None)
    future = loop.create_future()

    async def call(outcome: asyncio.Future[Any]) -> None:
        await outcome

    task = loop.create_task(call(future))
    loop.run_until_complete(asyncio.sleep(0))
    replies.deliver([(future, Failed("detect", ValueError("poison")))])
    loop.call_soon(loop.stop)
    loop.run_forever()  # one turn: the future knows, its task does not yet
    assert future.done() and not task.done()
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # the loop just ends
    del task, future, replies, loop
    gc.collect()
    assert stray_errors == []
