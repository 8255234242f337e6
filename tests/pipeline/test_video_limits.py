"""Runs that end early because they were told to; and what a long run leaves behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from told_camera import Timed, ToldCamera

from detkit import AsyncDetector
from detkit.errors import UnsupportedSettingError, VideoWriteError
from detkit.pipeline import annotate_video, detect_video
from detkit.results import DetectionResult
from detkit.testing import FakeDetector
from detkit.video import FrameLedger, LiveSource, PictureSource, VideoSink, VideoSource

GREY = np.full((48, 64, 3), 128, np.uint8)


@pytest.fixture
def detector() -> Iterator[AsyncDetector]:
    with AsyncDetector(FakeDetector(), max_workers=2) as engine:
        yield engine


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoSink(path, 25) as sink:
        for _ in range(50):
            sink.write(GREY)
    return path


def indices(run: Any, style: str) -> list[int]:
    if style == "sync":
        return [frame.frame_index for frame, _ in run]

    async def read() -> list[int]:
        return [frame.frame_index async for frame, _ in run]

    return asyncio.run(read())


@pytest.mark.parametrize("style", ["sync", "async"])
def test_so_many_frames_and_no_more(detector: AsyncDetector, clip: Path, style: str) -> None:
    run = detect_video(detector, clip, max_frames=7)
    assert indices(run, style) == list(range(7))
    assert run.ledger.detected == 7
    assert run.ledger.status == "interrupted"
    assert run.ledger.captured == 7 + sum(run.ledger.dropped.values())
    run = detect_video(detector, clip, max_frames=7, stride=5)
    assert indices(run, style) == list(range(0, 35, 5))
    run = detect_video(detector, clip, max_frames=100)
    assert (len(indices(run, style)), run.ledger.status) == (50, "complete")


@pytest.mark.parametrize("style", ["sync", "async"])
def test_so_many_seconds_of_a_file(detector: AsyncDetector, clip: Path, style: str) -> None:
    assert indices(detect_video(detector, clip, max_seconds=0.4), style) == list(range(10))
    assert indices(detect_video(detector, clip, max_seconds=9), style) == list(range(50))


def silent(camera: ToldCamera) -> Iterator[Timed]:
    """One picture and then none until it is closed."""
    yield GREY, None
    assert camera.closed.wait(30)


@pytest.mark.parametrize("style", ["sync", "async"])
def test_a_live_source_ends_in_time_though_no_frame_comes(
    detector: AsyncDetector, style: str
) -> None:
    source = ToldCamera(silent)
    run = detect_video(detector, source, max_seconds=0.2)
    assert indices(run, style) == [0]
    assert source.closed.is_set()


def test_limits_that_make_no_sense(detector: AsyncDetector, clip: Path) -> None:
    for wrong in (0, -1):
        with pytest.raises(UnsupportedSettingError, match="max_frames must be above 0"):
            detect_video(detector, clip, max_frames=wrong)
    with pytest.raises(UnsupportedSettingError, match="max_seconds must be above 0, got nan"):
        detect_video(detector, clip, max_seconds=float("nan"))
    with pytest.raises(
        UnsupportedSettingError, match=r"max_frames must be a whole number, got 1\.5"
    ):
        detect_video(detector, clip, max_frames=1.5)  # type: ignore[arg-type]
    for stride in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="stride must be an integer of at least 1"):
            detect_video(detector, clip, stride=stride)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedSettingError, match="no times"):
        list(detect_video(detector, [GREY, GREY], max_seconds=1))


def test_a_written_video_holds_so_many_frames(
    detector: AsyncDetector, clip: Path, tmp_path: Path
) -> None:
    done = asyncio.run(annotate_video(detector, clip, tmp_path / "out.mp4", max_frames=12))
    assert done.num_frames == sum(1 for _ in VideoSource(tmp_path / "out.mp4")) == 12
    assert done.ledger.detected == 12


def test_the_video_itself_is_refused_as_output(detector: AsyncDetector, clip: Path) -> None:
    before = clip.read_bytes()
    with pytest.raises(VideoWriteError, match="the video itself"):
        asyncio.run(annotate_video(detector, clip, clip))
    assert clip.read_bytes() == before


def test_a_name_that_is_too_long_is_told(
    detector: AsyncDetector, clip: Path, tmp_path: Path
) -> None:
    for source in (clip, [GREY]):
        with pytest.raises(VideoWriteError, match=r"cannot be written \(File name too long"):
            asyncio.run(annotate_video(detector, source, tmp_path / f"{'x' * 300}.mp4"))


def test_a_long_run_leaves_nothing_behind() -> None:
    def run(num_frames: int) -> None:
        pictures = PictureSource((GREY.copy() for _ in range(num_frames)), "grey")
        with AsyncDetector(FakeDetector(), max_workers=2) as engine:
            assert sum(1 for _ in detect_video(engine, pictures)) == num_frames
        gc.collect()

    run(200)
    num_threads = threading.active_count()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run(3000)
        left, most = (size - before for size in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert left < 500_000  # 170 bytes a frame would be more
    # What is under way, and of each frame an entry in the ledger and its result in `last_run`.
    assert most < 3000 * 2_000 + 50 * GREY.nbytes
    assert threading.active_count() == num_threads


class Tireless(LiveSource):
    """A camera that gives three pictures for each that the detector takes, for ever."""

    is_finite = False
    expected_frames: int | None = None
    num_damaged = 0
    end = ""

    def __init__(self) -> None:
        super().__init__("tireless", reconnect=None)
        self.is_wanted = threading.Semaphore(0)

    def connect(self) -> Tireless:
        return self

    def pictures(self) -> Iterator[tuple[Any, float | None]]:
        while not self._closing.is_set():
            yield from ((GREY, None) for _ in range(3))
            self.is_wanted.acquire()

    def close(self) -> None:
        super().close()
        self.is_wanted.release()


def test_an_endless_run_is_as_large_after_3000_frames_as_after_1200() -> None:
    """In bytes and in objects: ten minutes of a camera take no more than one."""
    sizes, counts = [], []
    camera = Tireless()

    async def watch(engine: AsyncDetector) -> FrameLedger:
        run = detect_video(engine, camera)
        async with aclosing(aiter(run)) as pairs:
            async for _ in pairs:
                if run.ledger.detected in (1_200, 3_000):
                    gc.collect()
                    sizes.append(tracemalloc.get_traced_memory()[0])
                    counts.append(sum(isinstance(o, DetectionResult) for o in gc.get_objects()))
                if run.ledger.detected == 3_000:
                    break
                camera.is_wanted.release()
        return run.ledger

    tracemalloc.start()
    try:
        with AsyncDetector(FakeDetector(), max_workers=1) as engine:
            ledger = asyncio.run(watch(engine))
            assert len(engine.last_run or ()) in range(1_000, 1_010)
    finally:
        tracemalloc.stop()
    assert len(list(ledger.rows())) == ledger.captured > 3_000
    assert ledger.captured == ledger.detected + sum(ledger.dropped.values())
    assert counts[1] <= counts[0] + 10
    # For each frame less than 200 bytes, which are the times of the last seconds in the
    # statistics; a result that stays takes 1,300, an entry of the ledger 41.
    assert sizes[1] < sizes[0] + 1_800 * 200
