"""A bar says how far a call is, once, from the caller's thread, and only when it is wanted."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detkit import AsyncDetector, PartialBatchError, detect_images, detect_multiple_async
from detkit.benchmark import benchmark
from detkit.pipeline import (
    annotate_video,
    detect_to_folder,
    detect_video,
    detect_videos,
    sort_inputs,
)
from detkit.progress import Progress, counted
from detkit.testing import FakeDetector, numbered_image
from detkit.video.frames import Frame
from detkit.video.sinks import VideoSink

IMAGES = [numbered_image(number) for number in range(20)]


async def _consume(series: Any) -> None:
    async for _ in series:
        pass


def frames() -> list[Frame]:
    return [Frame(image, "clip", i, i / 25) for i, image in enumerate(IMAGES)]


def two_clips() -> list[list[Frame]]:
    return [frames()[:10], frames()[10:]]


# Every long call, with the answers of image 3 failing.
CALLS: dict[str, Callable[[AsyncDetector], object]] = {
    "batch": lambda d: d.detect_batch(IMAGES, progress=True),
    "batch_async": lambda d: asyncio.run(d.detect_batch_async(IMAGES, progress=True)),
    "multiple": lambda d: asyncio.run(detect_multiple_async(d, IMAGES, progress=True)),
    "map": lambda d: list(d.map(IMAGES, progress=True, on_error="yield")),
    "stream": lambda d: asyncio.run(_consume(d.stream(IMAGES, progress=True, on_error="yield"))),
    "images": lambda d: list(detect_images(d, IMAGES, progress=True)),
    "images_async": lambda d: asyncio.run(_consume(detect_images(d, IMAGES, progress=True))),
    "video": lambda d: list(detect_video(d, frames(), progress=True, on_error="yield")),
    "video_async": lambda d: asyncio.run(
        _consume(detect_video(d, frames(), progress=True, on_error="yield"))
    ),
    "videos": lambda d: list(detect_videos(d, two_clips(), progress=True, on_error="yield")),
    "videos_async": lambda d: asyncio.run(
        _consume(detect_videos(d, two_clips(), progress=True, on_error="yield"))
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_long_call_has_one_bar_that_ends_with_the_truth(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with AsyncDetector(FakeDetector(fail_on={3})) as detector:
        try:
            CALLS[name](detector)
        except PartialBatchError:
            assert name in {"batch", "batch_async", "multiple"}
    out, err = capfd.readouterr()
    assert out == ""
    last = err.rstrip().split("\r")[-1]
    count = "20" if "video" in name else "20/20"
    assert count in last, last
    assert re.search(r"(images|frames)/s, 1 failed\]$", last), last
    assert err.count("\n") == 1, "one bar, one line"


def test_without_it_nothing_is_printed_and_tqdm_is_not_imported() -> None:
    code = """
        import asyncio, sys
        from detkit import AsyncDetector, detect_images
        from detkit.testing import FakeDetector, numbered_image
        images = [numbered_image(n) for n in range(9)]
        with AsyncDetector(FakeDetector()) as detector:
            detector.detect_batch(images)
            asyncio.run(detector.detect_batch_async(images))
            list(detector.map(images)), list(detect_images(detector, images))
        assert "tqdm" not in sys.modules
    """
    code = "\n".join(line[8:] for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_the_callers_thread_touches_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    touched_by: set[str] = set()
    true_set = Progress.set

    def spying(self: Progress, num_done: int, num_failed: int) -> None:
        touched_by.add(threading.current_thread().name)
        true_set(self, num_done, num_failed)

    monkeypatch.setattr(Progress, "set", spying)
    with AsyncDetector(FakeDetector()) as detector:
        for call in CALLS.values():
            call(detector)
    assert touched_by == {threading.current_thread().name}


def test_bars_leave_no_thread_behind() -> None:
    before = threading.active_count()
    for _ in range(20):
        assert list(counted(iter_of(3), 3)) == [0, 1, 2]
    assert threading.active_count() == before


def iter_of(number: int) -> Any:
    yield from range(number)


def test_a_bar_ends_with_the_series_it_counts() -> None:
    closed: list[bool] = []

    def series() -> Any:
        try:
            yield from range(9)
        finally:
            closed.append(True)

    outcomes = counted(series(), 9)
    assert next(outcomes) == 0
    outcomes.close()  # type: ignore[attr-defined]
    assert closed == [True]


def bar_of(capfd: pytest.CaptureFixture[str]) -> str:
    """What the only bar said last."""
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1, "one bar, one line"
    return err.rstrip().split("\r")[-1]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoSink(path, 25) as sink:
        for index in range(12):
            sink.write(np.full((64, 64, 3), index, np.uint8))
    return path


def test_an_annotated_video_has_one_bar_and_none_unless_it_is_wanted(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with AsyncDetector(FakeDetector(fail_on={3})) as detector:
        asyncio.run(annotate_video(detector, clip, tmp_path / "quiet.mp4"))
        assert capfd.readouterr() == ("", "")
        asyncio.run(annotate_video(detector, clip, tmp_path / "out.mp4", progress=True))
    last = bar_of(capfd)
    assert "12/12" in last
    assert "frames/s" in last


def test_a_folder_of_images_and_videos_has_one_bar(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((9, 9, 3), np.uint8))
    inputs = sort_inputs([str(tmp_path)], tmp_path / "out")
    with AsyncDetector(FakeDetector()) as detector:
        asyncio.run(detect_to_folder(detector, inputs, tmp_path / "out", progress=True))
    assert re.search(r"^14 pictures \[.*pictures/s, 1 failed\]$", bar_of(capfd))


def test_tuning_tells_how_much_of_its_time_is_over(capfd: pytest.CaptureFixture[str]) -> None:
    with AsyncDetector(FakeDetector(delay_s=0.001)) as detector:
        detector.tune(IMAGES, seconds=1, use_cache=False, progress=True)
        assert re.search(r"\| ?[01]/1 s \[<.*, 0 failed\]$", bar_of(capfd))
        detector.tune(IMAGES, seconds=0.1, use_cache=False)
    assert capfd.readouterr() == ("", "")


def test_a_benchmark_counts_turns(capfd: pytest.CaptureFixture[str]) -> None:
    with AsyncDetector(FakeDetector()) as detector:
        benchmark({"a": detector, "b": FakeDetector()}, IMAGES, rounds=3, progress=True)
        assert re.search(r"8/8 .* turns/s, 0 failed\]$", bar_of(capfd))
        benchmark({"a": detector}, IMAGES, rounds=2)
    assert capfd.readouterr() == ("", "")


def test_files_are_counted_before_they_are_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with AsyncDetector(FakeDetector()) as detector:
        inputs: list[Any] = [tmp_path, tmp_path / "none.jpg", IMAGES[0]]
        assert len(list(detect_images(detector, inputs, progress=True))) == 6
    last = capfd.readouterr().err.split("\r")[-1]
    assert "6/6" in last
    assert "2 failed" in last
