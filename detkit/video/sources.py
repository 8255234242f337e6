"""`VideoSource`: the frames of a video file, every one of them, with its true time.

Owns opening, decoding, rotation, colour and the verdict on whether the file was whole. Knows PyAV;
never a detector, a picture's meaning or who reads the frames.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from detkit.errors import VideoOpenError, describe
from detkit.images import RGBImage
from detkit.video.frames import Frame

if TYPE_CHECKING:
    from types import TracebackType

Status = Literal["complete", "truncated", "corrupt", "interrupted"]

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".ogv"}
    | {".ts", ".m2ts", ".mts", ".mpg", ".mpeg"}
)

# Containers that hold media themselves. Playlists and concatenation scripts, which make FFmpeg
# open other files or addresses that they name, are left out on purpose. The audio formats are
# here to be told apart from damage.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,h264,hevc,ivf,"
    "mpegvideo,gif,mp3,wav,flac,aac"
)
_MAX_PIXELS = (
    1 << 27
)  # A 16,384 x 8,192 frame, and 400 MB as RGB: damage in a header asks for more.
# Broadcast practice, browsers and players: HD without a tag is BT.709, anything smaller BT.601.
_HD_HEIGHT = 720
_UNSPECIFIED = 2
# Fewer frames than this share of what the container announces, and the file is not whole.
_WHOLE_SHARE = 0.99

_TURNS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}


class VideoSource:
    """A video file as an iterator of `Frame`.

    Every `iter()` reads the file from its start. Frames come in presentation order, upright (the
    rotation tag is honoured), and none is left out. Leaving a loop early, or `close`, releases the
    decoder. Damage never raises after opening: what can be read is read, and `status` tells.

    Attributes:
        path: The file.
        source_id: The path as given; the `source_id` of every frame.
        width: Of the upright picture, in pixels.
        height: Of the upright picture, in pixels.
        fps: The average frame rate, exact, or `None` where the file does not say.
        time_base: The unit of the file's own clock, in seconds.
        duration_seconds: As the container announces, or `None`.
        expected_frames: As the container announces or its duration implies, or `None`.
        has_audio: Whether there is a sound track.
        num_frames: Frames read by the latest iteration.
        num_damaged: Packets or frames of the latest iteration that did not decode cleanly.
        status: Verdict on the latest iteration: "complete", "truncated" (it ends before the
            announced end), "corrupt" (damage with frames after it) or "interrupted" (the reader
            stopped first).

    Raises:
        VideoOpenError: If there is no such file, it is no video, or it holds only sound.

    Example:
        >>> with VideoSource("clip.mp4") as video:  # doctest: +SKIP
        ...     for frame in video:
        ...         print(frame.frame_index, frame.pts_seconds, frame.image.shape)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.source_id = os.fspath(path)
        self.num_frames = 0
        self.num_damaged = 0
        self.status: Status = "interrupted"
        self._closed = False
        container, stream = _open(self.path)
        try:
            self._describe(container, stream)
        finally:
            container.close()

    def _describe(self, container: Any, stream: Any) -> None:
        self.time_base: Fraction = stream.time_base or Fraction(1, 90_000)
        rate = stream.average_rate or stream.guessed_rate
        self.fps: Fraction | None = Fraction(rate) if rate else None
        self.duration_seconds = _duration_seconds(container, stream)
        self.has_audio = bool(container.streams.audio)
        self.expected_frames: int | None = int(stream.frames) or None
        if self.expected_frames is None and self.fps and self.duration_seconds:
            self.expected_frames = round(self.duration_seconds * self.fps)
        self.width, self.height = int(stream.width), int(stream.height)
        # The tag comes with the frames; the first one tells.
        first = _first_frame(container, stream)
        if first is None:
            raise VideoOpenError(f"{self.source_id}: no frame of this video can be decoded")
        self.height, self.width = _upright_rgb(first).shape[:2]

    def __iter__(self) -> Iterator[Frame]:
        """Decode from the start; the generator releases the decoder when it ends or is closed."""
        container, stream = _open(self.path)
        decoder = _Decoder(container, stream)
        self.num_frames, self.num_damaged, self.status = 0, 0, "interrupted"
        start = stream.start_time or 0
        try:
            for picture in decoder:
                if self._closed:
                    return
                pts = _pts_seconds(picture, start, self.fps, self.num_frames)
                image = _upright_rgb(picture)
                self.num_frames += 1
                yield Frame(image, self.source_id, self.num_frames - 1, pts)
            self.status = self._verdict(decoder)
        finally:
            self.num_damaged = decoder.num_damaged
            container.close()

    def _verdict(self, decoder: _Decoder) -> Status:
        if decoder.num_damaged and decoder.is_sound_after_damage:
            return "corrupt"
        expected = self.expected_frames
        if decoder.num_damaged or (expected and self.num_frames < expected * _WHOLE_SHARE - 1):
            return "truncated"
        return "complete"

    def close(self) -> None:
        """End running iterations at their next frame. Idempotent, from any thread."""
        self._closed = True

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        rate = "?" if self.fps is None else f"{float(self.fps):.5g}"
        count = "?" if self.expected_frames is None else str(self.expected_frames)
        return (
            f"<VideoSource {self.source_id!r}, {self.width}×{self.height}, "
            f"{rate} frames/s, {count} frames>"
        )


class _Decoder:
    """The decoded pictures of one pass, and what was wrong on the way."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.num_damaged = 0
        self.is_sound_after_damage = False
        self._container = container
        self._stream = stream

    def __iter__(self) -> Iterator[Any]:
        for packet in self._packets():
            try:
                pictures = packet.decode()
            except _damage():
                self.num_damaged += 1
                continue
            for picture in pictures:
                # Shown all the same: the decoder has patched it from its neighbours.
                self.num_damaged += bool(picture.is_corrupt)
                yield picture

    def _packets(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._stream):
                # A file that was cut ends with a damaged packet and the empty one that flushes.
                if packet.is_corrupt:
                    self.num_damaged += 1
                elif self.num_damaged and packet.size:
                    self.is_sound_after_damage = True
                yield packet
        except _damage():
            # Nothing after this point can be found; trying again would fail again.
            self.num_damaged += 1


def _damage() -> tuple[type[Exception], ...]:
    import av

    return (av.FFmpegError,)


def _open(path: Path) -> tuple[Any, Any]:
    import av

    try:
        info = path.stat()
    except OSError as error:
        raise VideoOpenError(f"{path}: {error.strerror or describe(error)}") from error
    except ValueError as error:  # A NUL in the name.
        raise VideoOpenError(f"{str(path)!r}: {error}") from error
    if not stat.S_ISREG(info.st_mode):
        raise VideoOpenError(f"{path}: not a regular file")
    if info.st_size == 0:
        raise VideoOpenError(f"{path}: the file is empty")
    try:
        # An absolute path cannot be taken for one of FFmpeg's protocols.
        container = av.open(
            str(path.absolute()),
            container_options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoOpenError(f"{path}: not a readable video ({_reason(error)})") from error
    streams = [s for s in container.streams.video if not _is_cover(s)]
    if not streams:
        container.close()
        raise VideoOpenError(f"{path}: holds no video, only sound or data")
    stream = streams[0]
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
    return container, stream


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:120]


def _is_cover(stream: Any) -> bool:
    """Whether this is the picture on a sound file's sleeve."""
    import av

    attached = getattr(getattr(av.stream, "Disposition", None), "attached_pic", None)
    return attached is not None and bool(stream.disposition & attached)


def _duration_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None


def _first_frame(container: Any, stream: Any) -> Any | None:
    return next(iter(_Decoder(container, stream)), None)


def _pts_seconds(picture: Any, start: int, fps: Fraction | None, index: int) -> float | None:
    if picture.pts is not None and picture.time_base is not None:
        return float((picture.pts - start) * picture.time_base)
    return None if fps is None else float(index / fps)


def _upright_rgb(picture: Any) -> RGBImage:
    colorspace = None
    if picture.colorspace == _UNSPECIFIED and picture.height >= _HD_HEIGHT:
        colorspace = "ITU709"
    image: RGBImage = picture.to_ndarray(format="rgb24", src_colorspace=colorspace)
    turn = _TURNS.get(round(picture.rotation / 90) * 90 % 360)
    upright = image if turn is None else cv2.rotate(image, turn)
    return np.ascontiguousarray(upright, dtype=np.uint8)
