"""Forty video files with something wrong, made on the spot, and what may be read of each.

Five containers; every damage that each can have. Frames are noise, so that packets have a size
worth cutting, and each one's brightness tells its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from video_clips import write_video

NUM_FRAMES = 60
SHARES = (0.1, 0.5, 0.9)
CONTAINERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "avi": (".avi", "mpeg4", {}),
    "mp4": (".mp4", "libx264", {"movflags": "faststart"}),
    "fragmented mp4": (".mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "mkv": (".mkv", "libx264", {}),
    "ts": (".ts", "libx264", {}),
}


@dataclass(frozen=True)
class Damaged:
    """One file.

    Attributes:
        name: What it is.
        path: Where it is.
        at_least: Frames whose bytes are all there, before any damage.
        at_most: Frames that were written.
        statuses: Verdicts that are true of it; empty where it cannot be opened at all.
        may_refuse: Whether it may also be refused when it is opened.
    """

    name: str
    path: Path
    at_least: int
    at_most: int
    statuses: frozenset[str] = field(default_factory=frozenset)
    may_refuse: bool = False


def noisy(index: int, wh: tuple[int, int]) -> Any:
    return np.random.default_rng(index).integers(0, 256, (wh[1], wh[0], 3), dtype=np.uint8)


def damaged_files(folder: Path) -> Iterator[Damaged]:
    """Write them all."""
    for name, (suffix, codec, options) in CONTAINERS.items():
        made = _Maker(folder, name, suffix, codec, options)
        for share in SHARES:
            yield made.cut(share)
        yield made.hole_in_the_middle()
        yield made.without_frames()
        yield made.sound_alone()
        yield made.no_video()
    yield _Maker(folder, "avi", ".avi", "mpeg4", {}).wrong_count(1000)
    yield _Maker(folder, "avi", ".avi", "mpeg4", {}).wrong_count(7)
    yield _Maker(folder, "avi", ".avi", "mpeg4", {}).without_rate()
    yield _Maker(folder, "ts", ".ts", "libx264", {}).size_change()
    yield _Maker(folder, "mjpeg", ".avi", "mjpeg", {}).cut(0.5)


class _Maker:
    """Damages copies of one sound file."""

    def __init__(
        self, folder: Path, name: str, suffix: str, codec: str, options: dict[str, str]
    ) -> None:
        self._folder, self._name, self._suffix = folder, name, suffix
        self._codec, self._options = codec, options
        self._whole = folder / f"{name} whole{suffix}"
        if not self._whole.exists():
            write_video(self._whole, NUM_FRAMES, codec=codec, options=options, image=noisy)
        self._data = self._whole.read_bytes()

    def _write(self, what: str, data: bytes) -> tuple[str, Path]:
        path = self._folder / f"{self._name} {what}{self._suffix}"
        path.write_bytes(data)
        return f"{self._name} {what}", path

    def _whole_packets(self, num_bytes: int) -> int:
        """Video packets that end within the first bytes."""
        with av.open(str(self._whole)) as container:
            packets = [p for p in container.demux(video=0) if p.size]
        return sum(p.pos is not None and p.pos + p.size <= num_bytes for p in packets)

    def cut(self, share: float) -> Damaged:
        size = int(len(self._data) * share)
        name, path = self._write(f"cut at {share:.0%}", self._data[:size])
        # An index at the front, or none needed: what is there can be read.
        whole = self._whole_packets(size)
        # Of the packet that was cut there may be enough for a picture.
        return Damaged(name, path, whole, whole + 1, frozenset({"truncated"}), share < 0.5)

    def hole_in_the_middle(self) -> Damaged:
        data, middle = bytearray(self._data), len(self._data) // 2
        data[middle : middle + 20_000] = np.random.default_rng(1).bytes(20_000)
        name, path = self._write("with a hole", bytes(data))
        return Damaged(
            name,
            path,
            self._whole_packets(middle) // 2,
            NUM_FRAMES - 1,
            frozenset({"corrupt"}),
        )

    def without_frames(self) -> Damaged:
        path = self._folder / f"{self._name} without frames{self._suffix}"
        with av.open(str(path), "w", options=self._options) as container:
            stream = container.add_stream(self._codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            container.start_encoding()
        return Damaged(path.stem, path, 0, 0)

    def sound_alone(self) -> Damaged:
        path = self._folder / f"{self._name} sound alone{self._suffix}"
        with av.open(str(path), "w", options=self._options) as container:
            stream = container.add_stream(
                "mp2" if self._suffix in (".avi", ".ts") else "aac", 48_000
            )
            stream.layout = "mono"
            kind = stream.codec_context.format.name
            for _ in range(20):
                samples = np.zeros((1, 1152), np.int16 if kind.startswith("s16") else np.float32)
                frame = av.AudioFrame.from_ndarray(samples, format=kind, layout="mono")
                frame.sample_rate = 48_000
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return Damaged(path.stem, path, 0, 0)

    def no_video(self) -> Damaged:
        content = np.random.default_rng(2).bytes(50_000)
        name, path = self._write("that is no video", content)
        return Damaged(name, path, 0, 0)

    def wrong_count(self, count: int) -> Damaged:
        data = bytearray(self._data)
        for tag, offset in ((b"avih", 16), (b"strh", 32)):  # dwTotalFrames, dwLength
            at = data.index(tag) + 8 + offset
            data[at : at + 4] = count.to_bytes(4, "little")
        name, path = self._write(f"that claims {count} frames", bytes(data))
        right = frozenset({"truncated"} if count > NUM_FRAMES else {"complete"})
        return Damaged(name, path, NUM_FRAMES, NUM_FRAMES, right)

    def without_rate(self) -> Damaged:
        data = bytearray(self._data)
        at = data.index(b"strh") + 8 + 20  # dwScale and dwRate
        data[at : at + 8] = bytes(8)
        name, path = self._write("without a frame rate", bytes(data))
        any_verdict = frozenset({"complete", "truncated"})
        return Damaged(name, path, NUM_FRAMES, NUM_FRAMES, any_verdict, may_refuse=True)

    def size_change(self) -> Damaged:
        other = self._folder / f"other{self._suffix}"
        write_video(other, 10, wh=(96, 64), codec=self._codec, image=noisy)
        name, path = self._write("that changes size", self._data + other.read_bytes())
        sound = frozenset({"complete", "corrupt"})
        return Damaged(name, path, NUM_FRAMES + 10, NUM_FRAMES + 10, sound)
