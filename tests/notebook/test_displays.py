"""What a cell shows of a result: true, small, escaped, and nothing more than text in a terminal."""

from __future__ import annotations

import base64
import gc
import re
import subprocess
import sys
import weakref
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np
import pytest

from detkit import AsyncDetector
from detkit.errors import DetectorContractError, ItemFailure
from detkit.notebook.displays import MAX_RESULT_BYTES, failure_html, gallery_html, result_html
from detkit.notebook.formatters import _ListOfResults
from detkit.pipeline import ImageRecord
from detkit.results import DetectionResult
from detkit.testing import FakeDetector, numbered_image

IMAGE = np.full((90, 160, 3), 40, np.uint8)
FACTS = {"class_names": {0: "bolt", 1: "nut"}, "image_hw": (90, 160), "source": "in/a.jpg"}
TWO = DetectionResult([[10, 10, 60, 60], [80, 20, 150, 80]], [0.55, 0.9], [0, 1], FACTS)
FAILED = ItemFailure(3, "detect", DetectorContractError("it returned None"), "in/bad.jpg")
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


class Tags(HTMLParser):
    """Which elements and attributes a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def is_harmless(html: str) -> bool:
    allowed = {"div", "b", "span", "table", "tr", "td", "th", "img"}
    return all(
        tag in allowed
        and not any(name.startswith("on") for name in attributes)
        and (attributes.get("src") or "data:image/jpeg;base64,").startswith("data:image/jpeg")
        for tag, attributes in Tags(html).seen
    )


def test_a_result_is_a_thumbnail_and_a_table_the_surest_first() -> None:
    page = Tags(result_html(TWO.with_image(IMAGE)))
    assert "2 detections" in page.text
    assert "160×90" in page.text
    assert "a.jpg" in page.text
    assert "in/" not in page.text
    assert page.text.index("nut") < page.text.index("bolt")
    assert [tag for tag, _ in page.seen].count("img") == 1
    assert [tag for tag, _ in page.seen].count("tr") == 3


def test_the_thumbnail_is_the_image_with_its_boxes() -> None:
    html = result_html(TWO, IMAGE)
    data = base64.b64decode(re.search(r"base64,([^\"]*)", html)[1])  # type: ignore[index]
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels.shape == (405, 720, 3), "twice as large as shown, for sharp screens"
    outside, on_edge = pixels[20, 20], pixels[90, 46]
    assert np.abs(outside.astype(int) - 40).max() < 12
    assert on_edge[0] > 150 > on_edge[1]


def test_without_its_image_a_result_is_a_table_and_an_empty_one_says_so() -> None:
    assert "<img" not in result_html(TWO)
    assert "nothing found" in result_html(DetectionResult.empty(FACTS))
    many = DetectionResult(np.tile([0, 0, 5, 5], (50, 1)), np.full(50, 0.5), np.arange(50))
    assert "and 40 more" in result_html(many)


def test_results_never_keep_an_image_alive() -> None:
    with AsyncDetector(FakeDetector()) as detector:
        image = numbered_image(3)
        results = [detector.detect(image), *detector.detect_batch([image])]
    for result in results:
        assert result.image is image
        assert result.filter(confidence_threshold=0).image is image
        assert result.with_metadata(a=1).image is image
    gone = weakref.ref(image)
    del image
    gc.collect()
    assert gone() is None
    assert [result.image for result in results] == [None, None]
    assert "<img" not in result_html(results[0])


def test_noise_of_any_size_stays_within_the_bound() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8)
    names = dict.fromkeys(range(60), "<&>" * 1000)
    crowd = DetectionResult(
        np.tile([0, 0, 2000, 1500], (60, 1)),
        np.full(60, 0.5),
        np.arange(60),
        {"class_names": names, "image_hw": (1500, 2000), "source": "x" * 100_000},
    )
    assert len(result_html(crowd, noise).encode()) <= MAX_RESULT_BYTES
    gallery = gallery_html([crowd.with_image(noise)] * 500)
    assert len(gallery.encode()) <= 12 * MAX_RESULT_BYTES


@pytest.mark.parametrize("place", ["class", "file", "model", "stage", "error"])
def test_text_from_data_stays_text(place: str) -> None:
    facts: dict[str, Any] = dict(FACTS)
    if place == "class":
        facts["class_names"] = {0: EVIL, 1: EVIL}
    if place == "file":
        facts["source"] = EVIL
    if place == "model":
        facts["model"] = EVIL
    result = TWO.with_metadata(**facts)
    failure = ItemFailure(
        0,
        EVIL if place == "stage" else "detect",  # type: ignore[arg-type]
        ValueError(EVIL if place == "error" else ""),
        EVIL if place == "file" else None,
    )
    for html in (
        result_html(result, IMAGE),
        failure_html(failure, IMAGE),
        gallery_html([result, failure], [IMAGE, IMAGE]),
    ):
        assert is_harmless(html), html
    assert not is_harmless(f"<div>{EVIL}</div>"), "else this would prove nothing"


def test_passwords_in_addresses_are_not_shown() -> None:
    secret = TWO.with_metadata(source="rtsp://me:hunter2@camera/1")
    failure = ItemFailure(0, "decode", ValueError("x"), "rtsp://me:hunter2@camera/1")
    for html in (result_html(secret), failure_html(failure), gallery_html([secret, failure])):
        assert "hunter2" not in html


def test_a_gallery_counts_and_is_short() -> None:
    page = Tags(gallery_html([TWO.with_image(IMAGE)] * 30 + [FAILED]))
    assert "31 images" in page.text
    assert "60 detections" in page.text
    assert "1 failed" in page.text
    assert "and 19 more" in page.text
    assert [tag for tag, _ in page.seen].count("img") == 12
    assert "failed at detect" in Tags(gallery_html([FAILED])).text


def test_only_lists_of_results_become_galleries() -> None:
    shown = _ListOfResults(None)
    record = ImageRecord(0, "a.jpg", TWO, None, IMAGE)
    for entries in ([TWO], [FAILED, TWO], [record]):
        assert "images" in shown(entries)
    assert "<img" in shown([record])
    for entries in ([], [1], [TWO, 1], [None], ["x"], [[TWO]]):
        assert shown(entries) is None
    assert _ListOfResults(lambda entries: "theirs")([1]) == "theirs"


SESSION = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from IPython.terminal.interactiveshell import TerminalInteractiveShell
shell = {kind}.instance()
from detkit import DetectionResult, ItemFailure
result = DetectionResult([[0, 0, 5, 5]], [0.5], [0])
assert not {{"matplotlib", "pandas"}} & set(sys.modules)
data, _ = shell.display_formatter.format(result)
many, _ = shell.display_formatter.format([result, result])
other, _ = shell.display_formatter.format([1])
assert "detkit.notebook.grids" not in sys.modules and "matplotlib" not in sys.modules
print(sorted(data), sorted(many), sorted(other))
"""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "InteractiveShell",
            "['text/html', 'text/plain'] ['text/html', 'text/plain'] ['text/plain']",
        ),
        ("TerminalInteractiveShell", "['text/plain'] ['text/plain'] ['text/plain']"),
    ],
)
def test_importing_detkit_is_enough_in_a_notebook_and_a_terminal_shows_text(
    kind: str, expected: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SESSION.format(kind=kind)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == expected, done.stderr


def test_importing_detkit_outside_ipython_loads_no_ipython() -> None:
    code = "import sys, detkit; assert 'IPython' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
