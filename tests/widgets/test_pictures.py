"""Pictures for the page: what they show, how many bytes they take, and what they leave alone."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from detkit import decode_image
from detkit.detection.opencv_threads import opencv_threads
from detkit.results import DetectionResult
from detkit.widgets import pictures
from detkit.widgets.overlay import Overlay
from detkit.widgets.pictures import JpegBudget, encode_jpeg, shrunk

TRAIL = np.array([[300.0, 200.0], [420.0, 260.0], [600.0, 300.0]])
RESULT = DetectionResult(
    [[100, 80, 700, 500], [650, 300, 1200, 690]],
    [0.9, 0.6],
    [0, 5],
    {"tracker_ids": np.array([3, 7]), "tracker_trails": {3: TRAIL}},
)
OVERLAYS = [Overlay(), Overlay(labels=False), Overlay(tracks=True, trails=True)]


def gradient(height: int, width: int) -> np.ndarray:
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    levels = np.broadcast_arrays(across[None], down[:, None], 128)
    return np.stack(levels, axis=2).astype(np.uint8)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("max_wh", [(1280, 2000), (640, 2000)])
def test_a_preview_shows_what_a_still_picture_shows(
    overlay: Overlay, max_wh: tuple[int, int]
) -> None:
    image = gradient(720, 1280)
    picture, budget = shrunk(image, max_wh), JpegBudget()
    expected = encode_jpeg(picture.drawn(RESULT, overlay=overlay), budget.quality)
    assert budget.encode(picture, RESULT, overlay) == expected
    assert np.array_equal(image, gradient(720, 1280)), "it belongs to the source"


def test_nothing_of_a_picture_shows_in_the_next() -> None:
    budget, plain = JpegBudget(), shrunk(gradient(180, 320), (320, 999))
    budget.encode(plain, DetectionResult([[20, 20, 200, 150]], [0.9], [0]), Overlay())
    quality = budget.quality
    assert budget.encode(plain, None, Overlay()) == encode_jpeg(plain.pixels, quality)
    other = decode_image(budget.encode(shrunk(gradient(90, 160), (160, 999)), None, Overlay()))
    assert other.shape == (90, 160, 3)
    assert np.abs(other.astype(int) - gradient(90, 160)).mean() < 3


def test_large_pictures_lower_the_quality_and_small_ones_raise_it() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (180, 320, 3), np.uint8)
    budget = JpegBudget(max_bytes=20_000)
    sizes = [len(budget.encode(shrunk(noise, (320, 999)), None, Overlay())) for _ in range(6)]
    assert sizes[-1] < sizes[0]
    assert budget.quality == 40
    for _ in range(60):
        budget.encode(shrunk(np.zeros_like(noise), (320, 999)), None, Overlay())
    assert budget.quality == 85


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("three_threads")
def test_pictures_start_no_threads_that_a_detector_would_have_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, int] = {}
    for name in ("resize", "cvtColor"):
        call = getattr(cv2, name)

        def watched(*args: object, name: str = name, call: object = call, **more: object) -> object:
            seen[name] = cv2.getNumThreads()
            return call(*args, **more)  # type: ignore[operator]

        monkeypatch.setattr(pictures.cv2, name, watched)
    monkeypatch.setattr(opencv_threads, "num_threads", 1)
    JpegBudget().encode(shrunk(gradient(720, 1280), (640, 999)), RESULT, Overlay())
    assert seen == {"resize": 1, "cvtColor": 1}
    assert cv2.getNumThreads() == 3
