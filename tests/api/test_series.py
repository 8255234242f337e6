"""`map` and `stream`: series of any length, lazily, in order, with a bounded window."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest

from detkit import AsyncDetector, DetectionResult, DetectorClosed, ItemFailure
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, engine_windows, numbered_image, result_number

IMAGES = [numbered_image(n) for n in range(100)]
NUMBERS = list(range(100))

Outcomes = list[DetectionResult | ItemFailure]
Series = Callable[..., Outcomes]


def by_map(detector: AsyncDetector, images: Iterable[RGBImage], **options: Any) -> Outcomes:
    return list(detector.map(images, **options))


def by_stream(detector: AsyncDetector, images: Iterable[RGBImage], **options: Any) -> Outcomes:
    async def main() -> Outcomes:
        return [outcome async for outcome in detector.stream(images, **options)]

    return asyncio.run(main())


def by_stream_of_async(
    detector: AsyncDetector, images: Iterable[RGBImage], **options: Any
) -> Outcomes:
    async def source() -> AsyncIterator[RGBImage]:
        for image in images:
            yield image
            await asyncio.sleep(0)

    async def main() -> Outcomes:
        return [outcome async for outcome in detector.stream(source(), **options)]

    return asyncio.run(main())


each_way = pytest.mark.parametrize("series", [by_map, by_stream, by_stream_of_async])


def numbers(outcomes: Outcomes) -> list[int]:
    return [result_number(o) for o in outcomes if isinstance(o, DetectionResult)]


@each_way
@pytest.mark.parametrize("kind", [list, iter])
def test_series_gives_every_result_in_order(series: Series, kind: Any, scheduling: str) -> None:
    with AsyncDetector(FakeDetector(), default_batch_size=4) as detector:
        assert numbers(series(detector, kind(IMAGES))) == NUMBERS
        assert numbers(series(detector, kind(IMAGES), max_in_flight=1)) == NUMBERS
        assert series(detector, kind([])) == []


@each_way
def test_unordered_series_gives_every_result_once(series: Series, scheduling: str) -> None:
    with AsyncDetector(FakeDetector(), default_batch_size=4) as detector:
        found = numbers(series(detector, IMAGES, ordered=False))
        assert sorted(found) == NUMBERS


@each_way
@pytest.mark.parametrize("ordered", [True, False])
def test_failures_take_the_place_of_their_results(series: Series, ordered: bool) -> None:
    images: list[Any] = [*IMAGES]
    images[60] = None
    with AsyncDetector(FakeDetector(fail_on={5, 50})) as detector:
        outcomes = series(detector, images, ordered=ordered, on_error="yield")
    failures = [o for o in outcomes if isinstance(o, ItemFailure)]
    assert sorted((f.index, f.stage) for f in failures) == [
        (5, "detect"), (50, "detect"), (60, "validate"),
    ]  # fmt: skip
    assert sorted(numbers(outcomes)) == [n for n in NUMBERS if n not in {5, 50, 60}]
    if ordered:
        assert [o.index for o in (outcomes[5], outcomes[50])] == [5, 50]  # type: ignore[union-attr]


@each_way
def test_first_failure_ends_the_series(series: Series) -> None:
    fake = FakeDetector(fail_on={5})
    with AsyncDetector(fake) as detector:
        with pytest.raises(ValueError, match=r"told to fail on \[5\]"):
            series(detector, IMAGES, max_in_flight=8)
        assert max(fake.seen) < 20
        assert numbers(series(detector, IMAGES[10:])) == NUMBERS[10:]


@each_way
def test_error_of_the_source_comes_after_what_came_before_it(series: Series) -> None:
    class SourceBrokeError(Exception):
        pass

    def source() -> Iterator[RGBImage]:
        yield from IMAGES[:7]
        raise SourceBrokeError

    fake = FakeDetector()
    with AsyncDetector(fake) as detector, pytest.raises(SourceBrokeError):
        series(detector, source())
    assert fake.seen == dict.fromkeys(range(7), 1)


def test_map_reads_no_further_ahead_than_its_window() -> None:
    num_read = 0

    def endless() -> Iterator[RGBImage]:
        nonlocal num_read
        for number in itertools.count():
            num_read += 1
            yield numbered_image(number)

    with AsyncDetector(FakeDetector()) as detector:
        results = detector.map(endless(), max_in_flight=6)
        assert num_read == 0, "nothing is read before the first result is asked for"
        for taken, result in zip(range(50), results, strict=False):
            assert isinstance(result, DetectionResult)
            assert result_number(result) == taken
            assert num_read <= taken + 1 + 6
        results.close()  # type: ignore[attr-defined]
        assert detector.detect(IMAGES[3]) is not None
    stats = detector.statistics()
    assert stats.submitted == stats.succeeded + stats.cancelled


def test_stream_reads_a_blocking_source_on_its_own_thread() -> None:
    gates = Gates()
    gates.at("camera").close()
    readers: set[str] = set()

    def camera() -> Iterator[RGBImage]:
        for image in IMAGES[:4]:
            readers.add(threading.current_thread().name)
            gates.at("camera").pass_through()
            yield image

    async def main() -> list[int]:
        async with AsyncDetector(FakeDetector()) as detector:
            stream = detector.stream(camera())
            first = asyncio.ensure_future(anext(stream))
            await asyncio.to_thread(gates.at("camera").wait_for_arrivals, 1)
            assert not first.done()
            gates.open_all()  # the loop was alive to do this
            return numbers([await first, *[outcome async for outcome in stream]])

    assert asyncio.run(main()) == [0, 1, 2, 3]
    assert len(readers) == 1
    assert threading.main_thread().name not in readers


@pytest.mark.parametrize("cancel_pending", [False, True])
def test_shutdown_in_the_middle_of_a_map(cancel_pending: bool) -> None:
    with AsyncDetector(FakeDetector()) as detector:
        results = detector.map(IMAGES, max_in_flight=4)
        assert numbers([next(results)]) == [0]
        detector.shutdown(cancel_pending=cancel_pending)
        with pytest.raises(DetectorClosed):
            list(results)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_window_must_be_a_number_of_images(bad: Any) -> None:
    with AsyncDetector(FakeDetector()) as detector:
        for call in (detector.map, detector.stream):
            with pytest.raises(ValueError, match="max_in_flight"):
                call(IMAGES, max_in_flight=bad)


@pytest.mark.parametrize("ordered", [True, False])
def test_map_hands_out_what_is_finished_before_it_asks_a_slow_source_again(ordered: bool) -> None:
    num_asked = 0

    with Gates() as gates, engine_windows(gates):
        gates.at("in_detector").close()

        def slow() -> Iterator[RGBImage]:
            nonlocal num_asked
            num_asked = 1
            yield IMAGES[0]
            num_asked = 2
            gates.at("in_detector").open()
            gates.at("done").wait_for_arrivals(1)  # asking takes longer than all work there is
            yield IMAGES[1]
            num_asked = 3
            yield IMAGES[2]

        with AsyncDetector(FakeDetector(gates=gates), max_workers=1) as detector:
            results = detector.map(slow(), ordered=ordered)
            assert numbers([next(results)]) == [0]
            assert num_asked == 2
            gates.at("done").wait_for_arrivals(2)
            assert numbers([next(results)]) == [1]
            assert num_asked == 2, "the second was at hand"
            assert numbers(list(results)) == [2]
