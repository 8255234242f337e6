"""`Recording`: what a preview plays, as it is drawn, into a video file.

Owns a thread that draws and encodes, and the clock of the film: seeking leaves no gap in it. Knows
frames, sinks and the preview that it belongs to; never a control.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.errors import ItemFailure
from detkit.images import RGBImage
from detkit.pipeline.annotated import AnnotatedWriter
from detkit.results import DetectionResult
from detkit.video.frames import Frame
from detkit.video.sinks import VideoSink
from detkit.widgets.playing import Shown

if TYPE_CHECKING:
    from detkit.widgets.video_preview import VideoPreview

# Frames that wait for the encoder; then playing waits, for none may be lost.
_MAX_WAITING = 8
# A longer step between two frames is a seek.
_MAX_STEP_S = 1.0
_USUAL_FPS = 25


class Recorder:
    """Records what a preview plays, every frame of it, in the size of the video.

    Args:
        path: Ends in .mp4, .m4v, .mov or .mkv; see `VideoSink`.
        fps: Of the source, if it says.
        draw: Makes the picture from image and result, on the recorder's thread.
        on_error: Told of what ended the recording, once, on that thread.

    Raises:
        VideoWriteError: If there can be no such file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction | float | None,
        *,
        draw: Callable[[RGBImage, DetectionResult], RGBImage],
        on_error: Callable[[Exception], None],
    ) -> None:
        rate = fps or _USUAL_FPS
        self._sink = VideoSink(path, rate, time_base=Fraction(1, 90_000))
        self._writer = AnnotatedWriter(draw)
        self._on_error = on_error
        self._error: Exception | None = None
        self._room = threading.Semaphore(_MAX_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="detkit-record")
        self._usual_step_s = 1 / float(rate)
        self._source_s: float | None = None
        self._film_s = 0.0

    @property
    def path(self) -> Path:
        """The finished file."""
        return self._sink.path

    @property
    def num_frames(self) -> int:
        """Frames written so far."""
        return self._sink.frames_written

    def write(self, frame: Frame, outcome: DetectionResult | ItemFailure) -> None:
        """Take one frame; waits where the encoder is far behind. From one thread at a time."""
        film_s = self._advance(frame.pts_seconds)
        self._room.acquire()
        with contextlib.suppress(RuntimeError):  # The file is being finished at this moment.
            self._thread.submit(self._encode, frame.at(film_s), outcome)

    def _advance(self, source_s: float | None) -> float:
        """The time of the next frame in the film."""
        step_s = self._usual_step_s
        if source_s is not None and self._source_s is not None:
            given_s = source_s - self._source_s
            step_s = given_s if 0 < given_s <= _MAX_STEP_S else step_s
        self._film_s += step_s
        self._source_s = source_s
        return self._film_s

    def _encode(self, frame: Frame, outcome: DetectionResult | ItemFailure) -> None:
        try:
            if self._error is None:
                self._writer.write(self._sink, frame, outcome)
        except Exception as error:  # noqa: BLE001  shown by whoever owns the recorder
            self._error = error
            self._on_error(error)
        finally:
            self._room.release()

    def close(self) -> int:
        """Finish the file; how many frames are in it. No file is made of none, nor after an error.

        Raises:
            VideoWriteError: If the disk is full; a partial file stays.
        """
        self._thread.shutdown(wait=True)
        if self._error is not None or not self._sink.frames_written:
            self._sink.abort()
            return 0
        self._sink.close()
        return self._sink.frames_written


class Recording:
    """Starts and stops the recorder of one preview.

    What is recorded has the threshold, classes and switches of the moment, in the full size of
    the video. It ends with `stop`, with the video or with the panel.
    """

    def __init__(self, preview: VideoPreview, fps: Fraction | float | None) -> None:
        self._preview = preview
        self._fps = fps
        self._recorder: Recorder | None = None

    @property
    def is_on(self) -> bool:
        """Whether what is played goes to a file."""
        return self._recorder is not None

    def start(self, path: str | os.PathLike[str] | None = None) -> Path:
        """From the next frame on write every frame that is played.

        Args:
            path: Ends in .mp4, .mov or .mkv; by default `recording_000017.mp4` in the working
                folder, after the frame on the page.

        Raises:
            RuntimeError: If it is on already.
            VideoWriteError: If there can be no such file.
        """
        if self._recorder is not None:
            raise RuntimeError(f"{self._recorder.path} is being recorded already")
        shown = self._preview.shown
        number = 0 if shown is None else shown.frame.frame_index
        target = path or f"recording_{number:06d}.mp4"
        self._recorder = Recorder(target, self._fps, draw=self._draw, on_error=self._failed)
        self._preview.parts.show_recording(True)
        self._preview.say(f"recording {target}")
        return self._recorder.path

    def stop(self) -> None:
        """Finish the file. Does nothing where it is not on.

        Raises:
            VideoWriteError: If the disk is full; a partial file stays.
        """
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            self._preview.parts.show_recording(False)
            num_frames = recorder.close()
            self._preview.say(f"recorded {num_frames} frames: {recorder.path}")

    def toggle(self) -> None:
        """Start, or stop."""
        if self.is_on:
            self.stop()
        else:
            self.start()

    def take(self, shown: Shown) -> None:
        """A frame was played; on the player's thread."""
        recorder = self._recorder
        if recorder is not None:
            recorder.write(shown.frame, shown.outcome)

    def _draw(self, image: RGBImage, result: DetectionResult) -> RGBImage:
        return self._preview.parts.overlay().draw(image, self._preview.chosen(result))

    def _failed(self, error: Exception) -> None:
        def tell() -> None:
            self.stop()
            self._preview.show_error(error)

        self._preview.screen.post("recording", tell)
