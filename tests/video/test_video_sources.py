"""`VideoSource`: every frame with its true time, and an honest verdict on damage."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_clips import frame_image, write_video

from detkit.errors import VideoOpenError
from detkit.video import Frame, VideoSource


def open_descriptors() -> int:
    folder = Path("/proc/self/fd")  # Linux alone has it; elsewhere the test compares 0 with 0.
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


def numbers(frames: list[Frame]) -> list[int]:
    return [round(float(frame.image.mean()) / 8) for frame in frames]


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "libx264"), (".mkv", "libx264"), (".ts", "libx264"), (".avi", "mpeg4"),
     (".mov", "mjpeg"), (".webm", "libvpx-vp9")],
)  # fmt: skip
def test_every_frame_in_order(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_video(tmp_path / f"clip{suffix}", 20, codec=codec)
    video = VideoSource(path)
    frames = list(video)
    assert numbers(frames) == list(range(20))
    assert [frame.frame_index for frame in frames] == list(range(20))
    assert video.status == "complete"
    assert video.num_frames == 20
    assert (video.width, video.height) == (64, 48)
    times = [frame.pts_seconds for frame in frames]
    assert times == pytest.approx([i / 25 for i in range(20)], abs=0.002)
    assert frames[3].source_id == str(path)
    assert frames[3].image.dtype == np.uint8
    assert frames[3].image.flags.c_contiguous


def test_the_frame_rate_is_exact(tmp_path: Path) -> None:
    path = write_video(tmp_path / "ntsc.mp4", 5, rate=Fraction(30000, 1001))
    video = VideoSource(path)
    assert video.fps == Fraction(30000, 1001)
    assert [f.pts_seconds for f in video][4] == pytest.approx(4 * 1001 / 30000, abs=1e-9)


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0, 40, 41, 500, 510, 2000]
    path = write_video(tmp_path / "vfr.mp4", 6, times=times)
    assert [f.pts_seconds for f in VideoSource(path)] == pytest.approx([t / 1000 for t in times])


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_the_rotation_tag_is_honoured(tmp_path: Path, rotation: int) -> None:
    def red_on_the_left(index: int, wh: tuple[int, int]) -> Any:
        image = np.zeros((wh[1], wh[0], 3), np.uint8)
        image[:, : wh[0] // 4, 0] = 255
        return image

    path = write_video(tmp_path / "turned.mp4", 2, rotation=rotation, image=red_on_the_left)
    video = VideoSource(path)
    image = next(iter(video)).image
    upright = np.rot90(red_on_the_left(0, (64, 48)), rotation // 90)
    assert image.shape == upright.shape
    assert (video.height, video.width) == image.shape[:2]
    assert np.abs(image.astype(int) - upright).mean() < 8


def test_it_can_be_read_again_and_left_early(tmp_path: Path) -> None:
    video = VideoSource(write_video(tmp_path / "clip.mp4", 12))
    descriptors = open_descriptors()
    for frame in video:
        if frame.frame_index == 3:
            break
    assert video.status == "interrupted"
    assert len(list(video)) == 12
    assert video.status == "complete"
    assert open_descriptors() == descriptors


def test_close_ends_a_running_iteration(tmp_path: Path) -> None:
    with VideoSource(write_video(tmp_path / "clip.mp4", 12)) as video:
        frames = iter(video)
        next(frames)
        video.close()
        video.close()
        assert list(frames) == []
    assert video.status == "interrupted"


def test_repr_names_the_facts(tmp_path: Path) -> None:
    video = VideoSource(write_video(tmp_path / "clip.mp4", 7))
    assert "64×48, 25 frames/s, 7 frames" in repr(video)
    assert repr(next(iter(video))).startswith("<Frame 0 at 0.000 s of ")


@pytest.mark.parametrize("content", [b"", b"not a video", b"\0" * 5000, b"#EXTM3U\n/etc/passwd\n"])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoOpenError, match=r"clip\.mp4"):
        VideoSource(path)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoOpenError, match="No such file"):
        VideoSource(tmp_path / "none.mp4")
    with pytest.raises(VideoOpenError, match="not a regular file"):
        VideoSource(tmp_path)
    with pytest.raises(OSError, match="null byte"):
        VideoSource("a\0b.mp4")


def test_a_playlist_that_names_other_files_is_not_followed(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.ts", 5)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.2,\nsecret.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(VideoOpenError):
        VideoSource(playlist)
    script = tmp_path / "script.mp4"
    script.write_text("ffconcat version 1.0\nfile secret.ts\n")
    with pytest.raises(VideoOpenError):
        VideoSource(script)


@pytest.mark.parametrize("suffix", [".mp4", ".wav", ".mkv"])
def test_sound_alone_is_no_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sound{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le" if suffix == ".wav" else "aac", rate=48_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.int16 if suffix == ".wav" else np.float32),
            format="s16" if suffix == ".wav" else "fltp",
            layout="mono",
        )
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoOpenError, match="no video"):
        VideoSource(path)


def noisy(index: int, wh: tuple[int, int]) -> Any:
    """Hard to compress, so that packets have a size worth cutting."""
    return np.random.default_rng(index).integers(0, 256, (wh[1], wh[0], 3), dtype=np.uint8)


DAMAGED = [
    (suffix, codec, options, share)
    for suffix, codec, options in (
        (".avi", "mpeg4", {}),
        (".mp4", "libx264", {"movflags": "faststart"}),
        (".mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        (".mkv", "libx264", {}),
        (".ts", "libx264", {}),
    )
    for share in (0.1, 0.5, 0.9)
]


@pytest.mark.parametrize(("suffix", "codec", "options", "share"), DAMAGED)
def test_cut_files_are_never_called_complete_unless_all_frames_came(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str], share: float
) -> None:
    path = write_video(tmp_path / f"clip{suffix}", 100, codec=codec, options=options, image=noisy)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    try:
        video = VideoSource(path)
    except VideoOpenError:
        assert share < 0.5
        return
    count = sum(1 for _ in video)
    assert count == video.num_frames
    assert count < 100
    announced = video.expected_frames is not None and video.expected_frames > count
    if announced or suffix in (".avi", ".mkv"):
        assert video.status == "truncated"


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "libx264"), (".avi", "mpeg4"), (".mkv", "libx264"),
                          (".ts", "libx264")],
)  # fmt: skip
def test_damage_in_the_middle_is_told(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_video(
        tmp_path / f"clip{suffix}",
        100,
        codec=codec,
        image=noisy,
        options={"movflags": "faststart"} if suffix == ".mp4" else {},
    )
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = np.random.default_rng(1).bytes(20_000)
    path.write_bytes(bytes(data))
    video = VideoSource(path)
    count = sum(1 for _ in video)
    assert count == video.num_frames
    assert video.status in ("corrupt", "truncated")


def test_a_wrong_count_in_the_header_does_not_stop_reading(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 30, codec="mpeg4")
    data = bytearray(path.read_bytes())
    at = data.index(b"avih") + 8 + 16  # dwTotalFrames
    data[at : at + 4] = (1000).to_bytes(4, "little")
    at = data.index(b"strh") + 8 + 32  # dwLength
    data[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    video = VideoSource(path)
    assert len(list(video)) == 30
    assert video.status in ("complete", "truncated")


def test_a_size_change_is_passed_on(tmp_path: Path) -> None:
    parts = [
        write_video(tmp_path / f"{wh[0]}.ts", 10, wh=wh).read_bytes() for wh in ((64, 48), (96, 64))
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(parts))
    shapes = [frame.image.shape[:2] for frame in VideoSource(path)]
    assert shapes.count((48, 64)) == 10
    assert shapes.count((64, 96)) == 10


def test_real_videos_are_read_whole(real_video: Callable[[str], Path]) -> None:
    for name, num, rate in (
        ("carphone.mp4", 120, Fraction(30000, 1001)),
        ("bigbuckbunny-720p.mp4", 132, Fraction(25)),
    ):
        video = VideoSource(real_video(name))
        assert video.fps == rate
        assert video.expected_frames == num
        assert sum(1 for _ in video) == num
        assert video.status == "complete"


def test_colours_survive(tmp_path: Path) -> None:
    def bars(index: int, wh: tuple[int, int]) -> Any:
        image = np.zeros((wh[1], wh[0], 3), np.uint8)
        image[:, : wh[0] // 2] = (200, 60, 30)
        image[:, wh[0] // 2 :] = (20, 120, 220)
        return image

    image = next(iter(VideoSource(write_video(tmp_path / "c.mp4", 2, image=bars)))).image
    assert np.abs(image[24, [10, 54]].astype(int) - [[200, 60, 30], [20, 120, 220]]).max() <= 4


def test_grey_numbers_are_what_the_tests_think() -> None:
    assert frame_image(3)[0, 0, 0] == 24


def test_planes_are_there_where_they_fit(tmp_path: Path) -> None:
    hd, small = (write_video(tmp_path / f"{h}.mp4", 3, wh=(128, h)) for h in (720, 96))
    turned = write_video(tmp_path / "turned.mp4", 3, wh=(128, 720), rotation=180)
    for path, has_planes in ((hd, True), (small, False), (turned, False)):
        for frame in VideoSource(path):
            assert (frame.planes is not None) == has_planes, path
            if frame.planes is None:
                continue
            luma, blue, red = frame.planes
            assert (luma.shape, blue.shape, red.shape) == ((720, 128), (360, 64), (360, 64))
            grey = 16 + 219 / 255 * frame.image[0, 0, 0]
            assert np.abs(luma - grey).max() <= 1
            assert np.abs(np.stack([blue, red]).astype(int) - 128).max() <= 1
            assert not luma.flags.writeable
