"""Files made to harm, and files that change while they are read: true counts, bounded memory."""

from __future__ import annotations

import asyncio
import os
import resource
import struct
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from stopwatch import Stopwatch
from video_clips import frame_image, write_video

from detkit import AsyncDetector
from detkit.errors import SourceError, VideoOpenError
from detkit.pipeline import annotate_video, detect_video, open_source
from detkit.testing import FakeDetector
from detkit.video import VideoSource, bounded_file
from detkit.video.decoding import SteadyClock

# -- memory -----------------------------------------------------------------------------------


def overwrite(data: bytes, kind: bytes, offset: int, *numbers: int) -> bytes:
    """The bytes with 32-bit numbers in the first box of a kind, so many bytes after its name."""
    at = data.index(kind) + 4 + offset
    return data[:at] + struct.pack(f">{len(numbers)}I", *numbers) + data[at + 4 * len(numbers) :]


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("num", [20_000_000, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", ["moov", "moof", "moof with more to come"])
def test_a_header_that_announces_more_than_the_file_can_hold(
    tmp_path: Path, kind: str, num: int
) -> None:
    """Two thousand bytes that took gigabytes to open."""
    fragmented = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    options = {} if kind == "moov" else fragmented
    data = write_video(tmp_path / "whole.mp4", 20, options=options).read_bytes()
    if kind == "moov":
        data = overwrite(data, b"stsz", 4, 100, num)  # all of 100 bytes, and so many
    else:
        data = overwrite(data, b"trun", 0, 0, num)  # no word on any of them
        data += b"\0\0\0\0free" if kind == "moof" else b"\0\0\0\x08free" * 1000
    path = tmp_path / "bomb.mp4"
    path.write_bytes(data)
    before = peak_bytes()
    with pytest.raises(VideoOpenError, match=rf"bomb\.mp4: its header announces {num:,} samples"):
        VideoSource(path)
    assert peak_bytes() - before < 50_000_000


def test_a_size_that_no_camera_has_is_refused(tmp_path: Path) -> None:
    data = bytearray(write_video(tmp_path / "clip.avi", 5, codec="mjpeg").read_bytes())
    at = -1
    while (at := data.find(b"\xff\xc0", at + 1)) != -1:  # the start of a JPEG frame
        data[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    path = tmp_path / "huge.avi"
    path.write_bytes(bytes(data))
    before = peak_bytes()
    with pytest.raises(VideoOpenError, match="no frame of this video can be decoded"):
        VideoSource(path)
    assert peak_bytes() - before < 100_000_000


@pytest.mark.skipif(os.name == "nt", reason="Windows makes no file with holes by itself")
@pytest.mark.parametrize("suffix", [".ts", ".mpg", ".mkv", ".avi", ".flv"])
def test_nobody_looks_through_64_gigabytes_of_nothing(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_file, "MAX_FRUITLESS_BYTES", 5_000_000)
    path = write_video(tmp_path / f"film{suffix}", 20)
    os.truncate(path, path.stat().st_size + (64 << 30))
    watch = Stopwatch()
    with AsyncDetector(FakeDetector()) as detector:
        run = detect_video(detector, path)
        assert 19 <= sum(1 for _ in run) <= 20
    assert watch.elapsed_s < 20
    assert run.ledger.status == "truncated"
    (event,) = run.ledger.events
    assert (event.kind, event.detail) == ("damaged", "4 MB without a frame: not read on")


def test_what_finds_packets_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "film.ts", 600, wh=(320, 240), codec="mpeg2video", gop=5)
    monkeypatch.setattr(bounded_file, "MAX_FRUITLESS_BYTES", path.stat().st_size // 2)
    video = VideoSource(path)
    assert sum(1 for _ in video) == 600
    assert video.status == "complete"


# -- what a file says of its times ------------------------------------------------------------


def trimmed(source: Path, path: Path, first: int) -> Path:
    """The film from a frame on, not encoded again: its index hides what is before."""
    with av.open(str(source)) as whole, av.open(str(path), "w") as out:
        video = whole.streams.video[0]
        new = out.add_stream_from_template(video)
        shift = round(Fraction(first, 25) / video.time_base)
        for packet in whole.demux(video):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, new
                out.mux(packet)
    return path


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_a_film_that_was_trimmed_is_whole(tmp_path: Path, codec: str) -> None:
    whole = write_video(tmp_path / "whole.mp4", 100, codec=codec)
    video = VideoSource(trimmed(whole, tmp_path / "trimmed.mp4", 15))
    assert video.expected_frames == 85
    frames = list(video)
    assert (len(frames), video.status, frames[0].pts_seconds) == (85, "complete", 0.0)


def test_recordings_put_one_after_the_other_go_on_where_the_first_ends(tmp_path: Path) -> None:
    one = write_video(tmp_path / "one.ts", 20).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(one + one)
    expected = pytest.approx([n / 25 for n in range(40)], abs=0.001)
    assert [frame.pts_seconds for frame in VideoSource(path)] == expected
    with AsyncDetector(FakeDetector()) as detector:
        asyncio.run(annotate_video(detector, path, tmp_path / "out.mp4"))
    assert [frame.pts_seconds for frame in VideoSource(tmp_path / "out.mp4")] == expected


def test_times_never_go_back() -> None:
    clock = SteadyClock(Fraction(10))
    said = [0.0, 0.1, 0.3, 0.2, 0.4, None, 3600.0, 0.0, 0.1, -7.0, -6.9]
    steady = [0.0, 0.1, 0.3, 0.3, 0.4, None, 3600.0, 3600.1, 3600.2, 3600.3, 3600.4]
    assert [clock.steady(seconds) for seconds in said] == pytest.approx(steady)


@pytest.mark.parametrize("rate", [(1, 1_000_000), (1, 0xFFFFFFFF), (0xFFFFFFFF, 1), (0, 0)])
def test_a_frame_rate_that_cannot_be_costs_no_frame(tmp_path: Path, rate: tuple[int, int]) -> None:
    data = bytearray(write_video(tmp_path / "clip.avi", 20, codec="mpeg4").read_bytes())
    at = data.index(b"strh") + 8 + 20  # dwScale and dwRate
    data[at : at + 8] = struct.pack("<II", *rate)
    path = tmp_path / "odd.avi"
    path.write_bytes(bytes(data))
    with AsyncDetector(FakeDetector()) as detector:
        done = asyncio.run(annotate_video(detector, path, tmp_path / "out.mp4", fps=25))
    frames = list(VideoSource(tmp_path / "out.mp4"))
    assert done.num_frames == len(frames) == 20
    assert all((a.pts_seconds or 0) < (b.pts_seconds or 0) for a, b in pairwise(frames))


# -- what happens to a file meanwhile ---------------------------------------------------------


def removed(path: Path, data: bytes) -> None:
    path.unlink()


def cut(path: Path, data: bytes) -> None:
    os.truncate(path, len(data) // 2)


def grown(path: Path, data: bytes) -> None:
    path.write_bytes(data + data)


def replaced_by_a_folder(path: Path, data: bytes) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.skipif(os.name == "nt", reason="Windows changes no file that is open")
@pytest.mark.parametrize("change", [removed, cut, grown, replaced_by_a_folder])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, suffix: str, change: Callable[[Path, bytes], None]
) -> None:
    path = write_video(tmp_path / f"clip{suffix}", 60)
    data = path.read_bytes()
    video = VideoSource(path)
    count = 0
    for frame in video:
        assert frame.frame_index == count
        count += 1
        if count == 5:
            change(path, data)
    assert count == video.num_frames >= 30
    assert video.status in ("complete", "truncated", "corrupt")


# -- names and kinds --------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize(
    "name",
    ["new\nline", "100 %d %s %%", "🎬", "a|b", "-i", "file:x", "concat:a", "[x]*", "a?b", "%2e%2e",
     "\x1b[31mred", "tab\t", "x" * 200],
)  # fmt: skip
def test_any_name_is_a_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4", 3).rename(f"{name}.mp4")
    with AsyncDetector(FakeDetector()) as detector:
        assert sum(1 for _ in detect_video(detector, f"{name}.mp4")) == 3
        asyncio.run(annotate_video(detector, f"{name}.mp4", f"out {name}.mp4"))
    assert sum(1 for _ in VideoSource(f"out {name}.mp4")) == 3
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.mp4", f"out {name}.mp4"}


def test_an_empty_name_is_not_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="the name of the source is empty"):
        open_source("")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "folder.mp4").mkdir()
    for name, said in (
        ("pipe", "not a regular file"),
        ("zero", "not a regular file"),
        ("loop", "symbolic links"),
        ("folder", "not a regular file"),
    ):
        with pytest.raises(VideoOpenError, match=said):
            VideoSource(tmp_path / f"{name}.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_among_pictures_is_left_out_and_named(tmp_path: Path) -> None:
    av.VideoFrame.from_ndarray(frame_image(1), format="rgb24").save(str(tmp_path / "1.png"))
    os.mkfifo(tmp_path / "2.png")
    (tmp_path / "3.png").symlink_to("/dev/zero")
    (tmp_path / "4.png").symlink_to("4.png")
    with AsyncDetector(FakeDetector()) as detector:
        run = detect_video(detector, tmp_path)
        assert [frame.frame_index for frame, _ in run] == [0]
    assert [event.kind for event in run.ledger.events] == ["damaged"] * 3
    assert run.ledger.status == "corrupt"


@pytest.mark.parametrize("hw", [(1, 1), (1, 7), (7, 1), (2, 4_000)])
def test_pictures_of_hardly_any_size(tmp_path: Path, hw: tuple[int, int]) -> None:
    images = [np.full((*hw, 3), 60 * n, np.uint8) for n in range(3)]
    with AsyncDetector(FakeDetector()) as detector:
        done = asyncio.run(annotate_video(detector, images, tmp_path / "out.mp4"))
    assert done.num_frames == sum(1 for _ in VideoSource(tmp_path / "out.mp4")) == 3
