"""Many images at once: order, chunks, errors that keep the rest, in every way to call it."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit import (
    AsyncDetector,
    DetectionResult,
    DetectorClosed,
    PartialBatchError,
    detect_multiple_async,
)
from detkit.errors import DetectionTimeoutError, DetkitError
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, numbered_image, result_number

IMAGE = numbered_image(7)
IMAGES = [numbered_image(n) for n in range(40)]
NUMBERS = list(range(40))


def numbers(results: Any) -> list[int]:
    return [result_number(result) for result in results]


def run_batch(detector: AsyncDetector, *args: Any, **options: Any) -> list[DetectionResult]:
    return detector.detect_batch(*args, **options)


def run_batch_async(detector: AsyncDetector, *args: Any, **options: Any) -> list[DetectionResult]:
    return asyncio.run(detector.detect_batch_async(*args, **options))


def run_batch_in_a_loop(
    detector: AsyncDetector, *args: Any, **options: Any
) -> list[DetectionResult]:
    async def cell() -> list[DetectionResult]:
        return detector.detect_batch(*args, **options)  # as a notebook cell would call it

    return asyncio.run(cell())


Batch = Callable[..., list[DetectionResult]]
each_way = pytest.mark.parametrize("batch", [run_batch, run_batch_async, run_batch_in_a_loop])


@each_way
def test_batch_gives_one_result_per_image_in_input_order(batch: Batch) -> None:
    fake = FakeDetector()
    with AsyncDetector(fake, default_batch_size=8) as detector:
        assert numbers(batch(detector, IMAGES)) == NUMBERS
        assert numbers(batch(detector, iter(IMAGES))) == NUMBERS
        assert numbers(batch(detector, np.stack(IMAGES))) == NUMBERS
        assert max(fake.batch_sizes) <= 8
        fake.batch_sizes.clear()
        assert numbers(batch(detector, IMAGES, 5)) == NUMBERS
        assert max(fake.batch_sizes) == 5
        assert numbers(batch(detector, IMAGES, batch_size=1000)) == NUMBERS


@each_way
@pytest.mark.parametrize("batch_size", [0, -1, 2.5, float("nan"), "4"])
def test_batch_size_below_one_is_a_value_error(batch: Batch, batch_size: Any) -> None:
    with AsyncDetector(FakeDetector()) as detector:
        with pytest.raises(ValueError, match="batch_size must be an integer of at least 1"):
            batch(detector, IMAGES, batch_size)
        assert numbers(batch(detector, IMAGES)) == NUMBERS


@each_way
def test_no_images_is_a_value_error(batch: Batch) -> None:
    with AsyncDetector(FakeDetector()) as detector:
        with pytest.raises(ValueError, match="must not be empty"):
            batch(detector, [])
        with pytest.raises(ValueError, match=r"write \[image\]"):
            batch(detector, IMAGE)
        for path in ("photos", Path("photos")):
            with pytest.raises(ValueError, match=r"got a path: detkit\.detect_images"):
                batch(detector, path)


@each_way
def test_partial_failure_keeps_the_rest_and_can_be_retried(batch: Batch) -> None:
    fake = FakeDetector(fail_on={3, 30})
    with AsyncDetector(fake) as detector:
        with pytest.raises(PartialBatchError) as caught:
            batch(detector, IMAGES)
        error = caught.value
        assert (error.successful, error.total) == (38, 40)
        assert error.message == str(error)
        assert "2 of 40 images failed, the first is #3: ValueError: told to fail" in error.message
        assert numbers(error.results) == [n for n in NUMBERS if n not in {3, 30}]
        assert [(f.index, f.stage) for f in error.failures] == [(3, "detect"), (30, "detect")]
        assert len(error.outcomes) == 40
        assert (error.outcomes[3], error.outcomes[30]) == error.failures
        fake.fail_on = {30}
        with pytest.raises(PartialBatchError) as again:
            error.retry()
        assert (again.value.successful, again.value.total) == (39, 40)
        assert [f.index for f in again.value.failures] == [30]
        fake.fail_on = set()
        fake.seen.clear()
        assert numbers(again.value.retry()) == NUMBERS
        assert fake.seen == {30: 1}, "only what failed is tried again"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.successful, copy.total, numbers(copy.results)) == (38, 40, numbers(error.results))
    with pytest.raises(DetkitError, match="no images to retry"):
        copy.retry()


@each_way
def test_batch_that_fails_completely_is_told_likewise(batch: Batch) -> None:
    with (
        AsyncDetector(FakeDetector(fail_on=set(NUMBERS))) as detector,
        pytest.raises(PartialBatchError) as caught,
    ):
        batch(detector, IMAGES)
    assert (caught.value.successful, len(caught.value.failures)) == (0, 40)


@each_way
def test_timeout_of_a_batch_keeps_what_is_there(batch: Batch) -> None:
    gates = Gates()

    def behave(images: list[RGBImage]) -> object:
        if any(image[0, 0, 2] >= 20 for image in images):
            gates.at("second half").pass_through()
        return FakeDetector().detect_batch(images)

    gates.at("second half").close()
    fake = FakeDetector(behaviour=behave)  # type: ignore[arg-type]
    with AsyncDetector(fake, max_workers=1) as detector:
        with pytest.raises(PartialBatchError) as caught:
            batch(detector, IMAGES, 20, timeout_s=0.5)
        gates.open_all()
    assert numbers(caught.value.results) == NUMBERS[:20]
    assert {type(f.exception) for f in caught.value.failures} == {DetectionTimeoutError}


def test_batch_whose_images_shut_the_detector_down_counts_right() -> None:
    detector = AsyncDetector(FakeDetector())

    def images() -> Any:
        yield IMAGE
        detector.shutdown()

    with pytest.raises(DetectorClosed):
        detector.detect_batch(images())
    stats = detector.statistics()
    assert stats.submitted == stats.succeeded + stats.failed + stats.cancelled + stats.rejected


def test_detect_multiple_async() -> None:
    async def main() -> None:
        fake = FakeDetector(fail_on={3})
        async with AsyncDetector(fake) as detector:
            assert await detect_multiple_async(detector, []) == []
            with pytest.raises(PartialBatchError) as caught:
                await detect_multiple_async(detector, [*IMAGES, None])  # type: ignore[list-item]
            error = caught.value
            assert (error.successful, error.total) == (39, 41)
            assert [(f.index, f.stage) for f in error.failures] == [(3, "detect"), (40, "validate")]
            fake.fail_on = set()
            assert numbers(await detect_multiple_async(detector, IMAGES)) == NUMBERS

    asyncio.run(main())
