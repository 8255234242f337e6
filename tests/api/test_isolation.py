"""T04 to T07: broken detectors, bad images, silence and full memory cost no other image."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detkit import AsyncDetector, DetectionResult, DetectionSettings, PartialBatchError
from detkit.errors import (
    DetectorClosed,
    DetectorContractError,
    DroppedError,
    InvalidImageError,
    InvalidResultError,
    OutOfMemoryError,
    QueueFullError,
    WorkerDiedError,
    WorkerHungError,
)
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, image_number, numbered_image, result_number


def right_answers(images: Sequence[RGBImage]) -> list[DetectionResult]:
    return FakeDetector().detect_batch(images)


def raising(error: BaseException) -> Callable[[Sequence[RGBImage]], object]:
    def behave(_: Sequence[RGBImage]) -> object:
        raise error

    return behave


def invalid_result(**arrays: object) -> Callable[[Sequence[RGBImage]], object]:
    good = {"boxes": [[0, 0, 1, 1]], "scores": [0.5], "classes": [0]}
    return lambda images: [DetectionResult(**{**good, **arrays}) for _ in images]  # type: ignore[arg-type]


def nan_behind_the_constructor(images: Sequence[RGBImage]) -> object:
    result = DetectionResult([[0, 0, 1, 1]], [0.5], [0])
    object.__setattr__(result, "boxes", np.full((1, 4), np.nan, np.float32))
    return [result for _ in images]


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this error has no text")


def odd_metadata(images: Sequence[RGBImage]) -> object:
    return [DetectionResult([[0, 0, 1, 1]], [1.0], [0], {1: "x"}) for _ in images]  # type: ignore[dict-item]


def write_to_input(images: Sequence[RGBImage]) -> object:
    images[0][:] = 0
    return right_answers(images)


BAD_BEHAVIOUR: dict[str, tuple[Callable[[Sequence[RGBImage]], object], type[Exception]]] = {
    "one result too few": (lambda images: right_answers(images)[1:], DetectorContractError),
    "one result too many": (lambda i: right_answers([*i, i[0]]), DetectorContractError),
    "None": (lambda _: None, DetectorContractError),
    "a list of None": (lambda images: [None for _ in images], DetectorContractError),
    "a generator": (lambda images: (r for r in right_answers(images)), DetectorContractError),
    "a bare array": (lambda images: np.zeros((len(images), 6)), DetectorContractError),
    "boxes of text": (invalid_result(boxes=[["a", "b", "c", "d"]]), InvalidResultError),
    "classes that are no integers": (invalid_result(classes=[0.5]), InvalidResultError),
    "NaN boxes": (invalid_result(boxes=[[0, 0, math.nan, 1]]), InvalidResultError),
    "NaN boxes unseen by the constructor": (nan_behind_the_constructor, DetectorContractError),
    "StopIteration": (raising(StopIteration()), DetectorContractError),
    "CancelledError": (raising(asyncio.CancelledError()), DetectorContractError),
    "SystemExit": (raising(SystemExit(3)), WorkerDiedError),
    "KeyboardInterrupt": (raising(KeyboardInterrupt()), WorkerDiedError),
    "an exception of its own": (raising(KeyError("x")), KeyError),
    "an exception without a text": (raising(UnprintableError()), UnprintableError),
    "metadata whose keys are no text": (odd_metadata, DetectorContractError),
    "writing to its input": (write_to_input, ValueError),
}


@pytest.mark.parametrize("name", BAD_BEHAVIOUR)
def test_t04_bad_detector_fails_its_batch_only(name: str) -> None:
    behaviour, expected = BAD_BEHAVIOUR[name]
    fake = FakeDetector(behaviour=behaviour)
    pixels = [numbered_image(n) for n in range(4)]
    before = [image.copy() for image in pixels]
    with AsyncDetector(fake, max_workers=1, default_batch_size=4) as detector:
        with pytest.raises(PartialBatchError) as caught:
            detector.detect_batch(pixels)
        assert [type(f.exception) for f in caught.value.failures] == [expected] * 4
        assert {f.stage for f in caught.value.failures} == {"detect"}
        fake.behaviour = None
        results = detector.detect_batch([numbered_image(n) for n in range(100)])
        assert [result_number(r) for r in results] == list(range(100))
    assert all(np.array_equal(a, b) for a, b in zip(pixels, before, strict=True))


def test_t04_class_names_that_cannot_be_read_fail_their_batch_only() -> None:
    class Nameless(FakeDetector):
        is_nameless = True

        @property
        def class_names(self) -> dict[int, str]:  # type: ignore[override]
            if self.is_nameless:
                raise KeyError("names")
            return {0: "number"}

        @class_names.setter
        def class_names(self, _: object) -> None:
            pass

    fake = Nameless()
    with AsyncDetector(fake, max_workers=1) as detector:
        with pytest.raises(DetectorContractError):
            detector.detect(numbered_image(1))
        fake.is_nameless = False
        assert detector.detect(numbered_image(1)).names == ["number"]
        assert detector.statistics().worker_deaths == 0


def test_t04_hanging_detector_fails_its_batch_only() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=1, default_batch_size=4, hang_timeout_s=0.2) as detector:
        with pytest.raises(PartialBatchError) as caught:
            detector.detect_batch([numbered_image(n) for n in range(4)])
        assert {type(f.exception) for f in caught.value.failures} == {WorkerHungError}
        assert "pass_through" in str(caught.value.failures[0].exception)
        gates.open_all()
        results = detector.detect_batch([numbered_image(n) for n in range(100)])
        assert [result_number(r) for r in results] == list(range(100))


def detect_with_poison(poison: frozenset[int], num_images: int = 16) -> int:
    """Check every outcome; returns how often the detector was called."""
    fake = FakeDetector(fail_on=poison)
    with AsyncDetector(fake, max_workers=1) as detector:
        images = [numbered_image(n) for n in range(num_images)]
        if not poison:
            assert len(detector.detect_batch(images, batch_size=num_images)) == num_images
            return len(fake.batch_sizes)
        with pytest.raises(PartialBatchError) as caught:
            detector.detect_batch(images, batch_size=num_images)
    error = caught.value
    assert {f.index for f in error.failures} == poison
    healthy = [n for n in range(num_images) if n not in poison]
    assert [result_number(r) for r in error.results] == healthy
    assert (error.successful, error.total) == (len(healthy), num_images)
    return len(fake.batch_sizes)


def test_t05_poison_at_every_position() -> None:
    calls = [detect_with_poison(frozenset({position})) for position in range(16)]
    assert max(calls) <= 1 + 2 * 1 * 4


def test_t05_random_poison_sets(scheduling: str) -> None:
    choose = random.Random(5)
    for _ in range(200 if scheduling == "usual" else 20):
        poison = frozenset(choose.sample(range(16), choose.randint(0, 16)))
        calls = detect_with_poison(poison)
        assert calls <= 1 + 2 * len(poison) * math.ceil(math.log2(16))


def test_t06_nothing_is_silently_empty() -> None:
    class NothingThere(FakeDetector):
        def detect_batch(
            self, images: Sequence[RGBImage], *, settings: DetectionSettings | None = None
        ) -> list[DetectionResult]:
            super().detect_batch(images)
            return [DetectionResult.empty() for _ in images]

    fake = NothingThere(fail_on={3})
    images: list[object] = [numbered_image(n) for n in range(8)]
    images[5] = np.zeros((4, 4), np.uint8)
    with AsyncDetector(fake, max_workers=1) as detector, pytest.raises(PartialBatchError) as caught:
        detector.detect_batch(images)  # type: ignore[arg-type]
    looked_at = {n for n in range(8) if fake.seen[n]}
    for index, outcome in enumerate(caught.value.outcomes):
        has_result = isinstance(outcome, DetectionResult)
        assert has_result == (index in looked_at and index != 3)
    assert isinstance(caught.value.failures[1].exception, InvalidImageError)


FAULTS = ("none", "none", "raises", "skipped", "nothing", "NaN", "time-out")


@given(faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=16))
def test_t06_a_result_means_that_the_detector_looked(faults: list[str]) -> None:
    answered: set[int] = set()

    def behave(images: Sequence[RGBImage]) -> object:
        numbers = [image_number(image) for image in images]
        found = {faults[n] for n in numbers}
        if "raises" in found:
            raise ValueError("told to")
        if "time-out" in found:
            raise TimeoutError("suppression of overlapping boxes took too long")
        if "NaN" in found:
            return [DetectionResult([[0, 0, math.nan, 1]], [1.0], [0]) for _ in images]
        if "skipped" in found:
            return [DetectionResult.empty() for n in numbers if faults[n] != "skipped"]
        if "nothing" in found:
            return [None if faults[n] == "nothing" else DetectionResult.empty() for n in numbers]
        answered.update(numbers)
        return [DetectionResult.empty() for _ in images]

    images = [numbered_image(n) for n in range(len(faults))]
    with AsyncDetector(FakeDetector(behaviour=behave), max_workers=1) as detector:
        outcomes = list(detector.map(images, on_error="yield"))
    for number, outcome in enumerate(outcomes):
        assert isinstance(outcome, DetectionResult) == (faults[number] == "none")
        assert isinstance(outcome, DetectionResult) == (number in answered)


def swept_away(detector: AsyncDetector) -> None:
    threading.Thread(target=detector.shutdown, kwargs={"cancel_pending": True}).start()


@pytest.mark.parametrize(
    ("options", "act", "expected"),
    [
        ({"max_queue_size": 3, "overflow": "reject"}, None, QueueFullError),
        ({"max_queue_size": 3, "overflow": "drop_oldest"}, None, DroppedError),
        ({}, swept_away, DetectorClosed),
    ],
)
def test_t06_what_the_detector_never_saw_has_no_result(
    options: dict[str, Any], act: Callable[[AsyncDetector], None] | None, expected: type[Exception]
) -> None:
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=1, default_batch_size=2, **options) as detector:
        futures = [detector.submit(numbered_image(0))]
        gates.at("in_detector").wait_for_arrivals(1)
        futures += [detector.submit(numbered_image(n)) for n in range(1, 9)]
        if act is not None:
            act(detector)
            futures[-1].exception(5)
        gates.open_all()
        errors = {n: f.exception(5) for n, f in enumerate(futures)}
    assert {n for n, error in errors.items() if error is None} == set(fake.seen)
    assert {type(error) for error in errors.values()} == {type(None), expected}


@pytest.mark.parametrize("fits", [1, 2, 3, 5, 8, 15])
def test_t07_out_of_memory_halves_and_remembers(fits: int) -> None:
    num_images = 16
    fake = FakeDetector(fits=fits)
    images = [numbered_image(n) for n in range(num_images)]
    with AsyncDetector(fake, max_workers=1, default_batch_size=16) as detector:
        results = detector.detect_batch(images, batch_size=16)
        assert [result_number(r) for r in results] == list(range(num_images))
        assert len(fake.batch_sizes) <= math.ceil(num_images / fits) * 2 + math.log2(num_images)
        fake.batch_sizes.clear()
        assert detector.detect_batch(images, batch_size=16) == results
        assert max(fake.batch_sizes) <= fits
        assert detector.statistics().out_of_memory > 0


def test_t07_not_even_one_image_fits() -> None:
    with AsyncDetector(FakeDetector(fits=0), max_workers=1) as detector:
        with pytest.raises(PartialBatchError) as caught:
            detector.detect_batch([numbered_image(n) for n in range(4)])
        assert [type(f.exception) for f in caught.value.failures] == [OutOfMemoryError] * 4
        with pytest.raises(MemoryError):
            detector.detect(numbered_image(1))


@pytest.mark.parametrize("message", ["CUDA out of memory. Tried to allocate 2.00 GiB", "bad_alloc"])
def test_t07_runtime_errors_that_mean_memory(message: str) -> None:
    sizes: list[int] = []

    def behave(images: Sequence[RGBImage]) -> object:
        sizes.append(len(images))
        if len(images) > 2:
            raise RuntimeError(message)
        return right_answers(images)

    with AsyncDetector(FakeDetector(behaviour=behave), max_workers=1) as detector:
        assert len(detector.detect_batch([numbered_image(n) for n in range(8)], 8)) == 8
    assert sizes == [8, 4, 2, 2, 2, 2]


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_t07_tensors_of_the_failed_try_are_gone_before_the_next(is_wrapped: bool) -> None:
    class Tensor:
        """Stands for what a library allocated."""

    last: list[weakref.ref[Tensor]] = []
    alive: list[bool] = []

    def allocate(error: Exception) -> None:
        tensor = Tensor()
        last.append(weakref.ref(tensor))
        raise error

    def behave(images: Sequence[RGBImage]) -> object:
        alive.extend(ref() is not None for ref in last)
        if len(images) == 1:
            return right_answers(images)
        if not is_wrapped:
            return allocate(MemoryError())
        try:
            return allocate(ValueError("the allocator's own error"))
        except ValueError as error:
            raise RuntimeError("out of memory") from error

    gc.disable()  # nobody shall have to wait for a collection
    try:
        with AsyncDetector(FakeDetector(behaviour=behave), max_workers=1) as detector:
            assert len(detector.detect_batch([numbered_image(n) for n in range(4)], 4)) == 4
    finally:
        gc.enable()
    assert alive and not any(alive)
