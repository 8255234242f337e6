"""`VideoSink`: RGB frames into an H.264 file that browsers and players open.

Owns encoding, times and the promise that a file under its final name is whole. Knows PyAV; never a
detector or a result.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detkit.detection.threads import usable_cores
from detkit.errors import VideoWriteError
from detkit.images import RGBImage, validate_image
from detkit.video.decoded_picture import planes_of
from detkit.video.finishing import FORMATS, check_audio, copy_finished
from detkit.video.writing import Sink, write_errors
from detkit.video.yuv import Area, Planes, YuvPlanes

_BT709 = 1  # ITU-T H.273, for matrix, primaries and transfer alike; 1 also means limited range.
_KEYFRAME_SECONDS = 2  # Seeking in a player, and the most that a killed run loses.
_NTSC = Fraction(1000, 1001)
# Three quarters of what "superfast" takes without B-frames and arithmetic coding at the same crf,
# for annotated 1280×720 frames of a film (and of a rendered clip), on one thread: 4.1 (3.5) core-ms
# and 17.6 (15.0) kB a frame for 41.8 (40.6) dB of luma, not 5.4 (5.1), 14.1 (14.4), 41.2 (41.5).
# Half of that is the look ahead which a quantiser that stays the same has no use for. "ultrafast"
# alone searches no fractions of a pixel: 3.2 (2.5) core-ms, 30.4 (15.6) kB, 39.5 (40.3) dB.
_FAST = {"preset": "ultrafast", "x264-params": "subme=1:no-deblock=0"}


class VideoSink(Sink):
    """Writes one video. Use it in `with`; the file appears under its name when all is well.

    While it is being written the file is `<name>.mp4.partial`: fragmented, so that what a killed
    run leaves behind still plays. Closing puts its index at the front, for playback while
    loading, and renames it. An error inside `with` leaves the partial file. Frames must come from
    one thread at a time.

    Args:
        path: Ends in .mp4, .m4v, .mov or .mkv. Folders are created.
        fps: Frames per second. 23.976, 29.97 and 59.94 are taken as the exact 24000/1001 and so
            on.
        time_base: Unit of the times given to `write`, in seconds; a source's own keeps variable
            frame rates exact. By default one frame of `fps`.
        crf: Quality of libx264: 18 looks the same as the source, 28 is small. Without a preset it
            is the quantiser of every frame (libx264's `qp`).
        preset: Speed of libx264, from "ultrafast" to "veryslow", each smaller and slower than the
            one before. By default "ultrafast" with finer motion and without blocks.
        audio_from: A file whose sound, if it has any, is copied as it is. The times given to
            `write` are then times in that file. A partial file has no sound.

    Attributes:
        frames_written: Frames taken so far; the finished file holds exactly as many.

    Raises:
        VideoWriteError: If the name has another ending, the frame rate is no positive number,
            the folder cannot be made or the container cannot hold the sound.

    Example:
        >>> import numpy as np
        >>> with VideoSink("grey.mp4", fps=25) as sink:  # doctest: +SKIP
        ...     for value in range(50):
        ...         sink.write(np.full((240, 320, 3), value, np.uint8))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction | float = Fraction(25),
        *,
        time_base: Fraction | None = None,
        crf: int = 24,
        preset: str | None = None,
        audio_from: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(path)
        if self.path.suffix.lower() not in FORMATS:
            endings = ", ".join(FORMATS)
            raise VideoWriteError(f"{self.path}: the name of a video must end in {endings}")
        self.fps = exact_rate(fps)
        self.time_base = time_base or 1 / self.fps
        self.frames_written = 0
        fast = {"qp": str(crf), **_FAST}
        self._options = fast if preset is None else {"crf": str(crf), "preset": preset}
        self._container: Any = None
        self._stream: Any = None
        self._size_hw: tuple[int, int] = (0, 0)
        self._last_pts = -1
        self._first_pts_seconds = 0.0
        self._audio_from = None if audio_from is None else Path(audio_from)
        if self._audio_from is not None:
            check_audio(self._audio_from, self.path)
        with write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, image: RGBImage, pts_seconds: float | None = None) -> None:
        """Append one frame.

        Args:
            image: uint8 RGB of shape (H, W, 3), the same for all frames. An odd width or height
                is padded by repeating the last row or column: H.264 colour needs even numbers.
            pts_seconds: When it is shown, later than the frame before; the first frame becomes
                time 0. By default one frame of `fps` after the one before.

        Raises:
            VideoWriteError: If the size differs from the first frame's, the sink is closed, or
                the disk is full.
            InvalidImageError: If it is no uint8 RGB array.
        """
        image = validate_image(image)
        with self._frame(image.shape[:2], pts_seconds):
            height, width = self._size_hw
            if height % 2 or width % 2:
                border = 0, height % 2, 0, width % 2
                padded = cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE)
                image = np.asarray(padded, dtype=np.uint8)
            self._planes.fill(image)

    def write_drawn(
        self,
        planes: Planes,
        canvas: RGBImage,
        areas: Sequence[Area],
        pts_seconds: float | None = None,
    ) -> None:
        """Append a frame that is there in the sink's own colours, with something drawn over it.

        Only what was drawn is converted; all else stays as it was decoded.

        Args:
            planes: As in `Frame`.
            canvas: uint8 RGB of shape (H, W, 3); read in `areas` only.
            areas: Left, top, right and bottom, the latter two beyond; all even.
            pts_seconds: As for `write`.

        Raises:
            VideoWriteError: As for `write`.
        """
        with self._frame(planes[0].shape, pts_seconds):
            self._planes.fill_drawn(planes, canvas, areas)

    @contextlib.contextmanager
    def _frame(self, size_hw: tuple[int, ...], pts_seconds: float | None) -> Iterator[None]:
        """Takes the frame that is put into `_planes` meanwhile."""
        self._check_open()
        with write_errors(self.path):
            if self._container is None:
                self._begin(size_hw, pts_seconds)
            if size_hw != self._size_hw:
                raise VideoWriteError(
                    f"{self.path}: frame {self.frames_written} is {_wh(size_hw)}, "
                    f"the first was {_wh(self._size_hw)}; a video has one size"
                )
            yield
            # The same picture again and again: libx264 has copied what it needs when `encode`
            # returns.
            picture = self._picture
            picture.pts, picture.time_base = self._next_pts(pts_seconds), self.time_base
            self._container.mux(self._stream.encode(picture))
        self.frames_written += 1

    def _begin(self, size_hw: tuple[int, ...], pts_seconds: float | None) -> None:
        import av

        height, width = self._size_hw = size_hw[0], size_hw[1]
        self._first_pts_seconds = pts_seconds or 0.0
        self._claim()
        form = FORMATS[self.path.suffix.lower()]
        flags = {} if form == "matroska" else {"movflags": "frag_keyframe+delay_moov"}
        self._container = av.open(
            str(self.partial_path.absolute()),
            "w",
            format=form,
            options={**flags, "flush_packets": "1"},
        )
        stream = self._container.add_stream("libx264", rate=self.fps)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = self.time_base
        context.gop_size = max(1, round(self.fps * _KEYFRAME_SECONDS))
        context.options = self._options
        # One thread costs least; the other half of the cores is the detector's.
        context.thread_count = max(1, usable_cores() // 2)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = 1
        self._stream = stream
        self._picture = av.VideoFrame(stream.width, stream.height, "yuv420p")
        self._planes = YuvPlanes(planes_of(self._picture))

    def _next_pts(self, pts_seconds: float | None) -> int:
        if pts_seconds is None:
            step = 1 / (self.fps * self.time_base)
            pts = round(self.frames_written * step)
        else:
            pts = round((pts_seconds - self._first_pts_seconds) / self.time_base)
        # Two frames in one tick would be dropped or refused: the later one moves on.
        self._last_pts = max(pts, self._last_pts + 1)
        return self._last_pts

    def _finish(self) -> None:
        if self._container is None:
            raise VideoWriteError(f"{self.path}: no frame was written, so there is no video")
        self._end_container()
        finished = self.path.with_name(f"{self.path.name}.finishing.partial")
        try:
            form = FORMATS[self.path.suffix.lower()]
            num_copied = copy_finished(self.partial_path, finished, form, self._audio())
            if num_copied != self.frames_written:
                raise OSError(f"{num_copied} of {self.frames_written} frames are on the disk")
            finished.replace(self.path)
        finally:
            finished.unlink(missing_ok=True)
        self.partial_path.unlink()

    def _audio(self) -> tuple[Path, Fraction, Fraction] | None:
        if self._audio_from is None:
            return None
        length_s = self._last_pts * self.time_base + 1 / self.fps
        return self._audio_from, Fraction(self._first_pts_seconds), length_s

    def _leave(self) -> None:
        if self._container is not None:
            self._end_container()

    def _end_container(self) -> None:
        container, self._container = self._container, None
        try:
            container.mux(self._stream.encode())
        finally:
            self._stream = None
            container.close()

    def __repr__(self) -> str:
        return f"<VideoSink {str(self.path)!r}, {self.frames_written} frames, {self._state}>"


def exact_rate(fps: Fraction | float) -> Fraction:
    """A frame rate as an exact fraction; 29.97 becomes 30000/1001.

    Raises:
        VideoWriteError: If it is no positive, finite number.
    """
    try:
        rate = Fraction(fps).limit_denominator(100_000)
    except (ValueError, OverflowError, TypeError) as error:
        raise VideoWriteError(f"fps must be a positive number, got {fps!r}") from error
    if rate <= 0:
        raise VideoWriteError(f"fps must be a positive number, got {fps!r}")
    for whole in (24, 30, 60, 120):
        if isinstance(fps, float) and abs(rate - whole * _NTSC) < Fraction(1, 200):
            return whole * _NTSC
    return rate


def _wh(size_hw: tuple[int, ...]) -> str:
    return f"{size_hw[1]}×{size_hw[0]}"
