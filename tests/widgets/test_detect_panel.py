from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from widgets.fake_front import Front

from detkit import AsyncDetector, DetectionResult, decode_image
from detkit.testing import FakeDetector
from detkit.widgets import DetectPanel
from detkit.widgets.detected_pictures import DetectedPicture, found_table, table_file
from detkit.widgets.inbox import Limits, Upload

NAMES = {0: "nut", 1: "<b>bolt</b>"}


def png(level: int = 90, hw: tuple[int, int] = (60, 80)) -> bytes:
    return bytes(cv2.imencode(".png", np.full((*hw, 3), level, np.uint8))[1])


def two_boxes(images: Any) -> list[DetectionResult]:
    boxes = [[5, 5, 30, 30], [40, 10, 70, 50]]
    return [DetectionResult(boxes, [0.9, 0.4], [0, 1], {"class_names": NAMES}) for _ in images]


@pytest.fixture
def fake() -> FakeDetector:
    return FakeDetector(behaviour=two_boxes)


@pytest.fixture
def panel(front: Front, fake: FakeDetector) -> Iterator[DetectPanel]:
    with DetectPanel(fake, limits=Limits(max_files=20, part_bytes=2000)) as panel:
        yield panel


class Page:
    """What `file_exchange.js` does."""

    def __init__(self, front: Front, panel: DetectPanel, view: str = "v") -> None:
        self.front, self.zone, self.view = front, panel.exchange.zone, view
        self.files: dict[str, bytes] = {}
        self.saved: dict[str, bytes] = {}
        self.events: list[str] = []
        self._saving = ("", 0, bytearray())
        front.listen(self.zone.model_id, self.heard)
        self.tell("hello")

    def tell(self, event: str, buffers: Any = (), **facts: Any) -> None:
        content = {"event": event, "view": self.view, **facts}
        self.front.tell(self.zone.comm, content, buffers)

    def drop(self, **files: bytes) -> None:
        self.files = files
        self.tell("offer", files=[{"name": n, "size": len(d)} for n, d in files.items()])

    def heard(self, content: dict[str, Any], buffers: list[Any]) -> None:
        if content["view"] != self.view:
            return
        self.events.append(content["event"])
        match content["event"]:
            case "want":
                data = list(self.files.values())[content["file"]]
                piece = data[content["offset"] :][: content["size"]]
                self.tell("part", [piece], file=content["file"], offset=content["offset"])
            case "save":
                self._saving = (content["name"], content["size"], bytearray())
                self.tell("take", offset=0)
            case "bytes":
                name, size, data = self._saving
                data += buffers[0]
                if len(data) < size:
                    self.tell("take", offset=len(data))
                else:
                    self.saved[name] = bytes(data)


@pytest.fixture
def page(front: Front, panel: DetectPanel) -> Page:
    return Page(front, panel)


def cards(panel: DetectPanel) -> str:
    return "".join(card.value for card in panel._cards)


def test_dropped_pictures_are_detected_in(page: Page, panel: DetectPanel) -> None:
    page.drop(**{"a.png": png(), "b.png": png(40)})
    assert panel.wait(20)
    assert "a.png: 2 objects" in cards(panel)
    table = panel.table
    assert table["file"].tolist() == ["a.png", "a.png", "b.png", "b.png"]
    assert table["object"].tolist() == ["nut", "<b>bolt</b>"] * 2
    assert "2 of 2 pictures done · 4 objects" in panel.status_text


def test_confidence_redraws_without_inference(
    front: Front, page: Page, panel: DetectPanel, fake: FakeDetector
) -> None:
    page.drop(**{"a.png": png()})
    assert panel.wait(20)
    before = sum(fake.batch_sizes)
    front.set(panel.parts.confidence, value=0.5)
    panel.screen.flush()
    assert "a.png: 1 object" in cards(panel)
    assert len(panel.table) == 1
    assert sum(fake.batch_sizes) == before


def test_a_bad_file_costs_only_itself(page: Page, panel: DetectPanel) -> None:
    page.drop(**{"a.png": png(), "<i>torn</i>.png": png()[:60], "c.txt": b"text"})
    assert panel.wait(20)
    assert "1 of" not in panel.status_text and "2 failed" in panel.status_text
    notes = panel.table["note"].tolist()
    assert notes[:2] == ["", ""] and all("ImageDecodeError" in note for note in notes[2:])
    html = cards(panel) + panel.parts.table.value
    assert "<i>" not in html and "<b>bolt" not in html
    assert "&lt;i&gt;torn" in html and "&lt;b&gt;bolt" in html


def test_a_bomb_is_refused_before_it_is_decoded(front: Front, fake: FakeDetector) -> None:
    with DetectPanel(fake, limits=Limits(max_pixels=1000)) as panel:
        Page(front, panel).drop(**{"big.png": png()})
        assert panel.wait(20)
        assert "max_pixels" in panel.table["note"][0]


def test_too_many_are_refused_in_words(front: Front, fake: FakeDetector) -> None:
    with DetectPanel(fake, limits=Limits(max_files=1)) as panel:
        Page(front, panel).drop(**{"a.png": png(), "<i>b</i>.png": png()})
        assert panel.wait(20)
        assert len(panel.pictures) == 1
        assert "the most at one time" in panel.error_text and "<i>" not in panel.error_text


def test_a_piece_that_was_not_asked_for_ends_the_upload(page: Page, panel: DetectPanel) -> None:
    page.files = {"a.png": png()[:5]}
    page.tell("offer", files=[{"name": "a.png", "size": 10}])
    assert "broke off" in panel.error_text
    assert page.events == ["want", "done"]
    assert panel.pictures == []


def test_a_second_page_cannot_add_to_the_upload_of_the_first(
    front: Front, page: Page, panel: DetectPanel
) -> None:
    front.tell(
        panel.exchange.zone.comm,
        {"event": "offer", "view": "elsewhere", "files": [{"name": "a.png", "size": 4}]},
    )
    page.tell("part", [b"abcd"], file=0, offset=0)
    assert panel.pictures == []


@pytest.mark.parametrize("content", [None, "offer", {"event": "offer"}, {"event": 1, "view": "v"}])
def test_messages_that_make_no_sense_do_nothing(
    front: Front, panel: DetectPanel, content: Any
) -> None:
    front.tell(panel.exchange.zone.comm, content)
    assert panel.pictures == [] and panel.error_text == ""


def test_the_model_is_loaded_once_and_can_be_changed(front: Front) -> None:
    with DetectPanel() as panel:
        page = Page(front, panel)
        picture = cv2.imencode(".jpg", np.zeros((720, 1280, 3), np.uint8))[1].tobytes()
        page.drop(**{"black.jpg": picture})
        assert panel.wait(60)
        assert panel.table["note"].tolist() == ["no objects"]
        front.set(panel.parts.model, index=len(panel.parts.model.options) - 1)
        assert panel.parts.path.layout.display == "flex"
        assert "path of a model file" in panel.status_text
        front.set(panel.parts.path, value="/nowhere/<x>.onnx")
        assert panel.wait(60)
        assert "ModelNotFoundError" in panel.error_text and "<x>" not in panel.error_text
        assert panel.table["note"].tolist() == ["not done yet"]
        front.set(panel.parts.model, index=0)
        assert panel.wait(60)
        assert panel.table["note"].tolist() == ["no objects"]
        assert panel.error_text == ""


def test_one_picture_is_downloaded_as_png(front: Front, page: Page, panel: DetectPanel) -> None:
    page.drop(**{"../../etc/a.jpg": png()})
    assert panel.wait(20)
    front.click(panel.parts.save_pictures)
    assert panel._saving is not None and panel._saving.wait(20)
    panel.screen.flush()
    assert list(page.saved) == ["a.png"]
    assert decode_image(page.saved["a.png"]).shape == (60, 80, 3)
    assert not np.array_equal(decode_image(page.saved["a.png"]), decode_image(png()))


def test_many_are_downloaded_as_zip_with_safe_names(
    front: Front, page: Page, panel: DetectPanel
) -> None:
    page.drop(**{"x/a.png": png(), "..\\a.png": png(), "con.png": png(), "bad": b"bad"})
    assert panel.wait(20)
    front.click(panel.parts.save_pictures)
    assert panel._saving is not None and panel._saving.wait(20)
    panel.screen.flush()
    with zipfile.ZipFile(io.BytesIO(page.saved["pictures.zip"])) as archive:
        assert archive.namelist() == ["a.jpg", "a-2.jpg", "_con.jpg"]
        assert decode_image(archive.read("a.jpg")).shape == (60, 80, 3)


def test_the_table_is_downloaded_as_csv(front: Front, page: Page, panel: DetectPanel) -> None:
    page.drop(**{"=1+1.png": png()})
    assert panel.wait(20)
    front.click(panel.parts.save_table)
    saved = pd.read_csv(io.BytesIO(page.saved["objects.csv"]))
    assert saved["file"].tolist() == ["'=1+1.png"] * 2
    assert saved["x_max"].tolist() == [30, 70]


def test_only_the_page_that_asked_saves(front: Front, page: Page, panel: DetectPanel) -> None:
    other = Page(front, panel, "other")
    page.drop(**{"a.png": png()})
    assert panel.wait(20)
    front.click(panel.parts.save_table)
    assert list(page.saved) == ["objects.csv"] and other.saved == {}


def test_nothing_to_download_is_said(front: Front, page: Page, panel: DetectPanel) -> None:
    front.click(panel.parts.save_table)
    assert "no table to download" in panel.error_text
    assert panel.parts.save_table.disabled


def test_without_a_browser_there_is_nowhere_to_save(panel: DetectPanel, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    panel.add(tmp_path / "a.png")
    assert panel.wait(20)
    with pytest.raises(RuntimeError, match="no browser"):
        panel.download_table()


def test_pages(front: Front, page: Page, panel: DetectPanel) -> None:
    page.drop(**{f"{n}.png": png() for n in range(8)})
    assert panel.wait(20)
    assert "page 1 of 2" in panel.parts.where.value
    front.click(panel.parts.next)
    panel.screen.flush()
    assert "7.png" in cards(panel) and "0.png" not in cards(panel)


def test_stop_and_clear(front: Front, page: Page, panel: DetectPanel, fake: FakeDetector) -> None:
    fake.gates.at("in_detector").close()
    page.drop(**{f"{n}.png": png() for n in range(3)})
    fake.gates.at("in_detector").wait_for_arrivals()
    front.click(panel.parts.stop)
    fake.gates.open_all()
    assert panel.wait(20)
    assert panel.table["note"].tolist() == ["", "", "not done yet", "not done yet"]
    front.click(panel.parts.clear)
    panel.screen.flush()
    assert panel.pictures == [] and "No pictures yet" in panel.status_text


def test_a_failing_detector_is_shown_at_its_picture(front: Front) -> None:
    def burn(images: Any) -> Any:
        raise RuntimeError("<b>lens</b>")

    with DetectPanel(FakeDetector(behaviour=burn)) as panel:
        Page(front, panel).drop(**{"a.png": png()})
        assert panel.wait(20)
        assert "lens" in cards(panel) and "<b>" not in cards(panel)


def test_closing_ends_the_work(front: Front, fake: FakeDetector) -> None:
    panel = DetectPanel(fake)
    fake.gates.at("in_detector").close()
    Page(front, panel).drop(**{f"{n}.png": png() for n in range(3)})
    fake.gates.at("in_detector").wait_for_arrivals()
    panel.close()
    panel.close()
    fake.gates.open_all()
    assert panel.exchange.zone.comm is None and panel.widget.comm is None
    assert not panel._queue.is_busy


def test_a_detector_of_the_caller_stays_open(front: Front, fake: FakeDetector) -> None:
    with AsyncDetector(fake) as detector:
        with DetectPanel(detector) as panel:
            Page(front, panel).drop(**{"a.png": png()})
            assert panel.wait(20)
        assert not detector.get_stats()["shutdown"]


def test_the_saved_output_holds_pictures_and_table(page: Page, panel: DetectPanel) -> None:
    page.drop(**{"a.png": png()})
    assert panel.wait(20)
    html = panel._repr_mimebundle_()["text/html"]
    assert "<img" in html and "<table" in html


def test_only_the_screen_and_callbacks_touch_widgets(
    front: Front, page: Page, panel: DetectPanel
) -> None:
    page.drop(**{"a.png": png(), "b.png": png()})
    assert panel.wait(20)
    assert front.threads <= {"detkit-screen", threading.current_thread().name}


def test_large_pictures_are_shrunk_for_the_page_alone(page: Page, panel: DetectPanel) -> None:
    page.drop(**{"a.png": png(hw=(1200, 1600))})
    assert panel.wait(20)
    small = panel.pictures[0].small
    assert small is not None and small.pixels.shape == (600, 800, 3)
    assert panel.table["x_max"].tolist() == [30, 70]


def test_a_table_of_every_state() -> None:
    empty = DetectedPicture(Upload("e.png", b""), outcome=DetectionResult.empty())
    table = found_table([DetectedPicture(Upload("w.png", b"")), empty])
    assert table["note"].tolist() == ["not done yet", "no objects"]
    assert table_file(table).startswith(b"\xef\xbb\xbffile,object,confidence,x_min")
