"""`detect_video` and `annotate_video`: frames through a detector, in order, and out to a file.

Owns what runs beside what: decoding, inference, drawing and encoding each have their own thread,
with a bounded number of frames between them. Knows nothing of containers, codecs or batches.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import cv2
import numpy as np

from detkit.drawing import annotate
from detkit.errors import ItemFailure
from detkit.images import RGBImage
from detkit.pipeline.background import OneAtATime
from detkit.results import DetectionResult
from detkit.video.frames import Frame
from detkit.video.read_ahead import ReadAhead
from detkit.video.sinks import VideoSink, exact_rate
from detkit.video.sources import Status, VideoSource

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from detkit.api.async_detector import AsyncDetector, SettingsOptions

VideoInput: TypeAlias = "str | os.PathLike[str] | VideoSource | Iterable[Frame]"

# Frames that the decoder may be ahead of the detector: it evens out key frames and batches.
_FRAMES_AHEAD = 4
# What the frames between decoder and result may take together, unless the user sets a number.
_IN_FLIGHT_BYTES = 128 * 1024 * 1024


def detect_video(
    detector: AsyncDetector,
    source: VideoInput,
    *,
    stride: int = 1,
    max_in_flight: int | None = None,
    on_error: Literal["raise", "yield"] = "raise",
    **settings: Unpack[SettingsOptions],
) -> VideoRun:
    """Detect in every frame of a video.

    Iterate what is returned with `async for`, or with `for` where blocking is fine. Frames are
    decoded ahead on a thread; pairs come in frame order; at most `max_in_flight` frames are
    between decoder and consumer, so a slow consumer slows the decoder down and memory stays flat.
    Each result's metadata also holds `source`, `frame_index` and `pts_seconds`.

    Args:
        detector: Stays open; one that is shared is fine.
        source: A video file, a `VideoSource`, or any iterable of `Frame`.
        stride: Detect in every `stride`-th frame only; the others are decoded and left out.
        max_in_flight: Most frames between decoder and result; by default twice what the detector
            takes at once, within 128 MB.
        on_error: "raise" ends the run at the first frame that the detector fails on; "yield" puts
            an `ItemFailure` in the place of its result and goes on.
        **settings: `confidence_threshold` and so on, as for `detect_async`.

    Raises:
        VideoOpenError: At once, if the file is no video.
        ValueError: If `stride` is below 1.

    Example:
        >>> async def count(detector):  # doctest: +SKIP
        ...     async for frame, result in detect_video(detector, "clip.mp4"):
        ...         print(frame.pts_seconds, len(result))
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    if isinstance(source, (str, os.PathLike)):
        source = VideoSource(source)
    return VideoRun(detector, source, stride, max_in_flight, on_error, settings)


class VideoRun:
    """The (frame, result) pairs of one `detect_video` call. Iterate it once.

    Attributes:
        source: What the frames come from; a `VideoSource` tells afterwards whether the file was
            whole.
    """

    def __init__(
        self,
        detector: AsyncDetector,
        source: VideoSource | Iterable[Frame],
        stride: int,
        max_in_flight: int | None,
        on_error: Literal["raise", "yield"],
        settings: SettingsOptions,
    ) -> None:
        self.source = source
        self._detector = detector
        self._stride = stride
        self._options: dict[str, Any] = {
            "max_in_flight": max_in_flight or _default_in_flight(detector, source),
            "on_error": on_error,
            **settings,
        }

    def _frames(self) -> Iterator[Frame]:
        for count, frame in enumerate(self.source):
            if count % self._stride == 0:
                yield frame

    def __iter__(self) -> Iterator[tuple[Frame, DetectionResult | ItemFailure]]:
        waiting: deque[Frame] = deque()

        def images() -> Iterator[RGBImage]:
            for frame in frames:
                waiting.append(frame)
                yield frame.image

        with ReadAhead(self._frames(), _FRAMES_AHEAD) as frames:
            for outcome in self._detector.map(images(), **self._options):
                yield _pair(waiting.popleft(), outcome)

    async def __aiter__(self) -> AsyncIterator[tuple[Frame, DetectionResult | ItemFailure]]:
        waiting: deque[Frame] = deque()

        async def images() -> AsyncIterator[RGBImage]:
            async for frame in frames:
                waiting.append(frame)
                yield frame.image

        async with aclosing(ReadAhead(self._frames(), _FRAMES_AHEAD)) as frames:
            outcomes: Any = self._detector.stream(images(), **self._options)
            async with aclosing(outcomes):
                async for outcome in outcomes:
                    yield _pair(waiting.popleft(), outcome)


def _pair(
    frame: Frame, outcome: DetectionResult | ItemFailure
) -> tuple[Frame, DetectionResult | ItemFailure]:
    if isinstance(outcome, ItemFailure):
        failure = replace(outcome, index=frame.frame_index, source=frame.source_id)
        return frame, failure
    facts = {"source": frame.source_id, "frame_index": frame.frame_index}
    return frame, outcome.with_metadata(**facts, pts_seconds=frame.pts_seconds)


def _default_in_flight(detector: AsyncDetector, source: VideoSource | Iterable[Frame]) -> int:
    wanted = 2 * max(detector.max_workers, detector.default_batch_size)
    if not isinstance(source, VideoSource):
        return wanted
    fitting = _IN_FLIGHT_BYTES // (source.width * source.height * 3)
    return max(detector.max_workers + 1, min(wanted, fitting))


@dataclass(frozen=True, slots=True)
class VideoSummary:
    """What `annotate_video` did.

    Attributes:
        source: The video read.
        output: The video written.
        num_frames: Frames in the output.
        num_detections: Boxes in all frames together.
        num_failed: Frames that the detector failed on; they are in the output without boxes.
        expected_frames: What the source announced, or `None`.
        status: Whether the source was whole: "complete", "truncated", "corrupt" or
            "interrupted".
        elapsed_s: Wall time in seconds.
    """

    source: str
    output: Path
    num_frames: int
    num_detections: int
    num_failed: int
    expected_frames: int | None
    status: Status
    elapsed_s: float

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
    draw: Callable[[RGBImage, DetectionResult], RGBImage] = annotate,
    stride: int = 1,
    max_in_flight: int | None = None,
    **settings: Unpack[SettingsOptions],
) -> VideoSummary:
    """Detect in a video and write it again with the boxes drawn in.

    Decoding, inference and drawing with encoding overlap. Times and frame rate stay exactly the
    source's. A frame that the detector fails on is written without boxes and counted; one of
    another size than the first is scaled to it.

    Args:
        detector: Stays open.
        source: A video file, a `VideoSource`, or any iterable of `Frame`.
        output: H.264 video to write; see `VideoSink`. It appears when it is whole; after an error
            or a cancellation what was done is in `<name>.partial.mp4`.
        fps: Frame rate of the output; by default the source's, or 25 where it has none.
        on_frame: Called for every frame in order, on the event loop, as for a progress bar or a
            table.
        draw: Makes the picture to write from image and result, on a thread of its own.
        stride: Detect in, and write, every `stride`-th frame only.
        max_in_flight: As for `detect_video`.
        **settings: As for `detect_async`.

    Raises:
        VideoOpenError: If the source is no video.
        VideoWriteError: If the output cannot be written, or the source has no frame.
    """
    started = time.perf_counter()
    run = detect_video(
        detector, source, stride=stride, max_in_flight=max_in_flight, on_error="yield", **settings
    )
    video = run.source if isinstance(run.source, VideoSource) else None
    rate = fps or (video.fps if video is not None and video.fps else 25)
    writer = _AnnotatedWriter(draw)
    num_detections = num_failed = 0
    time_base = None if video is None else video.time_base
    with VideoSink(output, exact_rate(rate) / stride, time_base=time_base) as sink:
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
    return VideoSummary(
        "" if video is None else video.source_id,
        sink.path,
        sink.frames_written,
        num_detections,
        num_failed,
        None if video is None else video.expected_frames,
        "complete" if video is None else video.status,
        time.perf_counter() - started,
    )


class _AnnotatedWriter:
    """Draws and encodes, in the size of the first frame: a source may change, a file cannot."""

    def __init__(self, draw: Callable[[RGBImage, DetectionResult], RGBImage]) -> None:
        self._draw = draw
        self._size_hw: tuple[int, ...] | None = None

    def write(self, sink: VideoSink, frame: Frame, outcome: DetectionResult | ItemFailure) -> None:
        picture = frame.image
        if isinstance(outcome, DetectionResult):
            picture = self._draw(picture, outcome)
        if self._size_hw is None:
            self._size_hw = picture.shape[:2]
        if picture.shape[:2] != self._size_hw:
            height, width = self._size_hw
            picture = np.asarray(cv2.resize(picture, (width, height)), dtype=np.uint8)
        sink.write(picture, frame.pts_seconds)
