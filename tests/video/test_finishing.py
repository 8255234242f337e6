"""Sound that goes along with a new picture: the same packets, at the same moment of the film."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_clips import frame_image, write_video

from detkit.errors import VideoWriteError
from detkit.video import VideoSink, VideoSource

RATE = 48_000
BEEP_S = 0.6


def with_sound(path: Path, num_frames: int = 30, codec: str = "aac") -> Path:
    """A film of 25 frames/s, silent but for a tone from `BEEP_S` on."""
    times = np.arange(RATE * num_frames // 25) / RATE
    wave = np.where(times < BEEP_S, 0, 0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=RATE, layout="mono")
        resampler = av.AudioResampler(audio.format, "mono", RATE, audio.frame_size or 1024)
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(frame_image(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        sound.rate, sound.pts, sound.time_base = RATE, 0, Fraction(1, RATE)
        for piece in [*resampler.resample(sound), *resampler.resample(None)]:
            container.mux(audio.encode(piece))
        container.mux(audio.encode())
    return path


def tone_begins_s(path: Path) -> float:
    """When the sound of a file is first heard, on the clock of its pictures."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.abs(frame.to_ndarray()).max(axis=0) > 0.1
            if loud.any():
                return float(frame.pts * frame.time_base) + int(loud.argmax()) / RATE
    raise AssertionError("it is silent")


def write(path: Path, source: Path, frames: list[int], **options: Any) -> None:
    with VideoSink(path, 25, audio_from=source, **options) as sink:
        for index in frames:
            sink.write(frame_image(index), index / 25)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_sound_is_copied_as_it_is(tmp_path: Path, suffix: str) -> None:
    source = with_sound(tmp_path / "source.mp4")
    path = tmp_path / f"out{suffix}"
    write(path, source, list(range(30)))
    found = VideoSource(path)
    assert len(list(found)) == 30
    assert found.has_audio
    assert tone_begins_s(path) == pytest.approx(BEEP_S, abs=0.03)
    with av.open(str(source)) as a, av.open(str(path)) as b:
        before = [bytes(p) for p in a.demux(audio=0) if p.size]
        after = [bytes(p) for p in b.demux(audio=0) if p.size]
    assert len(before) - len(after) <= 2  # what lies before the first and after the last frame
    assert set(after) <= set(before)
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_sound_stays_with_its_picture_when_the_film_begins_later(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "source.mp4")
    path = tmp_path / "out.mp4"
    write(path, source, list(range(10, 25)))
    assert tone_begins_s(path) == pytest.approx(BEEP_S - 0.4, abs=0.03)
    with av.open(str(path)) as container:
        sound, picture = container.streams.audio[0], container.streams.video[0]
        assert float(sound.duration * sound.time_base) <= 0.6 + 0.03
        assert float(picture.duration * picture.time_base) == pytest.approx(0.6, abs=1e-3)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_film_without_sound_gives_one_without_sound(tmp_path: Path) -> None:
    source = write_video(tmp_path / "silent.mp4", 5)
    write(tmp_path / "out.mp4", source, list(range(5)))
    assert not VideoSource(tmp_path / "out.mp4").has_audio


def test_sound_that_the_container_cannot_hold_is_told_before_the_work(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "source.mkv", codec="libopus")
    with pytest.raises(VideoWriteError, match=r"\.mov holds no sound of the kind .*opus.*\.mkv"):
        VideoSink(tmp_path / "out.mov", 25, audio_from=source)
    with pytest.raises(VideoWriteError, match="cannot be read"):
        VideoSink(tmp_path / "out.mp4", 25, audio_from=tmp_path / "none.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["source.mkv"]
