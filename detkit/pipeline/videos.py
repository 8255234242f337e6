"""`detect_video` and `annotate_video`: frames through a detector, in order, and out to a file.

Owns what runs beside what: decoding, inference, drawing and encoding each have their own thread,
with a bounded number of frames between them. Knows nothing of containers, codecs or batches.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from detkit.errors import ItemFailure
from detkit.images import RGBImage
from detkit.progress import counted, counted_async
from detkit.results import DetectionResult
from detkit.video.frames import Frame
from detkit.video.ledger import FrameLedger
from detkit.video.read_ahead import Keep, ReadAhead
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
    policy: Keep = "every",
    max_age_s: float | None = None,
    stride: int = 1,
    max_in_flight: int | None = None,
    on_error: Literal["raise", "yield"] = "raise",
    progress: bool = False,
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
        policy: "every" loses no frame, for files; "latest" detects in the newest frame there is
            and drops what it overtook, for sources that do not wait.
        max_age_s: Drop frames that were read longer ago than this when their turn comes.
        stride: Detect in every `stride`-th frame only; the others are decoded and left out.
        max_in_flight: Most frames between decoder and result; by default twice what the detector
            takes at once, within 128 MB, or with "latest" one for each worker.
        on_error: "raise" ends the run at the first frame that the detector fails on; "yield" puts
            an `ItemFailure` in the place of its result and goes on.
        progress: Whether to show a bar: frames per second, failures, and the time left where the
            source says how many frames it has.
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
    if max_in_flight is None:
        latest = policy == "latest"
        max_in_flight = detector.max_workers if latest else _default_in_flight(detector, source)
    options = {"max_in_flight": max_in_flight, "on_error": on_error, **settings}
    return VideoRun(
        detector,
        source,
        options,
        policy=policy,
        max_age_s=max_age_s,
        stride=stride,
        progress=progress,
    )


class _Ticketed(NamedTuple):
    ticket: int  # of the ledger
    frame: Frame


class VideoRun:
    """The (frame, result) pairs of one `detect_video` call. Iterate it once.

    Attributes:
        source: What the frames come from.
        ledger: What became of every frame so far, and in the end whether the source was whole.
    """

    def __init__(
        self,
        detector: AsyncDetector,
        source: VideoSource | Iterable[Frame],
        options: dict[str, Any],
        *,
        policy: Keep,
        max_age_s: float | None,
        stride: int,
        progress: bool = False,
    ) -> None:
        self.source = source
        self._detector = detector
        self._options = options
        self._policy = policy
        self._max_age_s = max_age_s
        self._stride = stride
        self._progress = progress
        self._waiting: deque[_Ticketed] = deque()
        video = source if isinstance(source, VideoSource) else None
        self.ledger = FrameLedger(
            "" if video is None else video.source_id,
            None if video is None else video.expected_frames,
        )
        self._is_exhausted = False

    def _read_ahead(self) -> ReadAhead[_Ticketed]:
        max_ahead = 1 if self._policy == "latest" else _FRAMES_AHEAD
        return ReadAhead(
            self._frames(),
            max_ahead,
            keep=self._policy,
            on_skip=lambda item: self.ledger.drop(item.ticket, "newer"),
        )

    def _frames(self) -> Iterator[_Ticketed]:
        """The frames of the source; runs on the reading thread."""
        for count, frame in enumerate(self.source):
            self.ledger.source_id = self.ledger.source_id or frame.source_id
            now = time.perf_counter()
            ticket = self.ledger.capture(frame.frame_index, frame.pts_seconds, now)
            if count % self._stride:
                self.ledger.drop(ticket, "stride")
            else:
                yield _Ticketed(ticket, frame)
        self._is_exhausted = True

    def _admit(self, item: _Ticketed) -> bool:
        """Whether the detector gets this frame, now that its turn has come."""
        age_s = self.ledger.take(item.ticket, time.perf_counter())
        if self._max_age_s is not None and age_s > self._max_age_s:
            self.ledger.drop(item.ticket, "age")
            return False
        self._waiting.append(item)
        return True

    def _settle(
        self, outcome: DetectionResult | ItemFailure
    ) -> tuple[Frame, DetectionResult | ItemFailure]:
        ticket, frame = self._waiting.popleft()
        failed = isinstance(outcome, ItemFailure)
        self.ledger.settle(ticket, time.perf_counter(), failed=failed)
        return _pair(frame, outcome)

    def _finish(self) -> None:
        whole: Status = "complete" if self._is_exhausted else "interrupted"
        video = self.source if isinstance(self.source, VideoSource) else None
        self.ledger.finish(whole if video is None else video.status)

    def _num_expected(self) -> int | None:
        expected = self.ledger.expected_frames
        return None if expected is None else -(-expected // self._stride)

    def __iter__(self) -> Iterator[tuple[Frame, DetectionResult | ItemFailure]]:
        pairs = self._pairs()
        if not self._progress:
            return pairs
        return counted(pairs, self._num_expected(), _is_failed, unit="frames")

    def __aiter__(self) -> AsyncIterator[tuple[Frame, DetectionResult | ItemFailure]]:
        pairs = self._pairs_async()
        if not self._progress:
            return pairs
        return counted_async(pairs, self._num_expected(), _is_failed, unit="frames")

    def _pairs(self) -> Iterator[tuple[Frame, DetectionResult | ItemFailure]]:
        def images() -> Iterator[RGBImage]:
            for item in items:
                if self._admit(item):
                    yield item.frame.image

        try:
            with self._read_ahead() as items:
                for outcome in self._detector.map(images(), **self._options):
                    yield self._settle(outcome)
        finally:
            self._finish()

    async def _pairs_async(self) -> AsyncIterator[tuple[Frame, DetectionResult | ItemFailure]]:
        async def images() -> AsyncIterator[RGBImage]:
            async for item in items:
                if self._admit(item):
                    yield item.frame.image

        try:
            async with aclosing(self._read_ahead()) as items:
                outcomes: Any = self._detector.stream(images(), **self._options)
                async with aclosing(outcomes):
                    async for outcome in outcomes:
                        yield self._settle(outcome)
        finally:
            self._finish()


def _is_failed(pair: tuple[Frame, DetectionResult | ItemFailure]) -> bool:
    return isinstance(pair[1], ItemFailure)


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
