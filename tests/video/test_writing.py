"""What all sinks share: one name, one run; partial until whole; closed and aborted once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from detkit.errors import VideoWriteError
from detkit.results import DetectionResult
from detkit.video import CsvSink, PictureFolder, VideoSink, VideoSource
from detkit.video.picture_folder import save_picture
from detkit.video.writing import Sink

GREY = np.full((48, 64, 3), 128, np.uint8)
FOUND = DetectionResult([[1, 2, 30, 40]], [0.9], [0])


def a_video(folder: Path) -> VideoSink:
    sink = VideoSink(folder / "clip.mp4")
    sink.write(GREY)
    return sink


def a_folder(folder: Path) -> PictureFolder:
    sink = PictureFolder(folder / "frames")
    sink.write(GREY)
    return sink


def a_table(folder: Path) -> CsvSink:
    sink = CsvSink(folder / "boxes.csv")
    sink.write(FOUND, source="a.jpg")
    return sink


SINKS = pytest.mark.parametrize("make", [a_video, a_folder, a_table])


@SINKS
def test_it_is_partial_until_it_is_closed(make: Callable[[Path], Sink], tmp_path: Path) -> None:
    sink = make(tmp_path)
    assert sink.partial_path.exists()
    assert not sink.path.exists()
    assert list(tmp_path.glob(f"*{sink.path.suffix or 's'}")) == [], "a reader's pattern"
    sink.close()
    sink.close()
    sink.abort()
    assert sink.path.exists()
    assert not sink.partial_path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
@SINKS
def test_no_file_of_results_is_a_program(make: Callable[[Path], Sink], tmp_path: Path) -> None:
    make(tmp_path).close()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or not path.stat().st_mode & 0o111, path


@SINKS
def test_an_error_leaves_what_was_written(make: Callable[[Path], Sink], tmp_path: Path) -> None:
    with pytest.raises(KeyError), make(tmp_path) as sink:
        raise KeyError
    assert sink.partial_path.exists()
    assert not sink.path.exists()
    sink.close()  # nothing more happens
    assert not sink.path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
@SINKS
def test_two_runs_cannot_write_one_name(make: Callable[[Path], Sink], tmp_path: Path) -> None:
    first = make(tmp_path)
    with pytest.raises(VideoWriteError, match="another run is writing it"):
        make(tmp_path)
    first.close()
    if isinstance(first, VideoSink):
        assert sum(1 for _ in VideoSource(first.path)) == 1
    if not isinstance(first, PictureFolder):  # which refuses a folder that holds something
        make(tmp_path).close()


@SINKS
def test_a_link_under_the_partial_name_leads_nothing_away(
    make: Callable[[Path], Sink], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for name in ("clip.mp4.partial", "boxes.csv.partial", "frames.partial", "a.jpg.partial"):
        (tmp_path / name).symlink_to(mine)
    sink = make(tmp_path)
    sink.close()
    assert sink.path.exists()
    assert not sink.path.is_symlink()
    save_picture(tmp_path / "a.jpg", GREY)
    assert not (tmp_path / "a.jpg").is_symlink()
    assert mine.read_text() == "mine"


@SINKS
def test_what_a_killed_run_left_is_in_nobodys_way(
    make: Callable[[Path], Sink], tmp_path: Path
) -> None:
    make(tmp_path).abort()
    sink = make(tmp_path)
    sink.close()
    assert sink.path.exists()
