"""`tune` on a living engine: knobs, bad input, failures, the cache, the report."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark.simulation import Clock, instruments

from detkit import AsyncDetector
from detkit.benchmark import Interval, TuneReport, TuningError, tune
from detkit.benchmark.advice import advise
from detkit.benchmark.choices import Choice, Goal, Measurement
from detkit.benchmark.search import Point
from detkit.errors import DetectorClosed, InvalidImageError
from detkit.results import DetectionResult
from detkit.testing import FakeDetector, image_number, numbered_image

IMAGES = [numbered_image(n) for n in range(8)]
CLOCK = Clock()
LOCK = threading.Lock()
SMALL: dict[str, Any] = {
    "workers": (1, 2),
    "batch_sizes": (1, 4),
    "seconds": 4.0,
    "instruments": instruments(CLOCK),
}


def device(call_s: float, image_s: float = 0.0, **options: Any) -> FakeDetector:
    """A serial accelerator on simulated time: its calls move the clock and take no time."""
    made = FakeDetector(**options)

    def work(images: Sequence[Any]) -> list[DetectionResult]:
        with LOCK:
            CLOCK.sleep(getattr(made, "call_s", call_s) + image_s * len(images))
        poison = {image_number(image) for image in images} & made.fail_on
        if poison:
            raise ValueError(f"told to fail on {sorted(poison)}")
        return [DetectionResult.empty()] * len(images)

    made.behaviour = work
    return made


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_batching_is_chosen_where_it_helps_and_applied_only_when_told() -> None:
    with AsyncDetector(device(0.004), 1, 1) as detector:
        report = tune(detector, IMAGES, **SMALL)
        assert (detector.max_workers, detector.default_batch_size) == (1, 1)
        assert report.best.batch_size == 4, report.points
        assert report.batching is not None and report.batching.value > 2.5
        assert "batching helps" in report.advice
        report.apply()
        assert detector.default_batch_size == 4


@pytest.mark.parametrize("goal", ["latency", "fps>=100"])
def test_a_lone_caller_gets_the_smallest_setting(goal: str) -> None:
    with AsyncDetector(device(0.0, 0.002), 1, 1) as detector:
        report = tune(detector, IMAGES[:1], goal=goal, **SMALL)
    assert report.best.batch_size == 1 and report.goal == goal


def test_several_callers_can_be_waited_for() -> None:
    with AsyncDetector(device(0.002), 1, 1) as detector:
        report = tune(detector, IMAGES, goal="latency", num_callers=4, **SMALL)
    assert report.points[0].latency_s == pytest.approx(0.002)


def test_a_detector_that_cannot_be_copied_is_tried_with_one_worker() -> None:
    options = {"seconds": 4.0, "instruments": instruments(CLOCK)}
    with AsyncDetector(device(0.002)) as copied:
        assert {p.choice.max_workers for p in tune(copied, IMAGES, **options).points} != {1}
    inner = device(0.002)

    class Lone:
        def detect(self, image: Any) -> Any:
            return inner.detect(image)

    with AsyncDetector(Lone()) as lone:
        assert {p.choice.max_workers for p in tune(lone, IMAGES, **options).points} == {1}


def test_failures_now_and_then_are_survived_and_told() -> None:
    with AsyncDetector(device(0.002, fail_on={3})) as detector:
        report = tune(detector, IMAGES, **SMALL)
    assert sum(p.num_failed for p in report.points) > 0
    assert "told to fail on [3]" in " ".join(report.notes)


def test_a_detector_that_always_fails_is_an_error() -> None:
    with (
        AsyncDetector(device(0.002, fail_on=set(range(8)))) as detector,
        pytest.raises(TuningError, match="told to fail"),
    ):
        tune(detector, IMAGES, **SMALL)


def test_one_image_is_enough() -> None:
    with AsyncDetector(device(0.004), 1, 1) as detector:
        report = tune(detector, IMAGES[:1], **SMALL)
    assert report.is_decided and report.best.batch_size == 4


def test_a_machine_that_throttles_meanwhile_is_told_and_the_choice_is_the_same() -> None:
    begun = CLOCK.now
    slowing = device(0.004)

    def call_s() -> float:
        return 0.004 * (1 + 0.2 * (CLOCK.now - begun))

    work = slowing.behaviour

    def slower(images: Sequence[Any]) -> list[DetectionResult]:
        slowing.call_s = call_s()  # type: ignore[attr-defined]
        return work(images)

    slowing.behaviour = slower
    with AsyncDetector(slowing, 1, 1) as detector:
        report = tune(detector, IMAGES, **SMALL)
    assert report.best.batch_size == 4
    assert any("% slower during the run (throttling" in note for note in report.notes)


def test_too_little_time_is_said() -> None:
    with AsyncDetector(device(0.0, 0.01)) as detector:
        report = tune(detector, IMAGES, seconds=0.02, instruments=instruments(CLOCK))
    assert not report.is_decided
    assert "too short to decide; best so far" in report.advice


def test_bad_input_is_refused() -> None:
    with AsyncDetector(FakeDetector()) as detector:
        for images, options, message in (
            ([], {}, "no images"),
            (IMAGES, {"seconds": 0}, "seconds"),
            (IMAGES, {"goal": "speed"}, "goal"),
            (IMAGES, {"workers": (0,)}, "workers"),
            (IMAGES, {"num_callers": 0}, "num_callers"),
            (IMAGES, {"options": {"a": [1]}}, "factory"),
        ):
            with pytest.raises(ValueError, match=message):
                tune(detector, images, **options)
        with pytest.raises(InvalidImageError):
            tune(detector, [np.zeros((4, 4), np.uint8)])
    with pytest.raises(DetectorClosed):
        tune(detector, IMAGES)


def test_the_answer_is_remembered_checked_and_forgotten_when_it_no_longer_holds(
    cache_folder: Path,
) -> None:
    accelerator = device(0.004)
    with AsyncDetector(accelerator, 1, 1) as detector:
        first = tune(detector, IMAGES, **SMALL)
        assert first.is_decided and not first.from_cache
        (file,) = (cache_folder / "tuning").iterdir()
        assert file.suffix == ".json"
        again = tune(detector, IMAGES, **SMALL)
        assert again.from_cache and again.best == first.best
        again.apply()
        assert detector.default_batch_size == first.best.batch_size
        assert not tune(detector, IMAGES, use_cache=False, **SMALL).from_cache
        assert not tune(detector, IMAGES[:4], goal="fps>=5", **SMALL).from_cache
        accelerator.call_s = 0.012  # type: ignore[attr-defined]  # another model under the same name
        assert not tune(detector, IMAGES, **SMALL).from_cache
        file.write_text("{broken")
        assert not tune(detector, IMAGES, **SMALL).from_cache


def test_a_factory_is_searched_and_what_cannot_be_made_is_noted() -> None:
    made: list[FakeDetector] = []

    def make(precision: str) -> FakeDetector:
        if precision == "bf16":
            raise ValueError("not on this CPU")
        made.append(device(0.001 if precision == "int8" else 0.006))
        return made[-1]

    with AsyncDetector(device(0.006), 1, 1) as detector:
        report = tune(
            detector,
            IMAGES,
            make=make,
            options={"precision": ["fp32", "bf16", "int8"]},
            **SMALL,
        )
        assert dict(report.best.variant) == {"precision": "int8"}
        assert any("precision=bf16 cannot be used here" in note for note in report.notes)
        report.apply()
        assert detector.detector is made[-1]
        with pytest.raises(TuningError, match=r"no reload\(\)"):
            TuneReport.from_json(report.as_json()).apply(detector)
        with report.build() as built:
            assert isinstance(built.detector, FakeDetector)
            assert built.max_workers == report.best.max_workers


class Loadable(FakeDetector):
    """Can be loaded in several ways, as `YOLOv8Detector` can."""

    def load_choices(self, num_threads: Sequence[int] = ()) -> list[dict[str, Any]]:
        return [{"precision": "int8", "num_threads": count} for count in num_threads or (1,)]

    def reload(self, precision: str, num_threads: int) -> FakeDetector:
        return device(0.001)


def test_the_ways_to_load_that_a_detector_offers_are_searched_and_applied() -> None:
    slow = Loadable(behaviour=device(0.006).behaviour)
    with AsyncDetector(slow, 1, 1) as detector:
        report = detector.tune(IMAGES, seconds=0.5, use_cache=False)
        assert isinstance(report, TuneReport)
        assert {p.choice.variant != () for p in report.points} == {True, False}
        narrow = tune(detector, IMAGES, options={}, use_cache=False, **SMALL)
        assert {p.choice.variant for p in narrow.points} == {()}
        found = tune(detector, IMAGES, use_cache=False, **SMALL)
        assert dict(found.best.variant)["precision"] == "int8"
        found.apply()
        assert detector.detector is not slow and len(detector.detect_batch(IMAGES)) == 8
        assert detector.max_workers == found.best.max_workers


def test_the_method_refuses_what_the_function_refuses() -> None:
    with AsyncDetector(FakeDetector()) as detector:
        with pytest.raises(ValueError, match="no images"):
            detector.tune([])
        with pytest.raises(ValueError, match="goal"):
            detector.tune(IMAGES, goal="speed")
    with pytest.raises(DetectorClosed):
        detector.tune(IMAGES)


def test_a_report_survives_json() -> None:
    with AsyncDetector(device(0.001)) as detector:
        report = tune(detector, IMAGES, **SMALL)
    again = TuneReport.from_json(json.loads(json.dumps(report.as_json())))
    assert again.as_json() == report.as_json()
    with pytest.raises(TuningError, match="knows no detector"):
        again.apply()
    with pytest.raises(TuningError, match="no factory"):
        again.build()
    for broken in ({}, [], {"schema_version": 1}, {"schema_version": 2}):
        with pytest.raises(ValueError, match="no tuning report"):
            TuneReport.from_json(broken)  # type: ignore[arg-type]


def point(choice: Choice, rate: float = 50.0) -> Point:
    return Point(choice, [Measurement(10, 10 / rate, 0.02)])


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (Interval(1.02, 0.98, 1.06), "batching does not help here: 1.02x [0.98, 1.06]"),
        (Interval(3.1, 2.9, 3.3), "batching helps: 3.10x [2.90, 3.30]"),
        (Interval(0.8, 0.7, 0.9), "batching hurts here: 0.80x [0.70, 0.90]"),
        (Interval(1.1, 0.8, 1.5), "batching was not shown to help: 1.10x [0.80, 1.50]"),
        (Interval(1.1, float("nan"), float("nan")), "batching was not shown to help: 1.10x"),
    ],
)
def test_advice_in_words(gain: Interval, words: str) -> None:
    said = advise(
        point(Choice(2, 1)),
        Goal("throughput"),
        batching=gain,
        parallel=None,
        is_decided=True,
        seconds=20,
    )
    opening = "Use 2 workers, single images (50 images/s, 20 ms per image)"
    assert said == f"{opening}; {words}."


def test_advice_when_the_goal_is_out_of_reach() -> None:
    said = advise(
        point(Choice(1, 4)),
        Goal("fps", 90),
        batching=None,
        parallel=None,
        is_decided=True,
        seconds=20,
    )
    assert said.startswith("fps>=90 is out of reach here; fastest: 1 worker, batches of 4")
