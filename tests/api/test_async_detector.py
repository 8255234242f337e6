"""`AsyncDetector` as its specification describes it: every method, every documented error."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import detkit
from detkit import (
    AsyncDetector,
    DetectionResult,
    DetectorClosed,
    PartialBatchError,
    detect_multiple_async,
)
from detkit.errors import DetectionTimeoutError, DetectorNotLoadedError
from detkit.testing import FakeDetector, Gates, numbered_image, result_number

IMAGE = numbered_image(7)
IMAGES = [numbered_image(n) for n in range(40)]
NUMBERS = list(range(40))


def numbers(results: Any) -> list[int]:
    return [result_number(result) for result in results]


# -- names and signatures -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (AsyncDetector, {"detector": None, "max_workers": 4, "default_batch_size": 16}),
        (AsyncDetector.detect_async, {"image": None}),
        (AsyncDetector.detect_batch, {"images": None, "batch_size": None}),
        (AsyncDetector.detect_batch_async, {"images": None, "batch_size": None}),
        (AsyncDetector.shutdown, {"wait": True}),
        (AsyncDetector.get_stats, {}),
        (detect_multiple_async, {"detector": None, "images": None}),
    ],
)
def test_signatures_are_those_of_the_specification(
    function: Any, expected: dict[str, object]
) -> None:
    parameters = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    given = {
        p.name: None if p.default is p.empty else p.default for p in parameters if p.name != "self"
    }
    assert given == expected
    is_async = function.__name__.endswith("_async")
    assert inspect.iscoroutinefunction(function) == is_async


def test_names_are_where_the_specification_has_them() -> None:
    from detkit import api, detection
    from detkit.api import async_detector
    from detkit.detection import yolov8

    assert api.AsyncDetector is async_detector.AsyncDetector is detkit.AsyncDetector
    assert async_detector.detect_multiple_async is detkit.detect_multiple_async
    assert detection.AbstractDetector is detkit.AbstractDetector is api.AbstractDetector
    assert yolov8.YOLOv8Detector is detkit.YOLOv8Detector
    assert api.PartialBatchError is detkit.PartialBatchError
    assert list(inspect.signature(detkit.AbstractDetector.load_model).parameters) == [
        "self", "model_path", "device",
    ]  # fmt: skip


# -- one image ----------------------------------------------------------------------------------


def test_detect_async_gives_boxes_and_facts() -> None:
    async def main() -> DetectionResult:
        async with AsyncDetector(FakeDetector()) as detector:
            return await detector.detect_async(IMAGE)

    result = asyncio.run(main())
    assert result_number(result) == 7
    assert result.metadata["num_detections"] == 1
    assert result.metadata["image_hw"] == (4, 4)
    assert result.metadata["class_names"] == {0: "number"}
    assert result.metadata["model"] == "fake"
    assert result.metadata["batch_size"] == 1
    assert result.metadata["worker"] == 0
    assert result.metadata["inference_ms"] >= 0
    assert result.metadata["queue_ms"] >= 0


def test_sync_and_future_give_the_same_as_await() -> None:
    with AsyncDetector(FakeDetector()) as detector:
        awaited = asyncio.run(detector.detect_async(IMAGE))
        assert detector.detect(IMAGE) == detector.submit(IMAGE).result() == awaited


BAD_IMAGES = {
    "None": None,
    "text": "photo.jpg",
    "grey": np.zeros((4, 4), np.uint8),
    "with alpha": np.zeros((4, 4, 4), np.uint8),
    "float": np.zeros((4, 4, 3)),
    "empty": np.zeros((0, 4, 3), np.uint8),
    "list": [[[0, 0, 0]]],
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_image_is_a_value_error(name: str) -> None:
    bad: Any = BAD_IMAGES[name]
    with AsyncDetector(FakeDetector()) as detector:
        for call in (detector.detect, detector.submit):
            with pytest.raises(ValueError, match="image must"):
                call(bad)
        with pytest.raises(ValueError, match="image must"):
            asyncio.run(detector.detect_async(bad))
        with pytest.raises(PartialBatchError) as caught:
            detector.detect_batch([IMAGE, bad])
        (failure,) = caught.value.failures
        assert (failure.index, failure.stage) == (1, "validate")
        assert isinstance(failure.exception, ValueError)


def test_error_of_the_detector_comes_through_as_it_is() -> None:
    class OutOfPaperError(Exception):
        pass

    def fail(_: object) -> object:
        raise OutOfPaperError("tray 2")

    with AsyncDetector(FakeDetector(behaviour=fail)) as detector:
        with pytest.raises(OutOfPaperError, match="tray 2"):
            asyncio.run(detector.detect_async(IMAGE))
        with pytest.raises(OutOfPaperError, match="tray 2"):
            detector.detect(IMAGE)
        assert isinstance(detector.submit(IMAGE).exception(), OutOfPaperError)


CALLS: dict[str, Callable[[AsyncDetector], object]] = {
    "detect": lambda d: d.detect(IMAGE),
    "submit": lambda d: d.submit(IMAGE),
    "detect_batch": lambda d: d.detect_batch([IMAGE]),
    "map": lambda d: d.map([IMAGE]),
    "stream": lambda d: d.stream([IMAGE]),
    "detect_async": lambda d: asyncio.run(d.detect_async(IMAGE)),
    "detect_batch_async": lambda d: asyncio.run(d.detect_batch_async([IMAGE])),
    "detect_multiple_async": lambda d: asyncio.run(detect_multiple_async(d, [IMAGE])),
}


@pytest.mark.parametrize("name", CALLS)
def test_after_shutdown_every_call_is_a_runtime_error(name: str) -> None:
    detector = AsyncDetector(FakeDetector())
    detector.shutdown()
    with pytest.raises(RuntimeError, match="shut down") as caught:
        CALLS[name](detector)
    assert isinstance(caught.value, DetectorClosed)


@pytest.mark.parametrize("name", [n for n in CALLS if n != "detect_multiple_async"])
def test_before_load_model_every_call_says_so(name: str) -> None:
    fake = FakeDetector()
    fake.is_ready = False
    with AsyncDetector(fake) as detector:
        with pytest.raises(DetectorNotLoadedError, match="load_model"):
            CALLS[name](detector)
        assert detector.get_stats()["detector_loaded"] is False
        fake.load_model("weights")
        assert result_number(detector.detect(IMAGE)) == 7


@pytest.mark.parametrize("name", ["detect", "detect_async"])
def test_timeout_of_one_image(name: str) -> None:
    gates = Gates()
    gates.at("in_detector").close()
    with AsyncDetector(FakeDetector(gates=gates)) as detector:
        with pytest.raises(DetectionTimeoutError, match=r"0\.01 s"):
            if name == "detect":
                detector.detect(IMAGE, timeout_s=0.01)
            else:
                asyncio.run(detector.detect_async(IMAGE, timeout_s=0.01))
        gates.open_all()
        assert result_number(detector.detect(IMAGE, timeout_s=10)) == 7
        assert detector.statistics().timed_out == 1


# -- the end ------------------------------------------------------------------------------------


def test_shutdown_is_graceful_and_may_be_repeated() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    detector = AsyncDetector(FakeDetector(gates=gates), max_workers=1)
    futures = [detector.submit(image) for image in IMAGES]
    detector.shutdown(wait=False)
    assert detector.get_stats()["shutdown"] is True
    with pytest.raises(RuntimeError):
        detector.detect(IMAGE)
    gates.open_all()
    detector.shutdown()
    detector.shutdown()
    assert numbers(f.result(0) for f in futures) == NUMBERS
    assert detector.statistics().workers == 0


def test_context_managers_shut_down_also_after_an_error() -> None:
    async def in_loop() -> AsyncDetector:
        with pytest.raises(KeyError):
            async with AsyncDetector(FakeDetector()) as detector:
                assert numbers(await detector.detect_batch_async(IMAGES)) == NUMBERS
                raise KeyError
        return detector

    with pytest.raises(KeyError), AsyncDetector(FakeDetector()) as detector:
        raise KeyError
    for closed in (detector, asyncio.run(in_loop())):
        assert closed.get_stats()["shutdown"] is True
        assert repr(closed).endswith("shut down)")
        assert closed.statistics().workers == 0
    assert not [t for t in threading.enumerate() if t.name.startswith("detkit-worker")]
