"""T20: calls from inside the engine's own threads, and series that nobody reads to the end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future

import pytest
from stopwatch import Stopwatch

from detkit import AsyncDetector, DetectionResult, detect_multiple_async
from detkit.errors import PartialBatchError, ReentrantCallError
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, image_number, numbered_image, result_number

BOUND_S = 1.0
NUM_ABANDONED = 100
IMAGE = numbered_image(5)

pytestmark = pytest.mark.usefixtures("scheduling")


def elapsed_s(call: Callable[[], object]) -> float:
    stopwatch = Stopwatch()
    call()
    return stopwatch.elapsed_s


def wait_until(predicate: Callable[[], bool]) -> None:
    """Give the other threads the bound to make something true."""
    deadline = time.monotonic() + BOUND_S
    while not predicate():
        assert time.monotonic() < deadline, "it did not come true in time"
        threading.Event().wait(0.001)


WAITING_CALLS: dict[str, Callable[[AsyncDetector], object]] = {
    "detect": lambda d: d.detect(IMAGE),
    "detect_batch": lambda d: d.detect_batch([IMAGE]),
    "map": lambda d: list(d.map([IMAGE])),
    "stream": lambda d: d.stream([IMAGE]),
    "detect_async": lambda d: asyncio.run(_awaited(d)),
    "detect_batch_async": lambda d: asyncio.run(_awaited_batch(d)),
    "detect_multiple_async": lambda d: asyncio.run(_awaited_multiple(d)),
}


async def _awaited(detector: AsyncDetector) -> None:
    await detector.detect_async(IMAGE)


async def _awaited_batch(detector: AsyncDetector) -> None:
    await detector.detect_batch_async([IMAGE])


async def _awaited_multiple(detector: AsyncDetector) -> None:
    try:
        await detect_multiple_async(detector, [IMAGE])
    except PartialBatchError as error:
        raise error.failures[0].exception from None


@pytest.mark.parametrize("max_workers", [1, 3])
@pytest.mark.parametrize("name", WAITING_CALLS)
def test_t20_a_detector_that_waits_for_its_own_engine_is_told_so(
    name: str, max_workers: int
) -> None:
    def detect(images: Sequence[RGBImage]) -> list[DetectionResult]:
        if image_number(images[0]) == 0:
            WAITING_CALLS[name](detector)
        return plain.detect_batch(images)

    plain = FakeDetector()
    with AsyncDetector(FakeDetector(behaviour=detect), max_workers) as detector:
        future = detector.submit(numbered_image(0))
        assert elapsed_s(lambda: concurrent.futures.wait([future], 5)) <= BOUND_S
        assert isinstance(future.exception(0), ReentrantCallError)
        assert result_number(detector.detect(numbered_image(1))) == 1


@pytest.mark.parametrize("name", WAITING_CALLS)
def test_t20_a_callback_that_waits_for_its_own_engine_is_told_so(name: str) -> None:
    gates = Gates()
    gates.at("in_detector").close()
    told: Future[BaseException] = Future()

    def call_again(_: Future[DetectionResult]) -> None:
        try:
            WAITING_CALLS[name](detector)
        except BaseException as error:
            told.set_result(error)

    with AsyncDetector(FakeDetector(gates=gates), max_workers=1) as detector, gates:
        future = detector.submit(numbered_image(0))
        future.add_done_callback(call_again)
        gates.open_all()
        assert isinstance(told.result(BOUND_S), ReentrantCallError)
        assert result_number(detector.detect(numbered_image(1))) == 1


def test_t20_a_callback_may_submit_more_work_even_into_a_full_queue() -> None:
    """A chain of images, each submitted by the callback of the one before."""
    chain: list[int] = []
    finished = threading.Event()

    def go_on(future: Future[DetectionResult]) -> None:
        chain.append(result_number(future.result()))
        if len(chain) == 100:
            finished.set()
        else:
            detector.submit(numbered_image(len(chain))).add_done_callback(go_on)

    with AsyncDetector(FakeDetector(), max_workers=1, max_queue_size=1) as detector:
        others = [
            threading.Thread(target=lambda: [detector.detect(IMAGE) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in others:
            thread.start()
        detector.submit(numbered_image(0)).add_done_callback(go_on)
        assert finished.wait(5)
        for thread in others:
            thread.join(5)
            assert not thread.is_alive()
    assert chain == list(range(100))


def test_t20_a_detector_may_use_knobs_and_numbers_of_its_own_engine() -> None:
    def detect(images: Sequence[RGBImage]) -> list[DetectionResult]:
        detector.max_workers = 3
        detector.default_batch_size = 2
        detector.batch_timeout_s = 0.0
        assert detector.statistics().running >= 1
        assert detector.get_stats()["shutdown"] is False
        return plain.detect_batch(images)

    plain = FakeDetector()
    with AsyncDetector(FakeDetector(behaviour=detect), max_workers=1) as detector:
        images = [numbered_image(n) for n in range(20)]
        results: list[DetectionResult] = []
        assert elapsed_s(lambda: results.extend(detector.detect_batch(images))) <= BOUND_S
        assert [result_number(r) for r in results] == list(range(20))


def test_t20_a_detector_may_use_another_engine() -> None:
    """A cascade: the outer detector asks an inner one about every image."""
    with AsyncDetector(FakeDetector(), max_workers=2) as inner:

        def detect(images: Sequence[RGBImage]) -> list[DetectionResult]:
            return inner.detect_batch(images)

        with AsyncDetector(FakeDetector(behaviour=detect), max_workers=3) as outer:
            images = [numbered_image(n) for n in range(50)]
            assert [result_number(r) for r in outer.detect_batch(images)] == list(range(50))


def test_t20_plain_calls_on_the_thread_of_a_busy_loop_go_on() -> None:
    with AsyncDetector(FakeDetector(), max_workers=2, max_queue_size=2) as detector:

        async def main() -> list[int]:
            calls = [
                asyncio.ensure_future(detector.detect_async(numbered_image(n))) for n in range(30)
            ]
            await asyncio.sleep(0)
            numbers = [result_number(detector.detect(numbered_image(100)))]
            numbers += map(result_number, detector.detect_batch([numbered_image(101)] * 2))
            numbers += [result_number(r) for r in detector.map([numbered_image(102)])]  # type: ignore[arg-type]
            numbers.append(result_number(detector.submit(numbered_image(103)).result(5)))
            return numbers + [result_number(r) for r in await asyncio.gather(*calls)]

        numbers: list[int] = []
        assert elapsed_s(lambda: numbers.extend(asyncio.run(main()))) <= BOUND_S
    assert numbers == [100, 101, 101, 102, 103, *range(30)]


def test_t20_a_cancelled_future_wakes_those_who_wait_for_it() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    with AsyncDetector(FakeDetector(gates=gates), max_workers=1) as detector, gates:
        running = detector.submit(numbered_image(0))
        gates.at("in_detector").wait_for_arrivals(1)
        waiting = detector.submit(numbered_image(1))
        for future in (waiting, running):
            assert future.cancel()
            assert elapsed_s(lambda f=future: concurrent.futures.wait([f], 5)) <= BOUND_S  # type: ignore[misc]
            assert list(concurrent.futures.as_completed([future], timeout=BOUND_S)) == [future]
        gates.open_all()
        assert result_number(detector.detect(numbered_image(2))) == 2


# -- abandoned series -----------------------------------------------------------------------------


def assert_nothing_left(detector: AsyncDetector) -> None:
    gc.collect()
    wait_until(lambda: detector.statistics().running == 0)
    stats = detector.statistics()
    assert (stats.queue_depth, stats.blocked) == (0, 0)
    wait_until(lambda: not any(t.name == "detkit-reader" for t in threading.enumerate()))
    assert result_number(detector.detect(numbered_image(9))) == 9


def endless() -> Iterator[RGBImage]:
    number = 0
    while True:
        yield numbered_image(number)
        number += 1


async def endless_async() -> AsyncIterator[RGBImage]:
    for image in endless():
        yield image


@pytest.mark.parametrize("source", ["list", "generator", "async generator"])
@pytest.mark.parametrize("ordered", [True, False])
def test_t20_a_hundred_abandoned_streams_leave_nothing(source: str, ordered: bool) -> None:
    sources: dict[str, Callable[[], object]] = {
        "list": lambda: [numbered_image(n) for n in range(200)],
        "generator": endless,
        "async generator": endless_async,
    }
    with AsyncDetector(FakeDetector(), max_workers=2) as detector:

        async def main() -> None:
            for i in range(NUM_ABANDONED):
                images = sources[source]()
                stream = detector.stream(images, ordered=ordered, max_in_flight=8)  # type: ignore[call-overload, arg-type]
                for _ in range(i % 3):
                    await stream.__anext__()
                del stream
            gc.collect()

        assert elapsed_s(lambda: asyncio.run(main())) <= BOUND_S + NUM_ABANDONED * 0.02
        assert_nothing_left(detector)


def test_t20_a_hundred_abandoned_maps_leave_nothing() -> None:
    with AsyncDetector(FakeDetector(), max_workers=2) as detector:
        for i in range(NUM_ABANDONED):
            series = detector.map(endless(), ordered=i % 2 == 0, max_in_flight=8)
            for _ in range(i % 3):
                next(series)
            del series
        assert_nothing_left(detector)


def test_t20_a_stream_whose_detector_was_shut_down_ends() -> None:
    detector = AsyncDetector(FakeDetector(), max_workers=2)

    async def main() -> list[object]:
        seen: list[object] = []
        async for entry in detector.stream(endless(), max_in_flight=4, on_error="yield"):
            seen.append(entry)
            if len(seen) == 10:
                detector.shutdown(wait=False)
            if not isinstance(entry, DetectionResult):
                break
        return seen

    seen = asyncio.run(main())
    assert 10 <= len(seen) <= 15
    detector.shutdown()
