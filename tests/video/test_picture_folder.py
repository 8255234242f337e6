"""`PictureFolder`: every frame a file, and no folder under its name unless whole."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from video_clips import frame_image

from detkit import decode_image
from detkit.errors import InvalidImageError, VideoWriteError
from detkit.video import PictureFolder


def test_names_pixels_and_times(tmp_path: Path) -> None:
    path = tmp_path / "new" / "frames"
    with PictureFolder(path, suffix=".png") as folder:
        folder.write(frame_image(1), 0.0)
        folder.write(frame_image(2), 0.2, frame_index=5)
        folder.write(frame_image(3, (8, 6)))
        assert not path.exists()
    assert np.array_equal(decode_image(path / "frame_000005.png"), frame_image(2))
    with (path / "frames.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["file", "frame_index", "pts_seconds"],
        ["frame_000000.png", "0", "0.000000"],
        ["frame_000005.png", "5", "0.200000"],
        ["frame_000002.png", "2", ""],
    ]
    assert [p.name for p in path.parent.iterdir()] == ["frames"]
    assert "3 frames, closed" in repr(folder)


def test_an_error_leaves_the_partial_folder_and_a_new_run_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    with pytest.raises(RuntimeError, match="mine"), PictureFolder(path) as folder:
        folder.write(frame_image(0))
        folder.write(frame_image(1))
        raise RuntimeError("mine")
    assert [p.name for p in tmp_path.iterdir()] == ["frames.partial"]
    assert (tmp_path / "frames.partial" / "frame_000001.jpg").is_file()
    with PictureFolder(path) as folder:
        folder.write(frame_image(0))
    assert sorted(p.name for p in path.iterdir()) == ["frame_000000.jpg", "frames.csv"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(VideoWriteError, match="not empty"):
        PictureFolder(tmp_path)
    (tmp_path / "empty").mkdir()
    with PictureFolder(tmp_path / "empty") as folder:
        folder.write(frame_image(0))
    assert len(list((tmp_path / "empty").iterdir())) == 2


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path / "a")
    with pytest.raises(InvalidImageError):
        folder.write(np.zeros((4, 4, 3)))  # type: ignore[arg-type]
    with pytest.raises(VideoWriteError, match="no frame was written"):
        folder.close()
    with pytest.raises(VideoWriteError, match="already closed"):
        folder.write(frame_image(0))
    folder.abort()
    (tmp_path / "file").write_text("")
    with pytest.raises(VideoWriteError, match="cannot be written"):
        PictureFolder(tmp_path / "file" / "b")
    with pytest.raises(VideoWriteError, match="cannot be written"):
        PictureFolder(tmp_path / "file")
