"""Tracks, trails and recordings of `VideoPreview`, with the fake front end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from widgets.fake_front import Front

from detkit import AsyncDetector, decode_image
from detkit.results import DetectionResult
from detkit.testing import FakeDetector
from detkit.video import Frame, VideoSource
from detkit.widgets import VideoPreview

HW = (96, 160)


def frames(num: int) -> list[Frame]:
    return [Frame(np.full((*HW, 3), 4 * i, np.uint8), "a", i, i / 25) for i in range(num)]


def moving(images: Sequence[np.ndarray]) -> list[DetectionResult]:
    lefts = [int(image[0, 0, 0]) for image in images]
    return [DetectionResult([[x, 30, x + 40, 80]], [0.9], [4]) for x in lefts]


@pytest.fixture
def preview(front: Front) -> Iterator[VideoPreview]:
    with (
        AsyncDetector(FakeDetector(behaviour=moving), max_workers=1) as detector,
        VideoPreview(frames(24), detector) as preview,
    ):
        assert preview.wait_for_frame()
        yield preview


def step(front: Front, preview: VideoPreview, times: int) -> None:
    for _ in range(times):
        assert preview.screen.flush()
        assert preview.shown is not None
        caption = f"frame {preview.shown.frame.frame_index + 1} "
        front.click(preview.parts.step)
        front.wait_for(lambda caption=caption: caption in preview.view.image.caption)


def play_to_the_end(front: Front, preview: VideoPreview) -> None:
    front.set(preview.parts.speed, index=5)  # as fast as possible
    front.click(preview.parts.play)
    front.wait_for(lambda: preview.player.state == "ended")
    assert preview.screen.flush()


def facts(preview: VideoPreview) -> Any:
    shown = preview.shown
    assert shown is not None and isinstance(shown.outcome, DetectionResult)
    return shown.outcome.metadata


def test_tracks_and_trails_are_drawn_and_taken_away_at_once(
    front: Front, preview: VideoPreview
) -> None:
    parts = preview.parts
    assert "tracker_ids" not in facts(preview)
    front.set(parts.tracks, value=True)
    assert "from the next frame on" in preview.status_text
    step(front, preview, 6)
    assert facts(preview)["tracker_ids"].tolist() == [1]
    pictures = {}
    for tracks, trails in ((True, True), (True, False), (False, True), (False, False)):
        front.set(parts.tracks, value=tracks)
        front.set(parts.trails, value=trails)
        assert preview.screen.flush()
        pictures[tracks, trails] = bytes(preview.view.image.value)
    assert len(set(pictures.values())) == 4
    step(front, preview, 1)
    assert "tracker_ids" not in facts(preview)


def test_numbers_begin_anew_after_a_seek(front: Front, preview: VideoPreview) -> None:
    front.set(preview.parts.trails, value=True)
    step(front, preview, 5)
    preview.seek(2)
    front.wait_for(lambda: "frame 2 " in preview.view.image.caption)
    assert facts(preview)["tracker_ids"].tolist() == [-1]
    step(front, preview, 1)
    assert facts(preview)["tracker_ids"].tolist() == [1]


def test_without_the_package_the_switch_says_what_is_missing(
    front: Front, preview: VideoPreview, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    front.set(preview.parts.tracks, value=True)
    assert "detkit[track]" in preview.error_text
    assert preview.parts.tracks.value is False
    step(front, preview, 1)


def test_a_recording_holds_every_frame_from_the_press_to_the_end(
    front: Front, preview: VideoPreview, tmp_path: Path
) -> None:
    front.manner = "silent"  # what the browser shows has no part in it
    path = preview.recording.start(tmp_path / "a.mp4")
    assert preview.parts.record.description == "Stop"
    with pytest.raises(RuntimeError, match="recorded already"):
        preview.recording.start(tmp_path / "b.mp4")
    play_to_the_end(front, preview)
    assert "recorded 23 frames" in preview.status_text
    assert preview.parts.record.description == "Record"
    found = list(VideoSource(path))
    assert len(found) == 23
    assert [f.pts_seconds for f in found] == pytest.approx([i / 25 for i in range(23)], abs=1e-3)
    assert all(f.image.shape == (*HW, 3) for f in found)
    assert np.ptp(found[10].image) > 100  # boxes are in it


def test_the_button_starts_and_stops_and_a_seek_leaves_no_gap(
    front: Front, preview: VideoPreview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    front.click(preview.parts.record)
    step(front, preview, 3)
    preview.seek(1)
    front.wait_for(lambda: "frame 1 " in preview.view.image.caption)
    step(front, preview, 1)
    front.click(preview.parts.record)
    assert preview.error_text == ""
    found = list(VideoSource(tmp_path / "recording_000000.mp4"))
    assert [f.pts_seconds for f in found] == pytest.approx([i / 25 for i in range(5)], abs=1e-3)


def test_closing_the_panel_finishes_the_recording(
    front: Front, preview: VideoPreview, tmp_path: Path
) -> None:
    preview.recording.start(tmp_path / "a.mp4")
    step(front, preview, 4)
    preview.close()
    assert len(list(VideoSource(tmp_path / "a.mp4"))) == 4


def test_a_recording_that_fails_is_told_and_playing_goes_on(
    front: Front, preview: VideoPreview, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    front.click(preview.parts.play)
    preview.guard(lambda: preview.recording.start(tmp_path / "file" / "a.mp4"))
    assert "cannot be written" in preview.error_text
    assert not preview.recording.is_on
    preview.guard(lambda: preview.recording.start(tmp_path / "a.gif"))
    assert "must end in .mp4" in preview.error_text
    front.wait_for(lambda: preview.player.state == "ended")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full of Linux")
def test_a_full_disk_ends_the_recording_only(
    front: Front, preview: VideoPreview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detkit.video.writing.unlink_link", lambda partial: None)
    (tmp_path / "a.mp4.partial").symlink_to("/dev/full")
    preview.recording.start(tmp_path / "a.mp4")
    play_to_the_end(front, preview)
    assert not (tmp_path / "a.mp4").exists()
    assert "cannot be written" in preview.error_text
    assert preview.num_detected == 24


def test_a_snapshot_has_what_the_switches_ask_for(
    front: Front, preview: VideoPreview, tmp_path: Path
) -> None:
    front.set(preview.parts.trails, value=True)
    step(front, preview, 10)
    with_trail = decode_image(preview.snapshot(tmp_path / "a.png"))
    front.set(preview.parts.trails, value=False)
    without = decode_image(preview.snapshot(tmp_path / "b.png"))
    assert (with_trail[50:60, 20:39] != without[50:60, 20:39]).any()
    assert np.array_equal(with_trail[85:], without[85:])


def test_every_new_control_has_a_name_and_a_tooltip(preview: VideoPreview) -> None:
    for control in (preview.parts.record, preview.parts.tracks, preview.parts.trails):
        assert control.description
        assert control.tooltip
