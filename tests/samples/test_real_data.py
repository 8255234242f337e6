"""Real weights and pictures are found where they may lie, and missed without an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from detkit.image_files import decode_image
from detkit.samples import find_real_data
from detkit.samples import real_data as module


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the notebooks in a checkout that has nothing beside it."""
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "above" / "detkit" / "notebooks"
    folder.mkdir(parents=True)
    return folder


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_without_weights_it_says_how_to_get_them(notebooks: Path) -> None:
    found = find_real_data(notebooks)
    assert found.weights is None
    assert found.videos == ()
    assert "load_model('yolov8n.pt') downloads" in str(found)


def test_the_nearest_weights_are_taken(notebooks: Path, tmp_path: Path) -> None:
    shared = put(notebooks.parents[1] / "shared" / "models" / "yolov8n-coco.pt")
    assert find_real_data(notebooks).weights == shared
    downloaded = put(tmp_path / "cache" / "weights" / "yolov8n.pt")
    assert find_real_data(notebooks).weights == downloaded
    beside = put(notebooks / "yolov8n.pt")
    assert find_real_data(notebooks).weights == beside


def test_as_text_it_names_files_and_no_folder(notebooks: Path, tmp_path: Path) -> None:
    put(notebooks / "yolov8n.pt")
    clip = put(notebooks.parents[1] / "shared" / "videos" / "clip.mp4")
    found = find_real_data(notebooks)
    assert found.videos == (clip,)
    assert str(found) == repr(found) == "at hand: yolov8n.pt, bus.jpg, zidane.jpg, clip.mp4"


def test_the_photographs_are_those_that_come_with_ultralytics(
    notebooks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs = find_real_data(notebooks).photographs
    assert [path.name for path in photographs] == ["bus.jpg", "zidane.jpg"]
    assert decode_image(photographs[0]).shape == (1080, 810, 3)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert find_real_data(notebooks).photographs == ()
