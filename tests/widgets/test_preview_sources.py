"""`VideoPreview` opens whatever `open_source` opens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from told_camera import Timed, ToldCamera
from widgets.fake_front import Front

from detkit import AsyncDetector
from detkit.errors import SourceError, UnsupportedSettingError, VideoOpenError
from detkit.testing import FakeDetector, numbered_image
from detkit.widgets import VideoPreview

GREY = np.full((48, 64, 3), 128, np.uint8)


@pytest.fixture
def detector() -> Iterator[AsyncDetector]:
    with AsyncDetector(FakeDetector(), max_workers=1) as detector:
        yield detector


def test_a_folder_of_pictures(front: Front, detector: AsyncDetector, tmp_path: Path) -> None:
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), GREY)
    with VideoPreview(tmp_path, detector) as preview:
        assert preview.wait_for_frame()
        assert preview.view.image.caption.startswith("frame 0,")
        preview.seek(3)
        assert preview.wait_for_frame()
        assert preview.view.image.caption.startswith("frame 3,")


def test_a_generator_is_played_once(front: Front, detector: AsyncDetector) -> None:
    with VideoPreview((GREY for _ in range(3)), detector) as preview:
        assert preview.wait_for_frame()
        with pytest.raises(UnsupportedSettingError, match="forwards, once"):
            preview.seek(0)


def test_of_a_live_source_the_newest_frame_is_shown(front: Front, detector: AsyncDetector) -> None:
    go, all_given = threading.Event(), threading.Event()

    def burst(camera: ToldCamera) -> Iterator[Timed]:
        """One picture, when told nine more at once, and then none until it is closed."""
        for index in range(10):
            yield numbered_image(index), None
            assert go.wait(30)
        all_given.set()
        assert camera.closed.wait(30)

    camera = ToldCamera(burst, is_finite=True)
    with VideoPreview(camera, detector) as preview:
        assert preview.wait_for_frame()
        assert preview.view.image.caption.startswith("frame 0 ")
        # Nobody takes frames while it is paused, and still the camera is not held up.
        go.set()
        assert all_given.wait(30)
        preview.step()
        assert preview.wait_for_frame()
        assert preview.view.image.caption.startswith("frame 9 ")
        preview.step()  # none comes any more; closing does not wait for it
    assert camera.closed.is_set()


def test_what_cannot_be_opened_is_told_at_once(detector: AsyncDetector, tmp_path: Path) -> None:
    with pytest.raises(VideoOpenError):
        VideoPreview(tmp_path / "nothing.mp4", detector)
    with pytest.raises(SourceError):
        VideoPreview(tmp_path, detector)
    with pytest.raises(SourceError, match="no frames can be read"):
        VideoPreview({1: 2}, detector)  # type: ignore[arg-type]
