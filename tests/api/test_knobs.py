"""Settings of one call, and settings of the engine that change while work is running."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from detkit import AsyncDetector, DetectionResult, PartialBatchError
from detkit.errors import DroppedError, QueueFullError, UnsupportedSettingError
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, numbered_image, result_number

IMAGE = numbered_image(7)
IMAGES = [numbered_image(n) for n in range(40)]
THRESHOLDS = [0.1, 0.3, 0.5, 0.7, 0.9]


def score(result: DetectionResult) -> float:
    return round(float(result.scores[0]), 3)


# -- settings belong to the call ----------------------------------------------------------------


def test_each_call_gets_its_own_settings(scheduling: str) -> None:
    wrong: list[float] = []
    with AsyncDetector(FakeDetector()) as detector:

        def in_thread(threshold: float) -> None:
            for _ in range(20):
                results = detector.detect_batch(IMAGES[:5], confidence_threshold=threshold)
                results.append(detector.detect(IMAGE, confidence_threshold=threshold))
                wrong.extend(threshold for r in results if score(r) != threshold)

        async def in_loop() -> list[DetectionResult]:
            calls = [detector.detect_async(IMAGE, confidence_threshold=t) for t in THRESHOLDS]
            return await asyncio.gather(*calls)

        threads = [threading.Thread(target=in_thread, args=(t,)) for t in THRESHOLDS]
        for thread in threads:
            thread.start()
        for _ in range(20):
            assert [score(r) for r in asyncio.run(in_loop())] == THRESHOLDS
        for thread in threads:
            thread.join()
        assert score(detector.detect(IMAGE)) == 1.0, "settings end with their call"
        assert [score(r) for r in detector.map([IMAGE], confidence_threshold=0.3)] == [0.3]  # type: ignore[arg-type]
    assert wrong == []


class Plain:
    """A stranger's detector: one method, no settings."""

    def detect(self, image: RGBImage) -> DetectionResult:
        boxes = [[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]]
        return DetectionResult(boxes, [0.2, 0.9, 0.6], [0, 1, 0])


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, [1, 2, 3]),
        ({"confidence_threshold": 0.5}, [2, 3]),
        ({"confidence_threshold": 0.9}, [2]),
        ({"classes": [0]}, [1, 3]),
        ({"classes": []}, []),
        ({"max_detections": 2}, [2, 3]),
        ({"max_detections": 1, "classes": (0,)}, [3]),
    ],
)
def test_results_of_a_detector_without_settings_are_narrowed(
    settings: dict[str, Any], kept: list[int]
) -> None:
    with AsyncDetector(Plain()) as detector:
        result = detector.detect(IMAGE, **settings)
        assert result.boxes[:, 2].tolist() == kept
        assert result.metadata["num_detections"] == len(kept)
        assert result.metadata["model"] == "Plain"


@pytest.mark.parametrize("settings", [{"iou_threshold": 0.5}, {"agnostic_nms": True}])
def test_settings_that_cannot_be_honoured_are_refused(settings: dict[str, Any]) -> None:
    with AsyncDetector(Plain()) as detector:
        with pytest.raises(UnsupportedSettingError, match="takes no settings"):
            detector.detect(IMAGE, **settings)
        with pytest.raises(UnsupportedSettingError):
            detector.detect_batch(IMAGES, **settings)
        assert detector.statistics().submitted == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"confidence_threshold": 1.5},
        {"confidence_threshold": float("nan")},
        {"iou_threshold": -0.1},
        {"confidence_threshold": "0.5"},
        {"max_detections": 0},
        {"max_detections": 2.5},
        {"classes": "person"},
        {"classes": ["person"]},
    ],
)
def test_impossible_settings_are_value_errors(settings: dict[str, Any]) -> None:
    with AsyncDetector(FakeDetector()) as detector:
        for call in (detector.detect, detector.submit, lambda i, **s: detector.map([i], **s)):
            with pytest.raises(ValueError, match=next(iter(settings))):
                call(IMAGE, **settings)


def test_unknown_setting_is_a_type_error() -> None:
    expected = "no setting 'conf'; there are confidence_threshold, iou_threshold, "
    with AsyncDetector(FakeDetector()) as detector, pytest.raises(TypeError, match=expected):
        detector.detect(IMAGE, conf=0.5)  # type: ignore[call-arg]


# -- settings of the engine ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"max_workers": 0},
        {"max_workers": 1.5},
        {"max_workers": True},
        {"default_batch_size": 0},
        {"default_batch_size": "16"},
        {"batch_timeout_s": -1},
        {"batch_timeout_s": float("nan")},
        {"max_queue_size": 0},
        {"overflow": "forget"},
        {"hang_timeout_s": 0},
    ],
)
def test_impossible_options_are_value_errors(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=name):
        AsyncDetector(FakeDetector(), **options)
    if name in ("max_workers", "default_batch_size", "batch_timeout_s"):
        with AsyncDetector(FakeDetector()) as detector:
            before = getattr(detector, name)
            with pytest.raises(ValueError, match=name):
                setattr(detector, name, options[name])
            assert getattr(detector, name) == before


def test_object_that_cannot_detect_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"detect\(image\)"):
        AsyncDetector(object())
    with pytest.raises(TypeError, match=r"got the class FakeDetector: write FakeDetector\(\)"):
        AsyncDetector(FakeDetector)


def test_numpy_integers_are_numbers_of_images() -> None:
    with AsyncDetector(FakeDetector(), np.int64(2), np.uint8(4)) as detector:  # type: ignore[arg-type]
        assert (detector.max_workers, detector.default_batch_size) == (2, 4)
        assert len(detector.detect_batch(IMAGES, np.int64(3))) == 40  # type: ignore[arg-type]


def test_number_of_workers_changes_while_work_is_running() -> None:
    gates = Gates()
    gate = gates.at("in_detector")
    gate.close()
    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=1, default_batch_size=1) as detector:
        futures = [detector.submit(image) for image in IMAGES]
        gate.wait_for_arrivals(1)
        assert detector.statistics().workers == 1
        detector.max_workers = 3
        gate.wait_for_arrivals(3)
        assert detector.statistics().busy_workers == 3
        detector.max_workers = 1
        gates.open_all()
        assert [result_number(f.result()) for f in futures] == list(range(40))
        while detector.statistics().workers > 1:
            threading.Event().wait(0.001)
        assert result_number(detector.detect(IMAGE)) == 7
        assert detector.get_stats()["max_workers"] == 1


def test_batch_size_changes_while_work_is_running() -> None:
    gates = Gates()
    gate = gates.at("in_detector")
    gate.close()
    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=1, default_batch_size=2) as detector:
        futures = [detector.submit(IMAGES[0])]
        gate.wait_for_arrivals(1)
        futures += [detector.submit(image) for image in IMAGES[1:13]]
        detector.default_batch_size = 8
        gate.let_through(1)
        gate.wait_for_arrivals(2)
        detector.default_batch_size = 3
        gates.open_all()
        assert [result_number(f.result()) for f in futures] == list(range(13))
    assert fake.batch_sizes == [1, 8, 3, 1]


def test_shorter_patience_takes_hold_at_once() -> None:
    with AsyncDetector(FakeDetector(), batch_timeout_s=1000) as detector:
        future = detector.submit(IMAGE)
        assert not future.done()
        detector.batch_timeout_s = 0
        assert result_number(future.result(5)) == 7


def test_larger_batch_size_tries_again_what_did_not_fit() -> None:
    fake = FakeDetector(fits=4)
    with AsyncDetector(fake, max_workers=1, default_batch_size=8) as detector:
        detector.detect_batch(IMAGES[:16])
        fake.fits = None
        fake.batch_sizes.clear()
        detector.detect_batch(IMAGES[:16])
        assert max(fake.batch_sizes) == 4
        detector.default_batch_size = 16
        fake.batch_sizes.clear()
        detector.detect_batch(IMAGES[:16])
        assert fake.batch_sizes == [16]


def test_detector_changes_while_work_is_running() -> None:
    gates = Gates()
    gate = gates.at("in_detector")
    gate.close()
    old, new = FakeDetector(gates=gates), FakeDetector()
    with AsyncDetector(old, max_workers=2, default_batch_size=2) as detector, gates:
        futures = [detector.submit(image) for image in IMAGES]
        gate.wait_for_arrivals(2)
        detector.detector = new
        assert detector.detector is new
        gates.open_all()
        assert [result_number(f.result(5)) for f in futures] == list(range(40))
        assert sum(old.batch_sizes) <= 4, "only the calls under way end with the old one"
        assert old.seen + new.seen == dict.fromkeys(range(40), 1)
        assert old.is_loaded, "it is not ours to close"


def test_a_new_detector_that_cannot_be_copied_gets_one_worker() -> None:
    lone = FakeDetector(can_replicate=False)
    with AsyncDetector(FakeDetector(), max_workers=4, default_batch_size=1) as detector:
        detector.detect_batch(IMAGES)
        detector.detector = lone
        assert [result_number(r) for r in detector.detect_batch(IMAGES)] == list(range(40))
        assert lone.seen == dict.fromkeys(range(40), 1)
        while detector.statistics().workers > 1:
            threading.Event().wait(0.001)
        detector.detector = FakeDetector()
        assert len(detector.detect_batch(IMAGES)) == 40
        with pytest.raises(TypeError, match=r"detect\(image\)"):
            detector.detector = object()
        assert result_number(detector.detect(IMAGE)) == 7


# -- overflow -----------------------------------------------------------------------------------


Submit = Callable[[AsyncDetector, RGBImage], Any]


def with_full_queue(overflow: Any, act: Callable[[AsyncDetector, FakeDetector], None]) -> None:
    """Call `act` while the only worker is busy and eight images fill the queue."""
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=1, max_queue_size=8, overflow=overflow) as detector:
        busy = detector.submit(numbered_image(100))
        gates.at("in_detector").wait_for_arrivals(1)
        try:
            act(detector, fake)
        finally:
            gates.open_all()
        assert result_number(busy.result(5)) == 100


def outcomes_of(detector: AsyncDetector, fake: FakeDetector) -> Sequence[Any]:
    futures = [detector.submit(image) for image in IMAGES[:10]]
    fake.gates.open_all()
    return [f.exception(5) or result_number(f.result()) for f in futures]


def test_reject_refuses_what_exceeds_the_queue() -> None:
    def act(detector: AsyncDetector, fake: FakeDetector) -> None:
        outcomes = outcomes_of(detector, fake)
        assert outcomes[:8] == list(range(8))
        assert [type(o) for o in outcomes[8:]] == [QueueFullError] * 2
        stats = detector.statistics()
        assert (stats.submitted, stats.rejected, stats.dropped) == (11, 2, 0)

    with_full_queue("reject", act)


def test_drop_oldest_makes_room_for_the_newest() -> None:
    def act(detector: AsyncDetector, fake: FakeDetector) -> None:
        outcomes = outcomes_of(detector, fake)
        assert [type(o) for o in outcomes[:2]] == [DroppedError] * 2
        assert outcomes[2:] == list(range(2, 10))
        stats = detector.statistics()
        assert (stats.submitted, stats.rejected, stats.dropped, stats.failed) == (11, 0, 2, 2)

    with_full_queue("drop_oldest", act)


def test_block_makes_the_caller_wait_for_room() -> None:
    def act(detector: AsyncDetector, fake: FakeDetector) -> None:
        for image in IMAGES[:8]:
            detector.submit(image)
        late: list[Any] = []
        thread = threading.Thread(target=lambda: late.append(detector.submit(IMAGES[9])))
        thread.start()
        assert detector.statistics().queue_depth == 8
        assert not late
        fake.gates.open_all()
        thread.join()
        assert result_number(late[0].result(5)) == 9

    with_full_queue("block", act)


@pytest.mark.parametrize("overflow", ["block", "reject", "drop_oldest"])
def test_batch_longer_than_the_queue(overflow: Any) -> None:
    with AsyncDetector(FakeDetector(), max_queue_size=4, overflow=overflow) as detector:
        try:
            num_results = len(detector.detect_batch(IMAGES))
        except PartialBatchError as error:
            assert overflow != "block"
            num_results = error.successful
            assert {type(f.exception) for f in error.failures} <= {QueueFullError, DroppedError}
            assert {f.stage for f in error.failures} == {"queue"}
        assert num_results == (40 if overflow == "block" else 4)
        stats = detector.statistics()
        assert stats.submitted == 40 == stats.succeeded + stats.failed + stats.rejected


def test_results_of_a_replaced_detector_say_which_one_it_was() -> None:
    class Named(FakeDetector):
        def __init__(self, model_name: str, gates: Gates | None = None) -> None:
            super().__init__(gates=gates)
            self.model_name = model_name

    with Gates() as gates:
        gates.at("in_detector").close()
        with AsyncDetector(Named("old", gates), max_workers=1) as detector:
            under_way = detector.submit(numbered_image(1))
            gates.at("in_detector").wait_for_arrivals(1)
            detector.detector = Named("new")
            later = detector.submit(numbered_image(2))
            gates.open_all()
            assert under_way.result(10).metadata["model"] == "old"
            assert later.result(10).metadata["model"] == "new"


def test_a_small_queue_leaves_no_worker_without_work() -> None:
    with Gates() as gates:
        gates.at("in_detector").close()
        fake = FakeDetector(gates=gates)
        with AsyncDetector(fake, 4, default_batch_size=1, max_queue_size=1) as detector:
            images = [numbered_image(n) for n in range(4)]
            with ThreadPoolExecutor(1) as executor:
                call = executor.submit(detector.detect_batch, images)
                try:
                    gates.at("in_detector").wait_for_arrivals(4)  # all four at once
                finally:
                    gates.open_all()
                assert [result_number(r) for r in call.result(10)] == [0, 1, 2, 3]
