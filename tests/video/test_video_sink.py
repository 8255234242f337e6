"""`VideoSink`: as many frames out as in, playable, and no file under its name unless whole."""

from __future__ import annotations

import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import frame_image

from detkit.errors import InvalidImageError, VideoWriteError
from detkit.video import VideoSink, VideoSource
from detkit.video.sinks import exact_rate


def write(path: Path, num: int = 12, wh: tuple[int, int] = (64, 48)) -> None:
    with VideoSink(path, 25) as sink:
        for index in range(num):
            sink.write(frame_image(index, wh))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".MP4"])
def test_frames_out_equal_frames_in(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    write(path)
    frames = list(VideoSource(path))
    assert [round(float(f.image.mean()) / 8) for f in frames] == list(range(12))
    assert [f.pts_seconds for f in frames] == pytest.approx([i / 25 for i in range(12)], abs=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_browsers_play_it(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write(path)
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert video.codec_context.name == "h264"
        assert video.codec_context.pix_fmt == "yuv420p"
        assert video.codec_context.colorspace == 1  # BT.709, so that colours are not guessed
        assert video.frames == 12
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data


@pytest.mark.parametrize("wh", [(1, 1), (3, 5), (17, 33), (65, 48), (64, 47)])
def test_odd_sizes_are_padded_with_their_last_row_and_column(
    tmp_path: Path, wh: tuple[int, int]
) -> None:
    path = tmp_path / "odd.mp4"
    write(path, 3, wh)
    frames = list(VideoSource(path))
    width, height = wh[0] + wh[0] % 2, wh[1] + wh[1] % 2
    assert [frame.image.shape for frame in frames] == [(height, width, 3)] * 3
    assert np.abs(frames[2].image.astype(int) - 16).max() <= 2


def test_times_of_a_source_are_kept(tmp_path: Path) -> None:
    times = [0.5, 0.54, 0.541, 1.0, 2.5]
    path = tmp_path / "vfr.mp4"
    with VideoSink(path, 25, time_base=Fraction(1, 90_000)) as sink:
        for index, time in enumerate(times):
            sink.write(frame_image(index), time)
    found = [frame.pts_seconds for frame in VideoSource(path)]
    assert found == pytest.approx([t - 0.5 for t in times], abs=1e-4)


def test_times_that_repeat_or_go_back_lose_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with VideoSink(path, 25) as sink:
        for index, time in enumerate([0.0, 0.0, 0.04, 0.03, 0.2]):
            sink.write(frame_image(index), time)
    frames = list(VideoSource(path))
    assert len(frames) == 5
    assert np.all(np.diff([f.pts_seconds for f in frames]) > 0)


def test_frame_rates_are_exact(tmp_path: Path) -> None:
    assert exact_rate(29.97) == Fraction(30000, 1001)
    assert exact_rate(23.976) == Fraction(24000, 1001)
    assert exact_rate(59.94) == Fraction(60000, 1001)
    assert exact_rate(30) == 30
    assert exact_rate(30.0) == 30
    assert exact_rate(12.5) == Fraction(25, 2)
    assert exact_rate(Fraction(2997, 100)) == Fraction(2997, 100)
    path = tmp_path / "ntsc.mp4"
    with VideoSink(path, 29.97) as sink:
        for index in range(4):
            sink.write(frame_image(index))
    assert VideoSource(path).fps == Fraction(30000, 1001)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(VideoWriteError, match="fps must be a positive number"):
        VideoSink(tmp_path / "a.mp4", fps)


def test_another_size_is_an_error_and_not_a_dropped_frame(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with pytest.raises(VideoWriteError, match="frame 1 is 32×48, the first was 64×48"):  # noqa: SIM117
        with VideoSink(path, 25) as sink:
            sink.write(frame_image(0))
            sink.write(frame_image(1, (32, 48)))
    assert not path.exists()


def test_a_float_image_is_refused(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "clip.mp4") as sink:
        with pytest.raises(InvalidImageError):
            sink.write(np.zeros((4, 4, 3)))  # type: ignore[arg-type]
        sink.write(frame_image(0))
    assert sink.frames_written == 1


def test_an_error_leaves_a_playable_partial_file_and_an_older_result_alone(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write(path, 3)
    with pytest.raises(RuntimeError, match="mine"):  # noqa: SIM117
        with VideoSink(path, 25) as sink:
            for index in range(30):
                sink.write(frame_image(index))
            raise RuntimeError("mine")
    assert len(list(VideoSource(path))) == 3
    assert len(list(VideoSource(sink.partial_path))) == 30


def test_no_frame_means_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoWriteError, match="no frame was written"):  # noqa: SIM117
        with VideoSink(tmp_path / "clip.mp4"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_closing_twice_and_writing_after_it(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "clip.mp4")
    sink.write(frame_image(0))
    sink.close()
    sink.close()
    sink.abort()
    assert "closed" in repr(sink)
    with pytest.raises(VideoWriteError, match="already closed"):
        sink.write(frame_image(1))


def test_names_and_folders(tmp_path: Path) -> None:
    with pytest.raises(VideoWriteError, match=r"must end in \.mp4"):
        VideoSink(tmp_path / "clip.avi")
    write(tmp_path / "new" / "folder" / "clip ü.mp4")
    assert (tmp_path / "new" / "folder" / "clip ü.mp4").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(VideoWriteError, match="cannot be written"):
        VideoSink(tmp_path / "file" / "clip.mp4")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full of Linux")
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit.video.writing.unlink_link", lambda partial: None)
    path = tmp_path / "clip.mp4"
    (tmp_path / "clip.mp4.partial").symlink_to("/dev/full")
    rng = np.random.default_rng(0)
    with pytest.raises(VideoWriteError, match=r"clip\.mp4: cannot be written"):  # noqa: SIM117
        with VideoSink(path, 25) as sink:
            for _ in range(200):
                sink.write(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
    assert not path.exists()


KILLED = """
import os, signal, sys
import numpy as np
from detkit.video import VideoSink
sink = VideoSink(sys.argv[1], 25)
for index in range(170):
    sink.write(np.full((48, 64, 3), index, np.uint8))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_run_leaves_all_but_the_last_seconds(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    count = sum(1 for _ in VideoSource(tmp_path / "clip.mp4.partial"))
    # A fragment is one group of 50 frames; the encoder holds back some more.
    assert count >= 100


def test_every_frame_has_its_own_pixels_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    colours = np.random.default_rng(0).integers(0, 256, (60, 3))
    with VideoSink(path, 25, crf=1) as sink:
        for colour in colours:
            sink.write(np.full((46, 66, 3), colour, np.uint8))
    with av.open(str(path)) as container:
        # Its tag says BT.709, which is what a player then takes.
        found = [f.to_ndarray(format="rgb24").mean((0, 1)) for f in container.decode(video=0)]
    assert len(found) == 60
    assert np.abs(np.array(found) - colours).max() <= 4


def test_a_preset_is_used_as_it_is(tmp_path: Path) -> None:
    sizes = []
    for preset in ("ultrafast", None, "medium"):
        path = tmp_path / f"{preset}.mp4"
        with VideoSink(path, 25, preset=preset) as sink:
            for index in range(40):
                sink.write(frame_image(index, (320, 240)))
        assert len(list(VideoSource(path))) == 40
        sizes.append(path.read_bytes().count(b"bframes=3"))
    assert sizes == [0, 0, 1]  # libx264 writes its settings into the stream
