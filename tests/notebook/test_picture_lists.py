"""What a person passes without reading the documentation works, or says what to do."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from detkit import AsyncDetector, PartialBatchError, detect_images, detect_video
from detkit.errors import ItemFailure
from detkit.notebook import compare, crops, images_dataframe, show, show_grid, to_dataframe
from detkit.results import DetectionResult
from detkit.testing import FakeDetector, numbered_image
from detkit.video import Frame

IMAGES = [numbered_image(n, (90, 160)) for n in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, of which one is none, and something else."""
    for number in (0, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), IMAGES[number][..., ::-1])
    (tmp_path / "1.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("something else")
    return tmp_path


@pytest.fixture
def detector() -> Any:
    with AsyncDetector(FakeDetector(fail_on={2})) as detector:
        yield detector


def titles(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts if text.get_text().startswith(("image", "0."))]


def drawn_as_failed(figure: Figure) -> int:
    return sum(text.get_text() == "failed" for text in figure.texts)


@pytest.mark.parametrize("keep_images", [False, True])
def test_records_alone_are_a_grid(folder: Path, detector: Any, keep_images: bool) -> None:
    records = list(detect_images(detector, folder, keep_images=keep_images))
    figure = show_grid(records)
    assert [text.get_text() for text in figure.texts[:3]] == ["0.png", "1 found", "1.png"]
    assert drawn_as_failed(figure) == 2  # no picture, and the detector failed
    assert drawn_as_failed(show_grid(detect_images(detector, folder))) == 2
    assert drawn_as_failed(show(records[0])) == 0
    assert len(crops(records[0]).axes) == 1
    assert len(compare(records, records).axes) == 6


def test_a_result_alone_is_shown_while_its_image_is_held() -> None:
    image = IMAGES[0].copy()
    result = DetectionResult([[1, 1, 9, 9]], [0.5], [0]).with_image(image)
    for picture in (show(result), show_grid([result]), crops(result), compare(result, result)):
        assert picture.axes
    del image
    gc.collect()
    calls: list[Callable[[], Any]] = [
        lambda: show(result),
        lambda: show_grid([result]),
        lambda: crops(result),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="1 of 1 images are not held by anybody any more"):
            call()


def test_a_folder_a_path_and_an_iterator_are_images(folder: Path) -> None:
    for images, number in (
        (folder, 3),
        (str(folder), 3),
        (folder / "0.png", 1),
        (str(folder / "0.png"), 1),
        ((path for path in folder.glob("*.png")), 3),
        (IMAGES[0], 1),
        (np.stack(IMAGES), 3),
    ):
        assert len(show_grid(images).axes) == number
    with pytest.raises(TypeError, match="arrays, paths or a folder, got a int"):
        show_grid(3)  # type: ignore[arg-type]


def test_the_wrong_way_round_is_told(detector: Any) -> None:
    result = detector.detect(IMAGES[0])
    with pytest.raises(TypeError, match="images come first"):
        show(result, IMAGES[0])
    with pytest.raises(ValueError, match="the detection in this image failed"):
        crops(IMAGES[0], ItemFailure(0, "detect", ValueError("no")))


def test_what_a_stopped_call_left_is_a_table(detector: Any) -> None:
    left = [detector.detect(IMAGES[0]), None]
    table = images_dataframe(left)
    assert table["status"].tolist() == ["ok", "failed"]
    assert "not finished" in table["error"][1]
    assert len(to_dataframe(left)) == 1


def test_frames_with_their_results_are_a_table(detector: Any) -> None:
    frames = [Frame(image, "clip", i, i / 25) for i, image in enumerate(IMAGES[:2])]
    table = to_dataframe(detect_video(detector, frames))
    assert table["frame_index"].tolist() == [0, 1]


def test_a_tuple_of_results_is_several_results(detector: Any) -> None:
    results = tuple(detector.detect_batch(IMAGES[:2]))
    assert len(images_dataframe(results)) == 2
    assert images_dataframe((None, *results))["status"].tolist() == ["failed", "ok", "ok"]
    assert len(show_grid(IMAGES[:2], results).axes) == 2
    assert len(show_grid(results).axes) == 2
    assert len(compare(results, results, tuple(IMAGES[:2])).axes) == 4


def test_a_record_or_the_error_of_a_batch_is_a_table(folder: Path, detector: Any) -> None:
    records = list(detect_images(detector, folder))
    assert len(to_dataframe(records[0])) == 1
    assert images_dataframe(records[1])["status"].tolist() == ["failed"]
    with pytest.raises(PartialBatchError) as caught:
        detector.detect_batch(IMAGES)
    assert images_dataframe(caught.value)["num_detections"].sum() == 2


@pytest.mark.parametrize("wrong", [None, 3, "photos", {"a": 1}, [3], [("a", "b")]])
def test_what_holds_no_results_is_told(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected DetectionResult or ItemFailure"):
        to_dataframe(wrong)


def test_results_still_to_come_are_told(detector: Any) -> None:
    with pytest.raises(TypeError, match="collect them"):
        to_dataframe(detector.stream(IMAGES))
