"""What a preview hands to the detector: no more pixels than it looks at, and boxes of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from detkit import AsyncDetector
from detkit.results import DetectionResult
from detkit.testing import FakeDetector, numbered_image
from detkit.video import Frame, VideoSink, VideoSource
from detkit.widgets.submitted import Submitted


class Halving(FakeDetector):
    """Says that it scales every picture to half its size, and finds one box in what it gets."""

    def scaled_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        return image_hw[0] // 2, image_hw[1] // 2


def find(images: Sequence[np.ndarray]) -> list[DetectionResult]:
    assert {image.shape for image in images} == {(48, 64, 3)}
    return [DetectionResult([[1, 2, 30, 40]], [0.5], [0]) for _ in images]


def test_boxes_are_in_pixels_of_the_frame(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "a.mp4", 25) as sink:
        for number in range(3):
            sink.write(np.full((96, 128, 3), 40 * number, np.uint8))
    with AsyncDetector(Halving(behaviour=find), max_workers=1) as detector:
        source = VideoSource(tmp_path / "a.mp4")
        frames = Submitted(source, detector, 0.1, lambda: 0.0, lambda _: None)
        frames.fill(lambda: False)
        for number in range(3):
            entry = frames.first
            assert entry is not None
            entry.future.result(10)
            outcome = entry.outcome()
            assert isinstance(outcome, DetectionResult)
            assert outcome.boxes.tolist() == [[2, 4, 60, 80]]
            assert (entry.frame.frame_index, entry.frame.image.shape) == (number, (96, 128, 3))
            frames.take_first()
        frames.drop(keep_source=False)


def test_an_iterator_of_the_callers_is_closed_with_the_preview() -> None:
    closed = []

    def film() -> Iterator[Frame]:
        try:
            for number in range(1_000):
                yield Frame(numbered_image(number), "film", number, None)
        finally:
            closed.append(True)

    source = film()
    with AsyncDetector(FakeDetector(), max_workers=1) as detector:
        frames = Submitted(source, detector, 0.1, lambda: 0.0, lambda _: None)
        frames.fill(lambda: False)
        frames.drop(keep_source=False)
    assert closed == [True]
