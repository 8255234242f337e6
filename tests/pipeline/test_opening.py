"""`open_source`: whatever is named becomes the right kind of source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from video_clips import write_video

from detkit import AsyncDetector
from detkit.errors import SourceError, VideoOpenError
from detkit.images import RGBImage
from detkit.pipeline import detect_video, open_source
from detkit.testing import FakeDetector, numbered_image, result_number
from detkit.video import CameraSource, Frame, PictureSource, StreamSource, VideoSource


@pytest.fixture
def detector() -> Iterator[AsyncDetector]:
    with AsyncDetector(FakeDetector(), max_workers=2) as made:
        yield made


def save(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", numbered_image(number)[..., ::-1])[1].tobytes())
    return path


def numbers(detector: AsyncDetector, source: object) -> list[int]:
    return [result_number(result) for _, result in detect_video(detector, source)]


async def numbers_async(detector: AsyncDetector, source: object) -> list[int]:
    return [result_number(result) async for _, result in detect_video(detector, source)]


def test_names(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", 3)
    assert isinstance(open_source(video), VideoSource)
    assert isinstance(open_source("rtsp://10.0.0.7/door"), StreamSource)
    assert isinstance(open_source("HTTPS://example.org/x.mp4"), StreamSource)
    assert isinstance(open_source(0), CameraSource)
    assert isinstance(open_source("0"), CameraSource)
    assert [open_source(source).is_live for source in (video, "rtsp://h/x", 0)] == [
        False, True, True]  # fmt: skip
    opened = open_source(video)
    assert open_source(opened) is opened
    odd = write_video(tmp_path / "a[1].mp4", 3)
    assert isinstance(open_source(odd), VideoSource)


@pytest.mark.parametrize("source", [None, 1.5, {"a": 1}, {1}, b"x.mp4", object()])
def test_what_is_nothing_is_told(source: object) -> None:
    with pytest.raises(SourceError, match="no frames can be read from a"):
        open_source(source)  # type: ignore[arg-type]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(VideoOpenError, match="No such file"):
        open_source(tmp_path / "none.mp4")
    with pytest.raises(VideoOpenError, match="No such file"):
        open_source(tmp_path / "none.jpg")
    with pytest.raises(SourceError, match="matches no file"):
        open_source(tmp_path / "*.jpg")
    with pytest.raises(SourceError, match="holds no file"):
        open_source(tmp_path)
    with pytest.raises(VideoOpenError, match="concat:a"):
        open_source("concat:a.mp4|b.mp4")


def test_a_name_with_a_password_shows_none() -> None:
    for text in (" x rtsp://u:hunter2@h/a", "see rtsp://u:hunter2@h/a"):
        with pytest.raises((VideoOpenError, SourceError)) as caught:
            open_source(text)
        assert "hunter2" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"


def test_folders_and_patterns(tmp_path: Path, detector: AsyncDetector) -> None:
    for number in range(12):
        save(tmp_path / f"{number:02}.png", number)
    assert numbers(detector, tmp_path) == list(range(12))
    assert numbers(detector, f"{tmp_path}/*.png") == list(range(12))
    assert numbers(detector, tmp_path / "03.png") == [3]
    run = detect_video(detector, tmp_path)
    frames = [frame for frame, _ in run]
    assert [frame.frame_index for frame in frames] == list(range(12))
    assert {frame.source_id for frame in frames} == {str(tmp_path)}
    assert {frame.pts_seconds for frame in frames} == {None}
    assert (run.ledger.status, run.ledger.expected_frames) == ("complete", 12)


def test_a_picture_that_is_none_is_counted_and_named(
    tmp_path: Path, detector: AsyncDetector
) -> None:
    for number in range(4):
        save(tmp_path / f"{number}.png", number)
    (tmp_path / "1.png").write_bytes(b"no picture")
    run = detect_video(detector, tmp_path)
    assert [frame.frame_index for frame, _ in run] == [0, 2, 3]
    assert run.ledger.status == "corrupt"
    assert run.ledger.summary()["damaged"] == 1
    (event,) = run.ledger.events
    assert event.kind == "damaged"
    assert event.frame_index == 1
    assert "1.png" in event.detail


def test_arrays(tmp_path: Path, detector: AsyncDetector) -> None:
    images = [numbered_image(n) for n in range(5)]
    stack = np.stack(images)
    assert numbers(detector, images) == list(range(5))
    assert numbers(detector, stack) == list(range(5))
    assert numbers(detector, images[3]) == [3]
    mixed = [images[0], save(tmp_path / "1.png", 1), Frame(images[2], "mine", 9, 0.5)]
    pairs = list(detect_video(detector, mixed))
    assert [result_number(result) for _, result in pairs] == [0, 1, 2]
    assert [frame.frame_index for frame, _ in pairs] == [0, 1, 9]
    for array in (stack[..., :2], stack.astype(float), stack[0, 0], stack[np.newaxis]):
        with pytest.raises(SourceError, match="an array of frames must be uint8"):
            open_source(array)


def test_generators(detector: AsyncDetector) -> None:
    closed = []

    def generate(stop: int) -> Iterator[RGBImage]:
        try:
            for number in range(stop):
                yield numbered_image(number)
        finally:
            closed.append("plain")

    async def generate_async(stop: int) -> AsyncIterator[RGBImage]:
        try:
            for number in range(stop):
                await asyncio.sleep(0)
                yield numbered_image(number)
        finally:
            closed.append("async")

    for make in (generate, generate_async):
        assert numbers(detector, make(20)) == list(range(20))
        assert asyncio.run(numbers_async(detector, make(20))) == list(range(20))
    assert closed == ["plain"] * 2 + ["async"] * 2

    async def leave() -> None:
        pairs = aiter(detect_video(detector, generate_async(1000)))
        async for frame, _ in pairs:
            if frame.frame_index == 5:
                break
        await pairs.aclose()

    asyncio.run(leave())
    for _ in detect_video(detector, generate(1000)):
        break
    assert closed[4:] == ["async", "plain"]


def test_an_async_generator_runs_on_the_loop_of_its_reader(detector: AsyncDetector) -> None:
    loops = set()

    async def generate() -> AsyncIterator[RGBImage]:
        loops.add(asyncio.get_running_loop())
        yield numbered_image(0)
        raise OSError("cable pulled")

    async def read() -> None:
        loops.add(asyncio.get_running_loop())
        with pytest.raises(OSError, match="cable pulled"):
            await numbers_async(detector, generate())

    asyncio.run(read())
    assert len(loops) == 1


def test_an_async_generator_that_waits_for_ever_can_be_left(detector: AsyncDetector) -> None:
    ended = []

    async def generate() -> AsyncIterator[RGBImage]:
        try:
            yield numbered_image(0)
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def leave() -> None:
        run = detect_video(detector, generate())
        async for _ in run:
            run.terminate()

    asyncio.run(asyncio.wait_for(leave(), 10))
    assert ended == [True]


def test_repr() -> None:
    assert repr(PictureSource([numbered_image(0)], "mine")) == "<PictureSource 'mine', 1 pictures>"
    assert repr(open_source("rtsp://u:hunter2@h/a?b=1")) == (
        "<StreamSource 'rtsp://***@h/a?...', 0 frames read>"
    )
