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
from detkit.pipeline import detect_video
from detkit.progress import Progress, counted
from detkit.testing import FakeDetector, numbered_image
from detkit.video.frames import Frame

IMAGES = [numbered_image(number) for number in range(20)]


async def _consume(series: Any) -> None:
    async for _ in series:
        pass


def frames() -> list[Frame]:
    return [Frame(image, i, i / 25, "clip") for i, image in enumerate(IMAGES)]


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
