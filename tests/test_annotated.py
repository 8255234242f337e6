"""`annotate_video`: what it draws and writes, and that whatever goes wrong ends it at once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit import AsyncDetector, annotate, decode_image
from detkit.errors import UnsupportedSettingError, VideoWriteError
from detkit.pipeline import annotate_video
from detkit.results import DetectionResult
from detkit.testing import FakeDetector
from detkit.video import VideoSink, VideoSource


def moving(images: Sequence[np.ndarray]) -> list[DetectionResult]:
    """An object that goes right with the brightness of the frame."""
    lefts = [int(image[0, 0, 0]) for image in images]
    return [DetectionResult([[x, 30, x + 40, 70]], [0.9], [4]) for x in lefts]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoSink(path, 25, crf=1) as sink:
        for index in range(16):
            sink.write(np.full((96, 192, 3), index * 8, np.uint8))
    return path


def annotated(source: Any, output: Path, **options: Any) -> Any:
    async def job() -> Any:
        async with AsyncDetector(FakeDetector(behaviour=moving), max_workers=2) as detector:
            return await annotate_video(detector, source, output, **options)

    return asyncio.run(job())


def test_tracks_get_colours_and_trails_of_their_own(clip: Path, tmp_path: Path) -> None:
    plain = annotated(clip, tmp_path / "plain")
    tracked = annotated(clip, tmp_path / "tracked", track=True)
    assert plain.num_frames == tracked.num_frames == 16
    name = "frame_000015.jpg"
    without, with_trail = (decode_image(tmp_path / n / name) for n in ("plain", "tracked"))
    ahead, trail = np.s_[40:60, 170:], np.s_[46:54, 80:110]  # beside the box, before the label
    assert np.abs(without[ahead].astype(int) - with_trail[ahead]).max() < 30
    assert np.abs(without[trail].astype(int) - with_trail[trail]).max() > 60


def test_a_drawing_of_ones_own_sees_the_tracks(clip: Path, tmp_path: Path) -> None:
    seen: list[list[int]] = []

    def draw(image: Any, result: DetectionResult) -> Any:
        seen.append(result.metadata["tracker_ids"].tolist())
        return image

    annotated(clip, tmp_path / "out.mp4", track=True, draw=draw)
    assert seen == [[-1], *[[1]] * 15]


def test_sound_is_kept_only_where_there_can_be_any(clip: Path, tmp_path: Path) -> None:
    for source, output in (
        (clip, tmp_path / "folder"),
        (list(VideoSource(clip)), tmp_path / "o.mp4"),
    ):
        with pytest.raises(UnsupportedSettingError, match="sound can only be kept"):
            annotated(source, output, keep_audio=True)
    assert annotated(clip, tmp_path / "o.mp4", keep_audio=True).num_frames == 16


def test_a_missing_folder_is_made_and_an_impossible_one_told(clip: Path, tmp_path: Path) -> None:
    assert annotated(clip, tmp_path / "a" / "b" / "o.mp4").output.is_file()
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file" / "o.mp4", tmp_path / "file" / "frames"):
        with pytest.raises(VideoWriteError, match="cannot be written"):
            annotated(clip, output)


FULL_DISK = """
import asyncio, resource, sys, threading, time
import numpy as np
sys.path.insert(0, sys.argv[3])
from stopwatch import Stopwatch
from detkit import AsyncDetector
from detkit.errors import VideoWriteError
from detkit.pipeline import annotate_video
from detkit.testing import FakeDetector, numbered_result
from detkit.video import Frame

rng = np.random.default_rng(0)
noise = [rng.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(8)]
watch = None

def endless():
    for index in range(1_000_000):
        yield Frame(noise[index % 8], "endless", index, index / 25)

def draw(image, result):
    global watch
    watch = Stopwatch()  # the last frame before the disk is full
    return image

async def job():
    behaviour = lambda images: [numbered_result(1) for _ in images]
    async with AsyncDetector(FakeDetector(behaviour=behaviour), max_workers=2) as detector:
        await annotate_video(detector, endless(), sys.argv[1], draw=draw)

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    asyncio.run(job())
except VideoWriteError as error:
    threads = [t for t in threading.enumerate() if t.name.startswith("detkit")]
    for thread in threads:
        thread.join(1.0)  # the one that tells the others to end may still be on its way out
    left = [t.name for t in threads if t.is_alive()]
    print(f"{watch.elapsed_s:.3f}|{left}|{error}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "frames"])
def test_a_full_disk_ends_everything_within_a_second(tmp_path: Path, name: str) -> None:
    limit = 20_000 if name == "frames" else 400_000  # bytes in one file
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / name), str(limit)]
    done = subprocess.run(
        [*command, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    elapsed_s, left, message = done.stdout.strip().split("|")
    assert left == "[]"
    assert f"{name}: cannot be written" in message
    assert float(elapsed_s) < 1.0
    assert not (tmp_path / name).exists()


KILLED = """
import asyncio, os, signal, sys
import numpy as np
from detkit import AsyncDetector
from detkit.pipeline import annotate_video
from detkit.testing import FakeDetector, numbered_result
from detkit.video import CsvSink, Frame

def frames():
    for index in range(400):
        yield Frame(np.full((48, 64, 3), index % 200, np.uint8), "a", index, index / 25)

def on_frame(frame, result):
    table.write(result, source="a", frame_index=frame.frame_index)
    if frame.frame_index == 300:
        os.kill(os.getpid(), signal.SIGKILL)

table = CsvSink(sys.argv[2])

async def job():
    behaviour = lambda images: [numbered_result(1) for _ in images]
    async with AsyncDetector(FakeDetector(behaviour=behaviour)) as detector:
        await annotate_video(detector, frames(), sys.argv[1], on_frame=on_frame)

asyncio.run(job())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "frames"])
def test_a_killed_run_leaves_what_was_written(tmp_path: Path, name: str) -> None:
    out, table = tmp_path / name, tmp_path / "boxes.csv"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(out), str(table)], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    assert not table.exists()
    assert (tmp_path / "boxes.csv.partial").is_file()
    if name == "frames":
        assert len(list((tmp_path / "frames.partial").glob("*.jpg"))) >= 299
    else:
        partial = out.with_name(f"{out.name}.partial")
        # A fragment is one group of 50 frames; the encoder holds back some more.
        assert sum(1 for _ in VideoSource(partial)) >= 200


def test_drawing_on_decoded_planes_looks_as_drawing_on_pixels(tmp_path: Path) -> None:
    path = tmp_path / "hd.mp4"
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (9, 16, 3), np.uint8).repeat(80, axis=0).repeat(80, axis=1)
    with VideoSink(path, 25, crf=4) as sink:
        for index in range(6):
            picture[0, 0] = index * 8
            sink.write(picture)

    def draw(image: Any, result: DetectionResult) -> Any:
        return annotate(image, result)

    for name, options in (("planes", {}), ("pixels", {"draw": draw})):
        assert annotated(path, tmp_path / f"{name}.mp4", **options).num_frames == 6
    pairs = zip(*(VideoSource(tmp_path / f"{n}.mp4") for n in ("planes", "pixels")), strict=True)
    for one, other in pairs:
        difference = np.abs(one.image.astype(int) - other.image).mean(axis=2)
        assert difference.mean() < 2
        assert np.percentile(difference, 99) < 20


def test_a_frame_that_failed_is_written_as_it_was_decoded(tmp_path: Path) -> None:
    path = tmp_path / "hd.mp4"
    with VideoSink(path, 25, crf=4) as sink:
        for index in range(4):
            sink.write(np.full((720, 160, 3), 60 + index, np.uint8))

    def failing(images: Sequence[np.ndarray]) -> list[DetectionResult]:
        raise ValueError("no")

    async def job() -> Any:
        async with AsyncDetector(FakeDetector(behaviour=failing), max_workers=1) as detector:
            return await annotate_video(detector, path, tmp_path / "out.mp4")

    assert asyncio.run(job()).num_failed == 4
    for index, frame in enumerate(VideoSource(tmp_path / "out.mp4")):
        assert np.abs(frame.image.astype(int) - 60 - index).max() <= 3
