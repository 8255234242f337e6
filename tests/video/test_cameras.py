"""`CameraSource`: cameras that are there, are not, may not be opened, and are unplugged."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from stopwatch import Stopwatch

from detkit import AsyncDetector
from detkit.errors import SourceError, StreamLostError, VideoOpenError
from detkit.pipeline import detect_video
from detkit.testing import FakeDetector
from detkit.video import CameraSource, Reconnect, SourceEvent, cameras

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks for devices of Linux")
PLUGGED_IN: list[int] = []


class Capture:
    """What OpenCV gives: pictures of one blue each, from 0, until the cable is pulled."""

    opened: list[Capture]

    def __init__(self, index: int, backend: int) -> None:
        self.index, self.backend = index, backend
        self.num_left = PLUGGED_IN.pop(0) if PLUGGED_IN else 0
        self.is_released = False
        self.opened.append(self)

    def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
        return self.num_left > 0

    def get(self, what: int) -> float:
        return 30_000 / 1001 if what == cv2.CAP_PROP_FPS else 0.0

    def read(self) -> tuple[bool, Any]:
        if self.num_left == 0:
            return False, None
        self.num_left -= 1
        return True, np.full((4, 6, 3), (200, 100, self.num_left), np.uint8)

    def release(self) -> None:
        self.is_released = True


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Capture]]:
    """Cameras that can be opened without any device."""
    Capture.opened = []
    PLUGGED_IN.clear()
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    monkeypatch.setattr(cameras, "_unusable", lambda index: None)
    yield Capture.opened
    assert all(capture.is_released for capture in Capture.opened)


def test_pictures_are_rgb_and_the_rate_is_exact(captures: list[Capture]) -> None:
    PLUGGED_IN.append(3)
    camera = CameraSource(2, reconnect=None)
    frames: list[Any] = []
    with pytest.raises(StreamLostError, match=r"camera 2: lost after 3 frames \(the camera"):
        read_into(frames, camera)
    assert [frame.image[0, 0].tolist() for frame in frames] == [
        [2, 100, 200], [1, 100, 200], [0, 100, 200]]  # fmt: skip
    assert camera.fps == Fraction(30_000, 1001)
    assert (camera.width, camera.height) == (6, 4)
    assert [capture.index for capture in captures] == [2]


def read_into(frames: list[Any], camera: CameraSource) -> None:
    for frame in camera:
        frames.append(frame)  # noqa: PERF402  an error comes in the end


def test_one_that_was_unplugged_is_found_again(captures: list[Capture]) -> None:
    PLUGGED_IN.extend([2, 0, 3])
    camera = CameraSource(0, reconnect=Reconnect(first_delay_s=0.001, max_attempts=2))
    events: list[SourceEvent] = []
    camera.on_event = events.append
    frames: list[Any] = []
    with pytest.raises(StreamLostError, match="2 attempts"):
        read_into(frames, camera)
    assert [frame.frame_index for frame in frames] == [0, 1, 2, 3, 4]
    kinds = ["lost", "retry_failed", "reconnected", "lost", "retry_failed", "retry_failed"]
    assert [event.kind for event in events] == kinds
    assert "another program may be using it" in events[1].detail


def test_a_run_over_a_camera_releases_it(captures: list[Capture]) -> None:
    PLUGGED_IN.append(1_000_000)
    with AsyncDetector(FakeDetector(), max_workers=1) as detector:
        run = detect_video(detector, 0, policy="every", max_frames=20)
        assert [frame.frame_index for frame, _ in run] == list(range(20))
    assert run.ledger.source_id == "camera 0"
    assert run.ledger.captured == 20 + sum(run.ledger.dropped.values())


@pytest.mark.parametrize("index", [-1, True, 1.0, "0"])
def test_a_camera_is_a_number(index: object) -> None:
    with pytest.raises(SourceError, match="a camera is a number from 0"):
        CameraSource(index)  # type: ignore[arg-type]


def refusal(index: int, capfd: pytest.CaptureFixture[str]) -> str:
    """How a camera is refused: at once, with nothing on the terminal."""
    watch = Stopwatch()
    with pytest.raises(VideoOpenError, match=f"camera {index}") as caught:
        list(CameraSource(index))
    assert watch.elapsed_s < 1.0
    assert capfd.readouterr() == ("", "")
    return str(caught.value)


@on_linux
def test_what_linux_says_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cameras, "_DEVICES", tmp_path)
    assert refusal(63, capfd).endswith("there is no " + str(tmp_path / "video63"))
    assert "there is no" in refusal(10**30, capfd)
    os.mkfifo(tmp_path / "video1")
    (tmp_path / "video2").write_bytes(b"")
    (tmp_path / "video3").mkdir()
    for index in (1, 2, 3):
        assert refusal(index, capfd).endswith(f"video{index} is no camera")
    (tmp_path / "video4").symlink_to("/dev/null")
    for error, said in (
        (PermissionError(13, "Permission denied"), "may not be opened by this user"),
        (OSError(16, "Device or resource busy"), "cannot be opened (Device or resource busy)"),
        (OSError(6, "No such device or address"), "cannot be opened (No such device or address)"),
    ):

        def refuse(*arguments: object, error: OSError = error) -> int:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", refuse)
            assert said in refusal(4, capfd)
