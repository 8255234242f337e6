"""`annotate_video`: a video in, the same video with its boxes drawn in out.

Owns that drawing and encoding go on beside inference. Knows nothing of codecs or batches.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from detkit.drawing import Style, plan_drawing
from detkit.errors import ItemFailure, UnsupportedSettingError, VideoWriteError
from detkit.images import RGBImage
from detkit.pipeline.background import OneAtATime
from detkit.pipeline.opening import VideoInput, open_source
from detkit.pipeline.tracking import TrackSettings
from detkit.pipeline.video_run import VideoRun
from detkit.pipeline.videos import detect_video
from detkit.results import DetectionResult
from detkit.video.frames import Frame, FrameSource, Status
from detkit.video.ledger import FrameLedger
from detkit.video.picture_folder import PictureFolder
from detkit.video.read_ahead import Keep
from detkit.video.sinks import VideoSink, exact_rate
from detkit.video.sources import VideoSource
from detkit.video.writing import write_errors
from detkit.video.yuv import Area, even_areas

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from detkit.api.async_detector import AsyncDetector, SettingsOptions

# `annotate` with a colour and a trail for every track.
_TRACKS = Style(color_by="track", show_trails=True)


@dataclass(frozen=True, slots=True)
class VideoSummary:
    """What `annotate_video` did.

    Attributes:
        source: Name of what was read, without credentials.
        output: The video written.
        num_frames: Frames in the output.
        num_detections: Boxes in all frames together.
        num_failed: Frames that the detector failed on; they are in the output without boxes.
        expected_frames: What the source announced, or `None`.
        status: Whether the source was whole: "complete", "truncated", "corrupt" or
            "interrupted".
        elapsed_s: Wall time in seconds.
        ledger: What became of every frame, with gaps and reconnects.
    """

    source: str
    output: Path
    num_frames: int
    num_detections: int
    num_failed: int
    expected_frames: int | None
    status: Status
    elapsed_s: float
    ledger: FrameLedger

    @property
    def frames_per_second(self) -> float:
        """Frames from file to file per second of wall time."""
        return self.num_frames / self.elapsed_s if self.elapsed_s > 0 else 0.0


async def annotate_video(
    detector: AsyncDetector,
    source: VideoInput,
    output: str | os.PathLike[str],
    *,
    fps: Fraction | float | None = None,
    on_frame: Callable[[Frame, DetectionResult | ItemFailure], None] | None = None,
    draw: Callable[[RGBImage, DetectionResult], RGBImage] | None = None,
    policy: Keep | None = None,
    max_age_s: float | None = None,
    stride: int = 1,
    max_frames: int | None = None,
    max_seconds: float | None = None,
    max_in_flight: int | None = None,
    track: bool | TrackSettings = False,
    keep_audio: bool = False,
    progress: bool = False,
    **settings: Unpack[SettingsOptions],
) -> VideoSummary:
    """Detect in a video and write it again with the boxes drawn in.

    Decoding, inference and drawing with encoding overlap. Times and frame rate stay exactly the
    source's. A frame that the detector fails on is written without boxes and counted; one of
    another size than the first is scaled to it.

    Args:
        detector: Stays open.
        source: As for `detect_video`.
        output: H.264 video to write, see `VideoSink`; or, without an ending, a folder for one
            picture per frame, see `PictureFolder`. It appears when it is whole; after an error or
            a cancellation what was done is under that name with `.partial` behind it.
        fps: Frame rate of the output; by default the source's, or 25 where it has none.
        on_frame: Called for every frame in order, on the event loop, as for a progress bar or a
            table.
        draw: Makes the picture to write from image and result, on a thread of its own; by
            default `annotate`, when tracking with a colour and a trail for every track.
        policy: As for `detect_video`; frames that it drops are not in the output.
        max_age_s: As for `detect_video`.
        stride: Detect in, and write, every `stride`-th frame only.
        max_frames: As for `detect_video`; so many frames are written.
        max_seconds: As for `detect_video`.
        max_in_flight: As for `detect_video`.
        track: As for `detect_video`.
        keep_audio: Copy the sound of the source, which must be a video file, if it has any.
        progress: As for `detect_video`.
        **settings: As for `detect_async`.

    Raises:
        VideoOpenError: If the source is no video.
        VideoWriteError: If the output cannot be written or is the source itself, or the source
            has no frame.
        MissingPackageError: If `track` is asked for and the extra `track` is not installed.
        UnsupportedSettingError: If sound is to be kept and source or output can have none.
    """
    started = time.perf_counter()
    video = open_source(source)
    run = detect_video(
        detector,
        video,
        policy=policy,
        max_age_s=max_age_s,
        stride=stride,
        max_frames=max_frames,
        max_seconds=max_seconds,
        max_in_flight=max_in_flight,
        track=track,
        on_error="yield",
        progress=progress,
        **settings,
    )
    run.closes_source |= video is not source
    run.needs_images = True
    rate = fps or video.fps or 25
    writer = AnnotatedWriter(draw or (Style() if track is False else _TRACKS))
    with _open_sink(Path(output), exact_rate(rate) / stride, video, keep_audio) as sink:
        num_detections, num_failed = await _write_all(run, writer, sink, on_frame)
    return VideoSummary(
        video.source_id,
        sink.path,
        sink.frames_written,
        num_detections,
        num_failed,
        video.expected_frames,
        video.status,
        time.perf_counter() - started,
        run.ledger,
    )


async def _write_all(
    run: VideoRun,
    writer: AnnotatedWriter,
    sink: VideoSink | PictureFolder,
    on_frame: Callable[[Frame, DetectionResult | ItemFailure], None] | None,
) -> tuple[int, int]:
    """Draw and write every frame of a run; how many boxes and how many failures there were."""
    num_detections = num_failed = 0
    pairs: Any = aiter(run)
    async with aclosing(pairs), OneAtATime() as background:
        async for frame, outcome in pairs:
            if isinstance(outcome, DetectionResult):
                num_detections += len(outcome)
            else:
                num_failed += 1
            await background.do(writer.write, sink, frame, outcome)
            if on_frame is not None:
                on_frame(frame, outcome)
    return num_detections, num_failed


def _open_sink(
    output: Path, fps: Fraction, source: FrameSource, keep_audio: bool
) -> VideoSink | PictureFolder:
    with write_errors(output):  # a name that is too long, a folder that is closed to us
        if isinstance(source, VideoSource) and output.exists() and output.samefile(source.path):
            raise VideoWriteError(f"{output}: this is the video itself; give another name")
        is_folder = not output.suffix or output.is_dir()
    if keep_audio and (is_folder or not isinstance(source, VideoSource)):
        raise UnsupportedSettingError("sound can only be kept from a video file to a video file")
    if is_folder:
        return PictureFolder(output)
    audio_from = source.path if keep_audio and isinstance(source, VideoSource) else None
    return VideoSink(output, fps, time_base=source.time_base, audio_from=audio_from)


class AnnotatedWriter:
    """Draws and encodes, in the size of the first frame: a source may change, a file cannot.

    Args:
        draw: Makes the picture to write from image and result; or how `annotate` does.
    """

    def __init__(self, draw: Callable[[RGBImage, DetectionResult], RGBImage] | Style) -> None:
        self._draw = draw
        self._size_hw: tuple[int, ...] | None = None
        self._canvas: RGBImage = np.empty((0, 0, 3), np.uint8)

    def write(
        self,
        sink: VideoSink | PictureFolder,
        frame: Frame,
        outcome: DetectionResult | ItemFailure,
    ) -> None:
        """Write one frame, without boxes where the detector failed.

        Raises:
            VideoWriteError: If it cannot be written.
        """
        style, planes = self._draw, frame.planes
        if (
            planes is not None
            and isinstance(style, Style)
            and isinstance(sink, VideoSink)
            and self._size_hw in (None, frame.size_hw)
        ):
            self._size_hw = frame.size_hw
            areas = self._draw_areas(frame.image, outcome, style)
            sink.write_drawn(planes, self._canvas, areas, frame.pts_seconds)
            return
        picture = self._drawn(frame.image, outcome)
        if isinstance(sink, PictureFolder):
            sink.write(picture, frame.pts_seconds, frame_index=frame.frame_index)
            return
        if self._size_hw is None:
            self._size_hw = picture.shape[:2]
        if picture.shape[:2] != self._size_hw:
            height, width = self._size_hw
            picture = np.asarray(cv2.resize(picture, (width, height)), dtype=np.uint8)
        sink.write(picture, frame.pts_seconds)

    def _drawn(self, image: RGBImage, outcome: DetectionResult | ItemFailure) -> RGBImage:
        if not isinstance(outcome, DetectionResult):
            return image
        if isinstance(self._draw, Style):
            return plan_drawing(image.shape[:2], outcome, self._draw).over(image)
        return self._draw(image, outcome)

    def _draw_areas(
        self, image: RGBImage, outcome: DetectionResult | ItemFailure, style: Style
    ) -> list[Area]:
        """Make the canvas show the drawn picture, in the areas where anything is drawn at all."""
        if not isinstance(outcome, DetectionResult):
            return []
        if self._canvas.shape != image.shape:
            self._canvas = np.empty_like(image)
        drawing = plan_drawing(image.shape[:2], outcome, style)
        areas = even_areas(drawing.areas(), image.shape[:2])
        for left, top, right, bottom in areas:
            self._canvas[top:bottom, left:right] = image[top:bottom, left:right]
        drawing.draw(self._canvas)
        return areas
