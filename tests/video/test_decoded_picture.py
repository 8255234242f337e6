"""Pictures of videos become pixels when somebody asks, and no more of them than that."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from video_clips import write_video

from detkit import AsyncDetector
from detkit.pipeline import annotate_video, detect_video
from detkit.results import DetectionResult
from detkit.testing import FakeDetector
from detkit.video import Frame, VideoSource
from detkit.video.decoded_picture import DecodedPicture

HD_WH = (320, 720)


class Halving(FakeDetector):
    """Says that it scales every picture to half its size, and finds one box in what it gets."""

    def __init__(self) -> None:
        super().__init__(behaviour=self._find)
        self.shapes_seen: set[tuple[int, ...]] = set()

    def scaled_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        return image_hw[0] // 2, image_hw[1] // 2

    def _find(self, images: Sequence[np.ndarray]) -> list[DetectionResult]:
        self.shapes_seen |= {image.shape for image in images}
        box = [[4, 6, 40, 1_000]]
        return [DetectionResult(box, [0.5], [0], {"image_hw": image.shape[:2]}) for image in images]


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every conversion of a whole picture."""
    calls: list[int] = []
    plain = DecodedPicture._convert

    def counting(self: DecodedPicture) -> Any:
        calls.append(threading.get_ident())
        return plain(self)

    monkeypatch.setattr(DecodedPicture, "_convert", counting)
    return calls


def test_a_picture_is_converted_once_and_only_when_it_is_asked_for(
    tmp_path: Path, converted: list[int]
) -> None:
    frames = list(VideoSource(write_video(tmp_path / "a.mp4", 5, wh=HD_WH)))
    assert [frame.size_hw for frame in frames] == [(720, 320)] * 5
    assert repr(frames[0]).endswith("320×720>")
    assert not converted
    assert frames[2].image is frames[2].image
    assert len(converted) == 1


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_scaled_pixels_are_those_of_the_scaled_picture(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "a.mp4", 2, wh=(128, 96), rotation=rotation)
    for one, other in zip(VideoSource(path), VideoSource(path), strict=True):
        height, width = one.size_hw
        for size_hw in ((height // 2, width // 2), (height // 3, width - 1)):
            expected = cv2.resize(other.image, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
            assert np.array_equal(one.reduced(size_hw), expected)
        assert one.reduced(None).shape == one.reduced((height + 1, width)).shape == one.image.shape
        assert np.array_equal(one.reduced((height, width)), other.image)


def test_a_frame_of_pixels_gives_just_these() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    frame = Frame(image, "mine", 3, 0.5)
    assert frame.image is frame.reduced((3, 4)) is image
    assert frame.size_hw == (6, 8)
    assert frame.planes is None
    later = frame.at(2.5)
    assert (later.image is image, later.source_id, later.frame_index) == (True, "mine", 3)
    assert later.pts_seconds == 2.5


def test_a_frame_can_be_copied_and_sent_elsewhere(tmp_path: Path) -> None:
    frame = next(iter(VideoSource(write_video(tmp_path / "a.mp4", 1))))
    for other in (copy.copy(frame), copy.deepcopy(frame), pickle.loads(pickle.dumps(frame))):
        assert np.array_equal(other.image, frame.image)
        assert (other.source_id, other.frame_index) == (frame.source_id, 0)


def test_many_threads_may_ask_at_once(tmp_path: Path, converted: list[int]) -> None:
    frame = next(iter(VideoSource(write_video(tmp_path / "a.mp4", 1, wh=HD_WH))))
    images: list[Any] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        images.append(frame.image)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(image) for image in images}) == 1
    assert len(converted) == 1


def test_a_detector_sees_no_more_than_it_needs_and_boxes_are_of_the_whole(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 6, wh=HD_WH)
    device = Halving()
    with AsyncDetector(device, max_workers=2) as detector:
        pairs = list(detect_video(detector, path))
    assert device.shapes_seen == {(360, 160, 3)}
    assert len(pairs) == 6
    for frame, result in pairs:
        assert frame.image.shape == (720, 320, 3)
        assert result.metadata["image_hw"] == (720, 320)
        assert result.boxes.tolist() == [[8, 12, 80, 720]]
        assert result.image is frame.image
    kept = [result for _, result in pairs]
    del frame, result, pairs
    gc.collect()
    assert [result.image for result in kept] == [None] * 6  # a result keeps no pixels alive


def test_frames_that_are_left_out_are_not_converted(tmp_path: Path, converted: list[int]) -> None:
    path = write_video(tmp_path / "a.mp4", 12, wh=HD_WH)
    with AsyncDetector(FakeDetector(), max_workers=1) as detector:
        assert sum(1 for _ in detect_video(detector, path, stride=4)) == 3
    assert len(converted) == 3
    assert threading.get_ident() not in converted  # read ahead, beside the detector


def test_annotating_converts_every_frame_once_and_while_reading_ahead(
    tmp_path: Path, converted: list[int]
) -> None:
    path = write_video(tmp_path / "a.mp4", 4, wh=HD_WH)

    async def job() -> None:
        async with AsyncDetector(Halving(), max_workers=1) as detector:
            await annotate_video(detector, path, tmp_path / "out.mp4")

    asyncio.run(job())
    assert len(converted) == 4
    assert len(set(converted)) == 1
