from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from widgets.fake_front import Front

from detkit import AsyncDetector, DetectionResult
from detkit.errors import UnsupportedSettingError
from detkit.images import RGBImage
from detkit.testing import FakeDetector
from detkit.video.frames import Frame
from detkit.widgets import VideoPreview

HW = (90, 160)


def frames(number: int) -> list[Frame]:
    made = []
    for index in range(number):
        image = np.full((*HW, 3), 60 + index % 100, np.uint8)
        image[0, 0] = (0, index // 256, index % 256)
        made.append(Frame(image, "clip", index, index / 25))
    return made


def two_boxes(images: Sequence[RGBImage]) -> list[DetectionResult]:
    boxes = [[10, 10, 60, 50], [80, 20, 150, 80]]
    names = {0: "nut", 1: "<bolt>"}
    return [DetectionResult(boxes, [0.9, 0.4], [0, 1], {"class_names": names}) for _ in images]


@pytest.fixture
def fake() -> FakeDetector:
    detector = FakeDetector(behaviour=two_boxes)
    detector.class_names = {0: "nut", 1: "<bolt>"}
    return detector


@pytest.fixture
def detector(fake: FakeDetector) -> Iterator[AsyncDetector]:
    with AsyncDetector(fake, max_workers=1) as detector:
        yield detector


def opened(front: Front, source: Any, detector: AsyncDetector) -> VideoPreview:
    preview = VideoPreview(source, detector)
    assert preview.wait_for_frame()
    return preview


def boxes_in_caption(preview: VideoPreview) -> str:
    return str(preview.view.image.caption).rpartition(", ")[2]


def test_it_opens_paused_on_the_first_frame(front: Front, detector: AsyncDetector) -> None:
    with opened(front, frames(9), detector) as preview:
        assert front.pictures == [1]
        assert preview.view.image.caption == "frame 0 at 0.00 s, 2 objects"
        assert preview.player.state == "paused"
        assert bytes(preview.view.image.value[:2]) == b"\xff\xd8"


def test_the_poster_is_in_the_saved_output(front: Front, detector: AsyncDetector) -> None:
    with VideoPreview(frames(3), detector) as preview:
        bundle = preview._repr_mimebundle_()
        assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
        assert "data:image/jpeg;base64," in bundle["text/html"]
        assert "frame 0 at 0.00 s, 2 objects" in bundle["text/html"]
    assert preview._repr_mimebundle_() == {"text/plain": "<VideoPreview, closed>"}


def test_the_fastest_speed_is_still_named_when_it_is_chosen(
    front: Front, detector: AsyncDetector
) -> None:
    with opened(front, frames(2), detector) as preview:
        front.set(preview.parts.speed, index=5)
        assert preview.parts.speed.label == "as fast as possible"
        assert preview.view.channel.is_sparing  # what this speed means for the pictures
        front.set(preview.parts.speed, index=2)
        assert preview.parts.speed.label == "1×"
        assert not preview.view.channel.is_sparing


def test_a_speed_that_code_sets_is_shown(front: Front, detector: AsyncDetector) -> None:
    with opened(front, frames(2), detector) as preview:
        for speed, label in ((0.5, "0.5×"), (None, "as fast as possible"), (3, "3×"), (1, "1×")):
            preview.set_speed(speed)
            assert preview.parts.speed.label == label
            assert preview.player._orders.speed == speed


def test_stepping_shows_one_frame_each(front: Front, detector: AsyncDetector) -> None:
    with opened(front, frames(9), detector) as preview:
        for number in (2, 3, 4):
            front.click(preview.parts.step)
            front.wait_for(lambda number=number: len(front.pictures) >= number)
        assert "frame 3 " in preview.view.image.caption
        assert preview.num_detected == 4


def play_to_the_end(front: Front, preview: VideoPreview) -> None:
    front.set(preview.parts.speed, index=5)  # as fast as possible
    front.click(preview.parts.play)
    front.wait_for(lambda: "end of the video" in preview.status_text)
    assert preview.screen.flush()


@pytest.mark.parametrize("manner", ["fast", "slow", "silent"])
def test_the_browser_never_slows_detection_nor_is_flooded(
    front: Front, fake: FakeDetector, detector: AsyncDetector, manner: Any
) -> None:
    front.manner = manner
    with opened(front, frames(120), detector) as preview:
        play_to_the_end(front, preview)
        assert preview.num_detected == 120
        assert sum(fake.batch_sizes) == 120
        assert front.max_unconfirmed <= 2
        if manner != "fast":
            assert len(front.pictures) == 2
            assert preview.num_not_shown >= 116
        if manner == "slow":
            front.confirm()
            front.wait_for(lambda: "frame 119 " in preview.view.image.caption)
            assert front.max_unconfirmed <= 2


def test_confidence_redraws_at_once_without_inference(
    front: Front, fake: FakeDetector, detector: AsyncDetector
) -> None:
    with opened(front, frames(5), detector) as preview:
        before = sum(fake.batch_sizes)
        picture = bytes(preview.view.image.value)
        front.set(preview.parts.confidence, value=0.6)
        front.wait_for(lambda: len(front.pictures) == 2)
        assert boxes_in_caption(preview) == "1 object"
        assert bytes(preview.view.image.value) != picture
        front.set(preview.parts.confidence, value=0.95)
        front.wait_for(lambda: len(front.pictures) == 3)
        assert boxes_in_caption(preview) == "0 objects"
        assert sum(fake.batch_sizes) == before


def test_classes_and_labels_redraw(front: Front, detector: AsyncDetector) -> None:
    with opened(front, frames(5), detector) as preview:
        assert preview.parts.classes.options == (("nut", 0), ("<bolt>", 1))
        front.set(preview.parts.classes, index=[1])
        front.wait_for(lambda: len(front.pictures) == 2)
        assert boxes_in_caption(preview) == "1 object"
        picture = bytes(preview.view.image.value)
        front.set(preview.parts.labels, value=False)
        front.wait_for(lambda: len(front.pictures) == 3)
        assert bytes(preview.view.image.value) != picture


def test_seeking_forth_and_back(front: Front, detector: AsyncDetector) -> None:
    with opened(front, frames(50), detector) as preview:
        preview.seek(40)
        front.wait_for(lambda: "frame 40 " in preview.view.image.caption)
        preview.seek(7)
        front.wait_for(lambda: "frame 7 " in preview.view.image.caption)
        front.click(preview.parts.step)
        front.wait_for(lambda: "frame 8 " in preview.view.image.caption)
        assert preview.error_text == ""


def test_a_source_without_rewind_says_so(front: Front, detector: AsyncDetector) -> None:
    with opened(front, iter(frames(9)), detector) as preview:
        with pytest.raises(UnsupportedSettingError, match="only be played forwards"):
            preview.seek(0)
        front.click(preview.parts.step)
        front.wait_for(lambda: "frame 1 " in preview.view.image.caption)
        assert preview.error_text == ""


def test_the_workers_slider_turns_the_running_detector(
    front: Front, detector: AsyncDetector
) -> None:
    with opened(front, frames(5), detector) as preview:
        front.set(preview.parts.workers, value=3)
        assert detector.max_workers == 3
        detector.max_workers = 9  # by another panel, or by code
        front.click(preview.parts.step)
        front.wait_for(lambda: preview.parts.workers.value == 9)
        assert detector.max_workers == 9


def test_a_failing_frame_is_shown_as_failed_and_the_next_one_comes(front: Front) -> None:
    with AsyncDetector(FakeDetector(fail_on={1})) as detector:
        source = [Frame(f.image, f.source_id, f.frame_index, f.pts_seconds) for f in frames(4)]
        with opened(front, source, detector) as preview:
            front.click(preview.parts.step)
            front.wait_for(lambda: "told to fail" in preview.error_text)
            assert preview.view.image.caption.endswith("failed")
            front.click(preview.parts.step)
            front.wait_for(lambda: "frame 2 " in preview.view.image.caption)


def test_an_error_of_the_source_is_shown_escaped(front: Front, detector: AsyncDetector) -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(1)
        raise OSError("<script>cable</script>")

    with opened(front, broken(), detector) as preview:
        front.click(preview.parts.step)
        front.wait_for(lambda: "cable" in preview.error_text)
        assert "<script>" not in preview.error_text
        assert preview.player.state == "paused"


def test_closing_the_detector_ends_playing_with_a_message(front: Front, fake: FakeDetector) -> None:
    detector = AsyncDetector(fake)
    with opened(front, frames(500), detector) as preview:
        detector.shutdown()
        front.click(preview.parts.play)
        front.wait_for(lambda: "DetectorClosed" in preview.error_text)
        assert not preview.player.is_playing


def test_closing_the_panel_ends_its_work_even_when_the_detector_hangs(
    front: Front, fake: FakeDetector, detector: AsyncDetector
) -> None:
    preview = opened(front, frames(50), detector)
    fake.gates.at("in_detector").close()
    front.click(preview.parts.play)
    fake.gates.at("in_detector").wait_for_arrivals(2)
    preview.close()
    preview.close()
    fake.gates.open_all()
    assert preview.view.image.comm is None
    assert preview.widget.comm is None
    assert detector.detect(frames(1)[0].image) is not None  # it was not ours to close


def test_a_bare_detector_is_wrapped_and_closed_with_the_panel(
    front: Front, fake: FakeDetector
) -> None:
    preview = VideoPreview(frames(3), fake)
    assert preview.wait_for_frame()
    preview.close()
    assert preview.detector.get_stats()["shutdown"]


def test_no_worker_thread_touches_a_widget(front: Front, detector: AsyncDetector) -> None:
    with opened(front, frames(60), detector) as preview:
        play_to_the_end(front, preview)
    assert front.threads <= {"detkit-screen", threading.current_thread().name}


def test_an_error_in_a_callback_is_shown(front: Front, detector: AsyncDetector) -> None:
    with opened(front, frames(3), detector) as preview:
        preview.on_click(preview.parts.save, lambda: 1 / 0)
        preview.parts.save._click_handlers.callbacks = preview.parts.save._click_handlers.callbacks[
            -1:
        ]
        front.click(preview.parts.save)
        assert "ZeroDivisionError" in preview.error_text


def test_snapshots(front: Front, detector: AsyncDetector, tmp_path: Path) -> None:
    from detkit import decode_image

    with opened(front, frames(3), detector) as preview:
        saved = preview.snapshot(tmp_path / "a.png")
        assert decode_image(saved).shape == (*HW, 3)
        assert "a.png" in preview.status_text
        with pytest.raises(ValueError, match=r"\.png or \.jpg"):
            preview.snapshot(tmp_path / "a.gif")


def test_every_control_has_a_name_and_a_tooltip(front: Front, detector: AsyncDetector) -> None:
    with opened(front, frames(3), detector) as preview:
        parts = preview.parts
        for control in (parts.play, parts.step, parts.save, parts.position, parts.speed):
            assert control.description and control.tooltip
        for control in (parts.confidence, parts.workers, parts.labels, parts.classes):
            assert control.description and control.tooltip


def test_a_hidden_preview_sends_nothing(front: Front, detector: AsyncDetector) -> None:
    with opened(front, frames(40), detector) as preview:
        front.look(preview.view.image, True)
        front.look(preview.view.image, False)
        play_to_the_end(front, preview)
        assert front.pictures == [1]
        assert preview.num_detected == 40
        front.look(preview.view.image, True)
        front.wait_for(lambda: "frame 39 " in preview.view.image.caption)


def test_one_of_two_views_is_enough_to_be_seen(front: Front, detector: AsyncDetector) -> None:
    with opened(front, frames(3), detector) as preview:
        for view, visible, is_hidden in (
            ("left", True, False),
            ("right", True, False),
            ("left", False, False),
            ("right", False, True),
        ):
            front.look(preview.view.image, visible, view)
            assert preview.view.is_hidden is is_hidden


def width_of(preview: VideoPreview) -> int:
    jpeg = np.frombuffer(bytes(preview.view.image.value), np.uint8)
    return int(cv2.imdecode(jpeg, cv2.IMREAD_COLOR).shape[1])


def test_no_more_pixels_are_sent_than_the_page_has_room_for(
    front: Front, detector: AsyncDetector
) -> None:
    with opened(front, frames(3), detector) as preview:
        assert width_of(preview) == HW[1]
        front.look(preview.view.image, True, width_px=100)
        front.wait_for(lambda: len(front.pictures) == 2)
        assert width_of(preview) == 100
        assert preview.player.state == "paused"
        for width_px in ("wide", 10**9, -3, None, True):
            front.look(preview.view.image, True, width_px=width_px)
            assert preview.view.width_px == preview.view.image.max_width_px
        front.wait_for(lambda: len(front.pictures) >= 3)
        front.look(preview.view.image, True, "another view", width_px=120)
        front.look(preview.view.image, False)
        assert preview.view.width_px == 120, "only views that can be seen count"


@pytest.mark.parametrize(
    "message", ["shown", None, {}, {"event": "shown", "number": "1"}, {"event": "visible"}]
)
def test_a_message_that_makes_no_sense_is_left_alone(
    front: Front, detector: AsyncDetector, message: Any
) -> None:
    front.manner = "silent"
    with opened(front, frames(3), detector) as preview:
        front.tell(preview.view.image.comm, message)
        assert preview.view.channel.num_confirmed == 0
        assert preview.error_text == ""
