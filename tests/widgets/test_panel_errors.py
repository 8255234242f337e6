"""Wherever an error comes from, a person sees it in the panel, and the panel goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from widgets.fake_front import Front

from detkit import AsyncDetector
from detkit.testing import FakeDetector, numbered_image
from detkit.video.frames import Frame
from detkit.widgets import BenchmarkPanel, DetectPanel, VideoPreview

BOOM = "<i>boom</i>"


def fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError(BOOM)


def frames(number: int) -> list[Frame]:
    return [Frame(np.full((90, 160, 3), n, np.uint8), "clip", n, n / 25) for n in range(number)]


@pytest.fixture
def detector() -> Iterator[AsyncDetector]:
    with AsyncDetector(FakeDetector(), max_workers=1) as detector:
        yield detector


@pytest.fixture
def preview(front: Front, detector: AsyncDetector) -> Iterator[VideoPreview]:
    with VideoPreview(frames(9), detector) as preview:
        assert preview.wait_for_frame()
        yield preview


def in_on_click(front: Front, preview: VideoPreview, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(preview.player, "step", fail)
    front.click(preview.parts.step)


def in_observe(front: Front, preview: VideoPreview, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(preview.player, "set_speed", fail)
    front.set(preview.parts.speed, index=0)


def in_render(front: Front, preview: VideoPreview, patch: pytest.MonkeyPatch) -> None:
    with patch.context() as only_once:
        only_once.setattr("detkit.widgets.video_preview.shrunk", fail)
        front.set(preview.parts.confidence, value=0.7)
        front.wait_for(lambda: "boom" in preview.error_text)


def in_timer(front: Front, preview: VideoPreview, patch: pytest.MonkeyPatch) -> None:
    with patch.context() as only_once:  # the line of numbers, which is written by time
        only_once.setattr(preview.parts, "show_numbers", fail)
        front.click(preview.parts.step)
        front.wait_for(lambda: "boom" in preview.error_text)


@pytest.mark.parametrize("place", [in_on_click, in_observe, in_render, in_timer])
def test_errors_of_a_preview(
    front: Front,
    preview: VideoPreview,
    monkeypatch: pytest.MonkeyPatch,
    place: Callable[..., None],
) -> None:
    place(front, preview, monkeypatch)
    assert "boom" in preview.error_text and "<i>" not in preview.error_text
    assert preview.num_errors >= 1
    monkeypatch.undo()
    front.set(preview.parts.confidence, value=0.3)
    assert preview.screen.flush()
    preview.clear_error()
    front.click(preview.parts.step)
    front.wait_for(lambda: len(front.pictures) >= 2)
    assert preview.screen.flush() and preview.error_text == ""


def test_errors_of_a_thread(front: Front, detector: AsyncDetector) -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(1)
        fail()

    with VideoPreview(broken(), detector) as preview:
        assert preview.wait_for_frame()
        front.click(preview.parts.step)
        front.wait_for(lambda: "boom" in preview.error_text)
        assert "<i>" not in preview.error_text and preview.num_errors == 1
        front.set(preview.parts.confidence, value=0.9)
        front.wait_for(lambda: len(front.pictures) >= 2)


def test_errors_of_a_detector(front: Front) -> None:
    broken = AsyncDetector(FakeDetector(behaviour=fail))
    with broken as detector, VideoPreview(frames(3), detector) as preview:
        preview.wait_for_frame()
        assert "boom" in preview.error_text and "<i>" not in preview.error_text
        assert preview.num_errors == 1
        front.click(preview.parts.step)
        front.wait_for(lambda: "frame 1" in preview.error_text)


def test_errors_of_a_task(
    front: Front, detector: AsyncDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BenchmarkPanel(detector, [numbered_image(1)], seconds_per_run=0.0) as panel:
        with monkeypatch.context() as only_once:
            only_once.setattr("detkit.widgets.benchmark_panel.measure", fail)
            front.click(panel.parts.run_button)
            assert panel.wait(20)
        assert "boom" in panel.error_text and "<i>" not in panel.error_text
        assert panel.num_errors == 1
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        assert panel.error_text == "" and len(panel.runs) == 1


def test_errors_of_an_upload(front: Front) -> None:
    with DetectPanel(FakeDetector()) as panel:
        offer = {"event": "offer", "view": "v", "files": "<i>all</i>"}
        front.tell(panel.exchange.zone.comm, offer)
        assert "SourceError" in panel.error_text and "<i>" not in panel.error_text
        assert panel.num_errors == 1
        offer["files"] = [{"name": "a.png", "size": 0}]  # type: ignore[assignment]
        front.tell(panel.exchange.zone.comm, offer)
        assert "the file is empty" in panel.error_text and panel.num_errors == 2
