"""`VideoSource`: the frames of a video file, every one of them, with its true time.

Owns opening, decoding, rotation, colour and the verdict on whether the file was whole. Knows PyAV;
never a detector, a picture's meaning or who reads the frames.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

from detkit.addresses import without_credentials
from detkit.errors import VideoOpenError
from detkit.video.bounded_file import BoundedFile
from detkit.video.decoded_picture import DecodedPicture
from detkit.video.decoding import (
    CONTAINERS,
    Decoder,
    SteadyClock,
    choose_stream,
    duration_seconds,
    pts_seconds,
    reason,
)
from detkit.video.frames import Frame, FrameSource, SourceEvent, Status
from detkit.video.mp4_boxes import announces_too_much, ends_in_a_box

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".ogv"}
    | {".ts", ".m2ts", ".mts", ".mpg", ".mpeg"}
)

# Python is asked for so many bytes at once: for every tenth frame of a film, not for every third.
_BUFFER_BYTES = 1 << 17
# Fewer frames than this share of what the container announces, and the file is not whole.
_WHOLE_SHARE = 0.99


class VideoSource(FrameSource):
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
            announced end, or nothing was found in it for 256 MB), "corrupt" (damage with
            frames after it) or "interrupted" (the reader stopped first).

    Raises:
        VideoOpenError: If there is no such file, it is no video, or it holds only sound.

    Example:
        >>> with VideoSource("clip.mp4") as video:  # doctest: +SKIP
        ...     for frame in video:
        ...         print(frame.frame_index, frame.pts_seconds, frame.image.shape)
    """

    width: int
    height: int
    time_base: Fraction

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.source_id = without_credentials(os.fspath(path))
        self.num_frames = 0
        self._closed = False
        with closing(_Opened(self.path)) as opened:
            self._describe(opened.container, opened.stream)

    def _describe(self, container: Any, stream: Any) -> None:
        self.time_base = stream.time_base or Fraction(1, 90_000)
        rate = stream.average_rate or stream.guessed_rate
        self.fps = Fraction(rate) if rate else None
        self.duration_seconds = duration_seconds(container, stream)
        self.has_audio = bool(container.streams.audio)
        self.expected_frames = _num_announced(container, stream) or None
        if self.expected_frames is None and self.fps and self.duration_seconds:
            self.expected_frames = round(self.duration_seconds * self.fps)
        # The rotation tag comes with the frames; the first one tells.
        first = next(iter(Decoder(container, stream)), None)
        if first is None:
            raise VideoOpenError(f"{self.source_id}: no frame of this video can be decoded")
        self.height, self.width = DecodedPicture(first).size_hw

    def __iter__(self) -> Iterator[Frame]:
        """Decode from the start; the generator releases the decoder when it ends or is closed."""
        opened = _Opened(self.path)
        decoder = Decoder(opened.container, opened.stream, on_packet=opened.file.found)
        self.num_frames, self.num_damaged, self.status = 0, 0, "interrupted"
        start = opened.stream.start_time or 0
        clock = SteadyClock(self.fps)
        try:
            for picture in decoder:
                if self._closed:
                    return
                pts = clock.steady(pts_seconds(picture, start, self.fps, self.num_frames))
                self.num_frames += 1
                yield Frame(DecodedPicture(picture), self.source_id, self.num_frames - 1, pts)
            self.status = self._verdict(decoder, clock.last_s)
            if opened.file.has_given_up:
                self.tell(SourceEvent("damaged", self.num_frames, opened.file.complaint))
                self.status = "truncated" if self.status == "complete" else self.status
        finally:
            self.num_damaged = decoder.num_damaged
            opened.close()

    def _verdict(self, decoder: Decoder, last_s: float | None) -> Status:
        expected = self.expected_frames
        is_short = bool(expected) and self.num_frames < (expected or 0) * _WHOLE_SHARE
        is_at_end = bool(self.fps and self.duration_seconds and last_s is not None) and (
            (last_s or 0.0) + 1.5 / (self.fps or 1) >= (self.duration_seconds or 0.0)
        )
        if decoder.num_damaged and decoder.is_sound_after_damage:
            return "corrupt"
        # Matroska skips what it cannot read without a word.
        if is_short and is_at_end and not decoder.num_damaged:
            return "corrupt"
        if decoder.num_damaged or is_short or ends_in_a_box(self.path):
            return "truncated"
        return "complete"

    def close(self) -> None:
        """End running iterations at their next frame. Idempotent, from any thread."""
        self._closed = True

    def __repr__(self) -> str:
        rate = "?" if self.fps is None else f"{float(self.fps):.5g}"
        count = "?" if self.expected_frames is None else str(self.expected_frames)
        return (
            f"<VideoSource {self.source_id!r}, {self.width}×{self.height}, "
            f"{rate} frames/s, {count} frames>"
        )


class _Opened:
    """A video file, its demuxer and the stream to decode.

    Raises:
        VideoOpenError: If it is no video.
    """

    container: Any
    stream: Any
    file: BoundedFile

    def __init__(self, path: Path) -> None:
        why = _unfit(path) or self._open(path)
        # Out here no error of the system hangs on: those repeat the name, in which an address that
        # was meant may stand with its password.
        if why is not None:
            raise VideoOpenError(f"{without_credentials(str(path))}: {why}")

    def _open(self, path: Path) -> str | None:
        """Why it cannot be read, or `None`."""
        import av

        try:
            self.file = BoundedFile(path)
        except OSError as error:
            return f"not a readable video ({reason(error)})"
        try:
            self.container = av.open(
                self.file,
                buffer_size=_BUFFER_BYTES,
                container_options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"},
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            self.file.close()
            return f"not a readable video ({reason(error)})"
        self.file.found()
        self.stream = choose_stream(self.container)
        if self.stream is None:
            self.close()
            return "holds no video, only sound or data"
        return None

    def close(self) -> None:
        """Give back decoder and file."""
        self.container.close()
        self.file.close()


def _num_announced(container: Any, stream: Any) -> int:
    """Frames that are to be shown: a film that was trimmed without encoding it again holds more."""
    num_shown = 0
    if stream.frames and "mp4" in container.format.name:
        num_shown = sum(not entry.is_discard for entry in stream.index_entries)
    return num_shown or int(stream.frames)


def _unfit(path: Path) -> str | None:
    try:
        info = path.stat()
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError as error:  # A NUL in the name.
        return str(error)
    if not stat.S_ISREG(info.st_mode):
        return "not a regular file"
    return "the file is empty" if info.st_size == 0 else announces_too_much(path)
