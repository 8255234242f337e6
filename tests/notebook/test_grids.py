"""Grids show every image once, failed ones as failed, and read files only when they must."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from kernels import running_kernel
from matplotlib.figure import Figure

from detkit.drawing import class_color
from detkit.errors import DetectorContractError, ImageDecodeError, ItemFailure, PartialBatchError
from detkit.notebook import show, show_grid
from detkit.notebook.figures import MAX_JPEG_BYTES
from detkit.results import DetectionResult

NAMES = {0: "bolt", 1: "nut"}
IMAGE = np.full((90, 160, 3), 40, np.uint8)
FACTS = {"class_names": NAMES, "image_hw": (90, 160)}
TWO = DetectionResult([[10, 10, 60, 60], [80, 20, 150, 80]], [0.9, 0.55], [0, 1], FACTS)
ONE = DetectionResult([[10, 10, 60, 60]], [0.95], [0], FACTS)
NONE = DetectionResult.empty(FACTS)
FAILED = ItemFailure(1, "detect", DetectorContractError("it returned None"))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def size_wh(figure: Figure) -> tuple[int, int]:
    width, height = figure.get_size_inches() * figure.dpi
    return round(width), round(height)


def drawn(figure: Figure) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR_RGB))


def test_titles_say_source_and_count_and_the_legend_counts_classes() -> None:
    figure = show_grid([IMAGE] * 3, [TWO, NONE, ONE], ["in/a.jpg", "in/b.jpg", "in/c.jpg"])
    assert texts(figure) == [
        *["a.jpg", "2 found"],
        *["b.jpg", "nothing found"],
        *["c.jpg", "1 found"],
        *["bolt 2", "nut 1"],
    ]


def test_boxes_have_the_colour_of_their_class() -> None:
    pixels = drawn(show_grid([IMAGE], [ONE], columns=1)).reshape(-1, 3)
    assert (pixels == class_color(0)).all(axis=1).sum() > 200


@pytest.mark.parametrize("size_hw", [(90, 160), (160, 90), (100, 100), (10, 300), (300, 10)])
def test_the_aspect_is_kept(size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    figure = show_grid([np.zeros((height, width, 3), np.uint8)] * 3)
    shown = figure.axes[0].get_images()[0].get_array()
    assert shown is not None
    assert shown.shape[1] / shown.shape[0] == pytest.approx(width / height, rel=0.1)
    box = figure.axes[0].get_window_extent()
    # Twice the pixels, so that it is sharp when it is saved larger.
    assert shown.shape[1] / box.width == pytest.approx(2, rel=0.1)
    assert shown.shape[0] / box.height == pytest.approx(2, rel=0.1)


def test_a_partial_failure_is_drawn_as_failed() -> None:
    outcomes = [TWO, FAILED, ONE]
    error = PartialBatchError("", 2, 3, [TWO, ONE], [FAILED], outcomes=outcomes)
    figure = show_grid([IMAGE] * 3, error)
    assert "failed" in texts(figure)
    assert "failed at detect" in texts(figure)
    assert any("it returned None" in text for text in texts(figure))


def test_what_cannot_be_read_is_drawn_as_failed(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    grey: Any = IMAGE[..., 0]
    figure = show_grid([tmp_path / "bad.jpg", IMAGE, grey])
    assert texts(figure).count("failed") == 2
    assert "failed at decode" in texts(figure)
    assert "failed at validate" in texts(figure)
    failure = ItemFailure(0, "decode", ImageDecodeError("'bad.jpg': empty"), "bad.jpg")
    assert "bad.jpg" in texts(show_grid([tmp_path / "bad.jpg"], [failure]))


def test_only_the_page_that_is_shown_is_read(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(100)]
    for path in paths[10:20]:
        cv2.imwrite(str(path), IMAGE)
    figure = show_grid(paths, max_images=10, page=1)
    assert "failed" not in texts(figure)
    assert texts(figure)[-1] == "page 2 of 10: 10 of 100 images"


def test_ten_thousand_images_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), np.full((2000, 3000, 3), 90, np.uint8))
    one_image = 2000 * 3000 * 3
    large = DetectionResult(
        [[10, 10, 600, 600]], [0.5], [0], {"class_names": NAMES, "image_hw": (2000, 3000)}
    )
    tracemalloc.start()
    try:
        figure = show_grid([path] * 10_000, [large] * 10_000, by="uncertain", max_images=8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert texts(figure)[-1] == "page 1 of 1250: 8 of 10000 images"
    assert one_image < peak < 4 * one_image, "one at a time, and small ones are kept"


def test_the_order_is_the_callers_choice() -> None:
    images, results = [IMAGE] * 4, [ONE, FAILED, NONE, TWO]

    def titles(by: Any) -> list[str]:
        return [text for text in texts(show_grid(images, results, by=by)) if "image" in text]

    assert titles("input") == ["image 0", "image 1", "image 2", "image 3"]
    assert titles("count") == ["image 3", "image 0", "image 2", "image 1"]
    assert titles("confidence") == ["image 0", "image 3", "image 2", "image 1"]
    assert titles("uncertain") == ["image 3", "image 0", "image 2", "image 1"]
    assert sorted(titles("random")) == titles("input")
    assert titles("random") == titles("random"), "the same sample every time"
    with pytest.raises(ValueError, match="by must be"):
        titles("size")


def test_a_random_page_is_a_sample_of_all() -> None:
    figure = show_grid([IMAGE] * 1000, by="random", max_images=50)
    numbers = [int(text.split()[1]) for text in texts(figure) if text.startswith("image ")]
    assert len(set(numbers)) == 50
    assert min(numbers) < 250
    assert max(numbers) >= 750


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([],), {}, "no images"),
        (([IMAGE], [ONE, ONE]), {}, "2 results were given for 1 images"),
        (([IMAGE], [ONE], ["a", "b"]), {}, "2 sources were given for 1 images"),
        (([IMAGE[:50]], [ONE]), {}, "same order"),
        (([IMAGE],), {"columns": 0}, "at least 1"),
        (([IMAGE],), {"page": 1}, "page 1 does not exist"),
    ],
)
def test_wrong_calls_are_told_apart(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        show_grid(*arguments, **options)


def test_text_from_data_is_only_text() -> None:
    evil = {"class_names": {0: r"$\frac{$<b>\n"}, "image_hw": (90, 160)}
    result = DetectionResult([[1, 1, 9, 9]], [0.5], [0], evil)
    figure = show_grid([IMAGE], [result], [r"$\undefined$.jpg"])
    assert drawn(figure).shape[1] > 100
    secret = show_grid([IMAGE], [ONE], ["rtsp://me:hunter2@camera/1"])
    assert "hunter2" not in " ".join(texts(secret))


def test_long_names_stay_within_their_tile() -> None:
    figure = show_grid([IMAGE] * 4, [TWO] * 4, ["x" * 500 + f"{i}.jpg" for i in range(4)])
    drawn(figure)
    for title, count in zip(figure.texts[:8:2], figure.texts[1:8:2], strict=True):
        assert title.get_window_extent().x1 < count.get_window_extent().x0


def test_show_draws_one_image_at_its_own_size() -> None:
    big = np.zeros((720, 1280, 3), np.uint8)
    assert size_wh(show(big))[0] == 960 + 24
    assert size_wh(show(IMAGE, ONE, "a.jpg"))[0] == 320 + 24
    upright = show(np.zeros((1280, 720, 3), np.uint8))
    assert size_wh(upright)[0] == upright.axes[0].get_window_extent().width + 24
    assert texts(show(IMAGE, ONE, "a.jpg")) == ["a.jpg", "1 found", "bolt 1"]


def test_a_figure_does_not_change_the_images() -> None:
    before = IMAGE.copy()
    show_grid([IMAGE] * 2, [TWO, FAILED])
    np.testing.assert_array_equal(IMAGE, before)


def test_pyplot_is_never_imported() -> None:
    code = """
        import sys
        import numpy as np
        import detkit.notebook
        assert not {"pandas", "matplotlib"} & set(sys.modules), "loaded too early"
        assert detkit.notebook.show_grid([np.zeros((9, 9, 3), np.uint8)])._repr_jpeg_()
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


@pytest.mark.parametrize("backend", ["", "%matplotlib inline\nimport matplotlib.pyplot"])
def test_a_cell_shows_a_figure_exactly_once_in_its_own_size_and_sharp(backend: str) -> None:
    setup = f"{backend}\nimport numpy as np\nfrom detkit.notebook import plot_confidence, show_grid"
    setup += "\nfrom detkit import DetectionResult\nanswer = None"
    with running_kernel() as kernel:
        kernel.run(setup)
        (grid,) = kernel.outputs("show_grid([np.zeros((90, 160, 3), np.uint8)])")
        (chart,) = kernel.outputs("plot_confidence(DetectionResult([[0, 0, 1, 1]], [0.5], [0]))")
    for shown, kind in ((grid, "image/jpeg"), (chart, "image/png")):
        assert set(shown["data"]) == {kind, "text/plain"}
        said = shown["metadata"][kind]
        data = np.frombuffer(base64.b64decode(shown["data"][kind]), np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        assert pixels.shape[:2] == (2 * said["height"], 2 * said["width"])


def test_photographs_of_any_kind_stay_small_when_shown() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (600, 900, 3), np.uint8) for _ in range(12)]
    picture: Any = show_grid(noise)
    data, size = picture._repr_jpeg_()
    assert picture._repr_png_() is None
    assert len(data) <= MAX_JPEG_BYTES
    assert (size["width"], size["height"]) == size_wh(picture)


def test_a_very_tall_picture_is_shown_all_the_same() -> None:
    picture: Any = show_grid([np.zeros((64, 64, 3), np.uint8)] * 60, columns=1, max_images=60)
    assert 32_500 < picture.height_px < 65_000
    data, _ = picture._repr_jpeg_()
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB).shape[0] > 32_500


def test_a_picture_is_a_card_with_round_corners() -> None:
    """It vanishes on a light page and is a card on a dark one."""
    file = io.BytesIO()
    show_grid([IMAGE]).savefig(file, format="png")
    pixels = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners[:, 3] == 0).all()
    assert (pixels[12:-12, :, 3] == 255).all()
    assert (pixels[pixels[..., 3] == 255][:50] == 255).all()
