"""Whoever stops a call keeps what was finished, in `last_run` and on the KeyboardInterrupt."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from detkit import AsyncDetector, detect_images, detect_multiple_async
from detkit.images import RGBImage
from detkit.results import DetectionResult
from detkit.testing import (
    FakeDetector,
    Gates,
    image_number,
    numbered_image,
    numbered_result,
    result_number,
)

IMAGES = [numbered_image(number) for number in range(20)]


def known(outcomes: Any) -> list[int | None]:
    return [result_number(o) if isinstance(o, DetectionResult) else None for o in outcomes]


def stops_at(number: int) -> Callable[[list[RGBImage]], list[DetectionResult]]:
    """A detector that interrupts the main thread when it comes to one image, and then hangs on."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def behave(images: list[RGBImage]) -> list[DetectionResult]:
        numbers = [int(image[0, 0, 2]) for image in images]
        if number in numbers:
            signal.pthread_kill(main_thread, signal.SIGINT)
            release.wait(10)
        return [numbered_result(n) for n in numbers]

    release = threading.Event()
    behave.release = release  # type: ignore[attr-defined]
    return behave


@pytest.fixture
def stopped() -> Iterator[tuple[AsyncDetector, Callable[[Callable[[], object]], list[Any]]]]:
    """A detector that is interrupted at image 7, and what runs a call on it into that."""
    behave = stops_at(7)
    detector = AsyncDetector(FakeDetector(behaviour=behave), max_workers=1, default_batch_size=1)

    def run(call: Callable[[], object]) -> list[Any]:
        with pytest.raises(KeyboardInterrupt) as caught:
            call()
        behave.release.set()  # type: ignore[attr-defined]
        carried: list[Any] = caught.value.outcomes  # type: ignore[attr-defined]
        assert carried is detector.last_run
        return carried

    yield detector, run
    behave.release.set()  # type: ignore[attr-defined]
    detector.shutdown()


Stopped = tuple[AsyncDetector, Callable[[Callable[[], object]], list[Any]]]


def test_an_interrupted_batch_has_a_place_for_every_image(stopped: Stopped) -> None:
    detector, run = stopped
    outcomes = run(lambda: detector.detect_batch(IMAGES))
    assert known(outcomes) == [*range(7), *[None] * 13]


def test_an_interrupted_map_keeps_what_it_handed_out(stopped: Stopped) -> None:
    detector, run = stopped
    outcomes = run(lambda: list(detector.map(IMAGES)))
    assert known(outcomes)[:8] == [*range(7), None]


def test_interrupted_images_keep_their_names(stopped: Stopped) -> None:
    detector, run = stopped
    inputs = ["none.jpg", *IMAGES]
    outcomes = run(lambda: list(detect_images(detector, inputs, max_in_flight=1)))
    assert names_of(outcomes) == ["none.jpg", *[f"image {n}" for n in range(1, 8)], None]


def names_of(outcomes: Any) -> list[str | None]:
    return [
        o.metadata["source"] if isinstance(o, DetectionResult) else getattr(o, "source", None)
        for o in outcomes
    ]


@pytest.mark.parametrize("is_async", [False, True])
def test_interrupted_images_keep_what_was_finished_and_not_handed_out(is_async: bool) -> None:
    """Also behind one that is not finished, each with its own name."""
    gates = Gates()
    gates.at("held").close()

    def behave(images: list[RGBImage]) -> list[DetectionResult]:
        numbers = [image_number(image) for image in images]
        if numbers[0] in {2, 5}:  # with both of these under way, all others are finished
            gates.at("held").pass_through()
        return [numbered_result(n) for n in numbers]

    inputs = [*IMAGES[:3], "none.jpg", *IMAGES[4:6]]
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def interrupt() -> None:
        gates.at("held").wait_for_arrivals(2)
        signal.pthread_kill(main_thread, signal.SIGINT)

    def stop_sync(detector: AsyncDetector) -> None:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt) as caught:
            list(detect_images(detector, inputs, max_in_flight=9))
        thread.join()
        assert caught.value.outcomes is detector.last_run  # type: ignore[attr-defined]

    async def stop_async(detector: AsyncDetector) -> None:
        records = detect_images(detector, inputs, max_in_flight=9)
        task = asyncio.ensure_future(_consume(records))
        await asyncio.to_thread(gates.at("held").wait_for_arrivals, 2)
        await asyncio.sleep(0)  # outcomes that were delivered reach their futures
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    fake = FakeDetector(behaviour=behave)
    with AsyncDetector(fake, max_workers=2, default_batch_size=1) as detector, gates:
        if is_async:
            asyncio.run(stop_async(detector))
        else:
            stop_sync(detector)
        gates.open_all()
        assert known(detector.last_run) == [0, 1, None, None, 4, None]
        names = ["image 0", "image 1", None, "none.jpg", "image 4", None]
        assert names_of(detector.last_run) == names


def test_images_that_end_well_do_not_take_over_what_an_earlier_call_left() -> None:
    with AsyncDetector(FakeDetector()) as detector:
        series = detector.map(IMAGES, max_in_flight=1)
        next(series)
        series.close()  # type: ignore[attr-defined]
        left = detector.last_run
        list(detect_images(detector, IMAGES))
        assert detector.last_run is left
        records = iter(detect_images(detector, ["none.jpg"]))
        next(records)
        records.close()  # type: ignore[attr-defined]
        assert names_of(detector.last_run) == ["none.jpg"]


async def _consume(records: Any) -> None:
    async for _ in records:
        pass


@pytest.mark.parametrize("kind", ["batch", "multiple", "stream"])
def test_a_cancelled_await_keeps_what_was_finished(kind: str) -> None:
    gates = Gates()
    gates.at("image_7").close()

    def behave(images: list[RGBImage]) -> list[DetectionResult]:
        numbers = [int(image[0, 0, 2]) for image in images]
        if 7 in numbers:
            gates.at("image_7").pass_through()
        return [numbered_result(n) for n in numbers]

    async def consume(detector: AsyncDetector) -> None:
        async for _ in detector.stream(IMAGES):
            pass

    calls: dict[str, Callable[[AsyncDetector], Any]] = {
        "batch": lambda d: d.detect_batch_async(IMAGES),
        "multiple": lambda d: detect_multiple_async(d, IMAGES),
        "stream": consume,
    }

    async def main(detector: AsyncDetector) -> None:
        task = asyncio.ensure_future(calls[kind](detector))
        await asyncio.to_thread(gates.at("image_7").wait_for_arrivals, 1)
        await asyncio.sleep(0)  # outcomes that were delivered reach their futures
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    fake = FakeDetector(behaviour=behave)
    with AsyncDetector(fake, max_workers=1, default_batch_size=1) as detector, gates:
        asyncio.run(main(detector))
        assert detector.last_run is not None
        assert known(detector.last_run)[:8] == [*range(7), None]
        gates.open_all()


def test_a_call_that_ends_well_leaves_nothing() -> None:
    with AsyncDetector(FakeDetector()) as detector:
        detector.detect_batch(IMAGES)
        list(detector.map(IMAGES))
        asyncio.run(detector.detect_batch_async(IMAGES))
        assert detector.last_run is None


@pytest.mark.parametrize("ordered", [True, False])
def test_leaving_a_loop_early_keeps_what_came_before(ordered: bool) -> None:
    with AsyncDetector(FakeDetector(), max_workers=1, default_batch_size=1) as detector:
        for taken, _ in enumerate(detector.map(IMAGES, ordered=ordered, max_in_flight=1)):
            if taken == 4:
                break
        assert known(detector.last_run) == [0, 1, 2, 3, 4]


def test_an_endless_series_keeps_a_bounded_number() -> None:
    with AsyncDetector(FakeDetector()) as detector:
        series = detector.map(IMAGES, max_in_flight=1, max_kept=5)
        for _ in range(12):
            next(series)
        series.close()  # type: ignore[attr-defined]
        assert known(detector.last_run) == [7, 8, 9, 10, 11]
        with pytest.raises(ValueError, match="max_kept must be an integer of at least 1, got 0"):
            detector.map(IMAGES, max_kept=0)
