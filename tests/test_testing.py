"""The test kit: its fakes do as they are told, and `check_detector` sees what is broken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from detkit import AsyncDetector, DetectionResult, DetectionSettings, PartialBatchError
from detkit.check import test_cards as cards
from detkit.images import RGBImage
from detkit.testing import (
    FakeDetector,
    Gate,
    Gates,
    check_detector,
    engine_windows,
    image_number,
    numbered_image,
    numbered_result,
    result_number,
)

IMAGES = [numbered_image(n) for n in range(5, 11)]

# -- numbers, gates, fakes ----------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 255, 256, 70_000, 2**24 - 1])
def test_a_number_survives_the_way_through_an_image(number: int) -> None:
    image = numbered_image(number, hw=(5, 7))
    assert image.shape == (5, 7, 3)
    assert image_number(image) == number
    result = FakeDetector().detect(image)
    assert result == numbered_result(number)
    assert result_number(result) == number


def test_a_closed_gate_lets_through_as_many_as_it_is_told() -> None:
    gate = Gate()
    gate.close()
    passed = threading.Semaphore(0)

    def walk() -> None:
        gate.pass_through()
        passed.release()

    threads = [threading.Thread(target=walk) for _ in range(5)]
    for thread in threads:
        thread.start()
    gate.wait_for_arrivals(5)
    gate.let_through(2)
    assert passed.acquire(timeout=5)
    assert passed.acquire(timeout=5)
    assert sum(thread.is_alive() for thread in threads) >= 3
    assert not passed.acquire(blocking=False)
    gate.open()
    for thread in threads:
        thread.join()
    gate.pass_through()


def test_a_gate_that_nobody_comes_to_says_so() -> None:
    with pytest.raises(TimeoutError, match="0 of 1 threads arrived"):
        Gate().wait_for_arrivals(1, timeout_s=0.0)


def test_gates_are_the_same_for_the_same_name() -> None:
    gates = Gates()
    assert gates.at("a") is gates.at("a")
    assert gates.at("a") is not gates.at("b")
    gates.at("a").close()
    gates.open_all()
    gates.at("a").pass_through()


def test_workers_enter_their_windows_in_order() -> None:
    entered: list[str] = []

    class Noting(Gates):
        def at(self, name: str) -> Gate:
            entered.append(name)
            return super().at(name)

    with (
        engine_windows(Noting()) as gates,
        AsyncDetector(FakeDetector(gates=gates, fail_on={1}), max_workers=1) as detector,
        pytest.raises(PartialBatchError),
    ):
        detector.detect_batch([numbered_image(0), numbered_image(1)])
    call = ["assembling", "calling", "in_detector"]
    assert entered == ["dequeued", *call, *call, *call, "posting", "done"]
    with AsyncDetector(FakeDetector()) as detector:
        detector.detect(IMAGES[0])
    assert len(entered) == 12, "outside of the block nobody stops"


def test_a_fake_tells_what_it_and_its_replicas_did() -> None:
    fake = FakeDetector(fail_on={7}, fits=4)
    copy = fake.replicate()
    assert copy is not None
    fake.detect_batch(IMAGES[:2])
    copy.detect(IMAGES[0])
    with pytest.raises(ValueError, match=r"\[7\]"):
        copy.detect_batch(IMAGES[:3])
    with pytest.raises(MemoryError):
        copy.detect_batch(IMAGES[:5])
    assert fake.batch_sizes == [2, 1, 3, 5]
    assert fake.seen == {5: 4, 6: 3, 7: 2, 8: 1, 9: 1}
    assert fake.num_replicas == 2
    assert FakeDetector(can_replicate=False).replicate() is None
    settings = DetectionSettings(confidence_threshold=0.25)
    assert fake.detect(IMAGES[0], settings=settings).scores.tolist() == [0.25]


# -- check_detector -----------------------------------------------------------------------------


def test_a_good_detector_has_no_problems() -> None:
    report = check_detector(FakeDetector(thread_safe=True), IMAGES)
    assert report.is_ok
    assert report.keeps_contract
    assert report.is_deterministic
    assert (report.is_ordered, report.is_batch_invariant) == (True, True)
    assert (report.is_reentrant, report.is_thread_safe) == (True, True)
    assert report.keeps_settings_apart
    assert report.can_replicate
    assert report.mode == "shared"
    assert "thread-safe           yes" in str(report)
    assert "problem" not in str(report)
    assert check_detector(FakeDetector(), IMAGES).mode == "replicated"
    assert check_detector(FakeDetector(can_replicate=False), IMAGES).mode == "locked"


class Red:
    """Finds what is red, one image at a time; a base for broken twins."""

    red = 0

    def detect(self, image: RGBImage) -> DetectionResult:
        ys, xs = np.nonzero(image[..., self.red].astype(int) - image[..., 2 - self.red] > 90)
        if not len(xs):
            return DetectionResult.empty()
        box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        return DetectionResult([box], [min(1.0, 0.2 + len(xs) / 2000)], [0])


def red_cards() -> list[RGBImage]:
    made = [np.full((48, 64, 3), 40, np.uint8) for _ in range(4)]
    for index, card in enumerate(made):
        card[8:30, 4 + 8 * index : 30 + 8 * index] = (220, 60, 30)
    return made


def test_a_detector_with_one_method_is_judged_by_it() -> None:
    report = check_detector(Red(), red_cards())
    assert report.is_ok
    assert (report.is_ordered, report.is_batch_invariant) == (None, None)
    assert report.keeps_settings_apart is None
    assert report.colour_order == "rgb"
    assert (report.can_replicate, report.mode) == (False, "locked")


def test_broken_twin_that_wants_bgr() -> None:
    class Blue(Red):
        red = 2

    images = red_cards()
    report = check_detector(Blue(), images)
    assert report.colour_order == "bgr"
    assert "BGR" in report.problems[0]
    truth = [Red().detect(image) for image in images]
    assert check_detector(Blue(), images, expected=truth).colour_order == "bgr"
    assert check_detector(Red(), images, expected=truth).colour_order == "rgb"


def test_broken_twin_that_is_not_thread_safe() -> None:
    class Sharing(FakeDetector):
        image: RGBImage

        def detect(
            self, image: RGBImage, *, settings: DetectionSettings | None = None
        ) -> DetectionResult:
            self.image = image  # what every stateful predictor does
            threading.Event().wait(0.001)  # the time that the model takes
            return super().detect(self.image)

    report = check_detector(Sharing(), IMAGES)
    assert (report.is_reentrant, report.is_thread_safe) == (True, False)
    assert report.is_ok, "it does not claim to be"
    assert report.mode == "replicated"
    claiming = check_detector(Sharing(thread_safe=True), IMAGES)
    assert claiming.mode == "replicated"
    assert claiming.problems == ("it declares thread_safe, and is not",)


def test_broken_twin_that_mixes_settings_up() -> None:
    class Mixing(FakeDetector):
        def detect(
            self, image: RGBImage, *, settings: DetectionSettings | None = None
        ) -> DetectionResult:
            if settings is not None:
                self.settings = settings
                threading.Event().wait(0.001)
                settings = self.settings
            return super().detect(image, settings=settings)

    report = check_detector(Mixing(thread_safe=True), IMAGES)
    assert report.keeps_settings_apart is False
    assert "settings of one call change the result of another" in report.problems


Batch = Callable[[Sequence[RGBImage]], Any]


def rotated(images: Sequence[RGBImage]) -> list[DetectionResult]:
    return FakeDetector().detect_batch([*images[1:], images[0]])


def reversed_order(images: Sequence[RGBImage]) -> list[DetectionResult]:
    return FakeDetector().detect_batch(images[::-1])


def of_the_brightest(images: Sequence[RGBImage]) -> list[DetectionResult]:
    return [numbered_result(max(image_number(image) for image in images)) for _ in images]


def with_batch(behaviour: Batch) -> FakeDetector:
    """Single images are answered well, several at once as `behaviour` does."""
    return FakeDetector(
        behaviour=lambda images: (
            FakeDetector().detect_batch(images) if len(images) == 1 else behaviour(images)
        )
    )


@pytest.mark.parametrize("shuffle", [rotated, reversed_order])
def test_broken_twin_that_shuffles_its_batch(shuffle: Batch) -> None:
    report = check_detector(with_batch(shuffle), IMAGES)
    assert report.is_ordered is False
    assert report.problems == ("detect_batch does not answer in input order",)


def test_broken_twin_whose_results_depend_on_neighbours() -> None:
    report = check_detector(with_batch(of_the_brightest), IMAGES)
    assert report.is_batch_invariant is False
    assert report.problems == ("a result depends on its neighbours in the batch",)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (lambda images: None, "must return a list"),
        (lambda images: (numbered_result(image_number(i)) for i in images), "got generator"),
        (lambda images: [numbered_result(1)], "1 results for 6 images"),
        (lambda images: [object() for _ in images], "must return DetectionResult, got object"),
        (lambda images: 1 / 0, "ZeroDivisionError"),
        (lambda images: images[0].fill(0), "read-only"),
    ],
)
def test_broken_twin_whose_batch_breaks_the_contract(behaviour: Batch, said: str) -> None:
    report = check_detector(with_batch(behaviour), IMAGES)
    assert not report.keeps_contract
    assert len(report.problems) == 1
    assert said in report.problems[0]
    assert report.can_replicate


@pytest.mark.parametrize("answer", [None, [1, 2, 3], "boxes"])
def test_broken_twin_that_answers_something_else(answer: object) -> None:
    class Wrong:
        def detect(self, image: RGBImage) -> object:
            return answer

    report = check_detector(Wrong(), IMAGES)
    assert not report.keeps_contract
    assert report.problems == (f"detect returned {type(answer).__name__}, not DetectionResult",)


def test_broken_twin_that_is_not_deterministic() -> None:
    class Counting(Red):
        number = 0

        def detect(self, image: RGBImage) -> DetectionResult:
            self.number += 1
            return numbered_result(self.number)

    report = check_detector(Counting(), IMAGES)
    assert report.keeps_contract
    assert not report.is_deterministic
    assert "the same image gives different results" in report.problems


def test_broken_twin_that_deadlocks_on_overlap() -> None:
    class Embracing(FakeDetector):
        def __init__(self) -> None:
            super().__init__()
            self.inside = threading.Lock()
            self.met = threading.Event()
            self.is_over = threading.Event()

        def detect(
            self, image: RGBImage, *, settings: DetectionSettings | None = None
        ) -> DetectionResult:
            if not self.inside.acquire(blocking=False):
                self.met.set()
                self.inside.acquire()
            if threading.current_thread() is not threading.main_thread():
                self.met.wait()  # so that there is an overlap
                self.is_over.wait()
            self.inside.release()
            return super().detect(image)

    twin = Embracing()
    report = check_detector(twin, IMAGES, patience_s=0.3)
    twin.is_over.set()  # lets the threads that were left behind go
    assert (report.is_reentrant, report.is_thread_safe) == (False, False)
    assert report.problems == ("overlapping calls do not return: it deadlocks",)
    assert report.mode == "replicated"
    assert check_detector(Embracing(), IMAGES, try_threads=False).is_reentrant is None


def test_cards_differ_and_are_the_same_everywhere() -> None:
    first, second = cards(), cards()
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len({card.tobytes() for card in first}) == len(first)
    assert check_detector(FakeDetector()).is_ok
