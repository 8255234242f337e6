"""`detect_video`: the frames of one source through a detector, in order.

Owns what runs beside what: reading and inference each have their own threads, with a bounded
number of frames between them. Knows nothing of containers, codecs or batches.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from detkit.addresses import without_credentials
from detkit.errors import ItemFailure, describe
from detkit.images import RGBImage
from detkit.pipeline.background import iterate_blocking
from detkit.pipeline.opening import VideoInput, open_source
from detkit.pipeline.tracking import Tracks, TrackSettings, make_tracks
from detkit.progress import counted, counted_async
from detkit.results import DetectionResult
from detkit.video.frames import Frame, FrameSource, SourceEvent
from detkit.video.ledger import FrameLedger
from detkit.video.pictures import PictureSource
from detkit.video.read_ahead import Keep, ReadAhead

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from detkit.api.async_detector import AsyncDetector, SettingsOptions

Outcome: TypeAlias = DetectionResult | ItemFailure

# Frames that the decoder may be ahead of the detector: it evens out key frames and batches.
_FRAMES_AHEAD = 4
# What the frames between decoder and result may take together, unless the user sets a number.
_IN_FLIGHT_BYTES = 128 * 1024 * 1024


def detect_video(
    detector: AsyncDetector,
    source: VideoInput,
    *,
    policy: Keep | None = None,
    max_age_s: float | None = None,
    stride: int = 1,
    max_in_flight: int | None = None,
    track: bool | TrackSettings = False,
    on_error: Literal["raise", "yield"] = "raise",
    progress: bool = False,
    **settings: Unpack[SettingsOptions],
) -> VideoRun:
    """Detect in the frames of a video file, stream, camera, folder, stack or iterator.

    Iterate what is returned with `async for`, or with `for` where blocking is fine. Frames are
    read ahead on a thread; pairs come in frame order; at most `max_in_flight` frames are between
    reader and consumer, so a slow consumer slows a file's reader down and memory stays flat.
    Each result's metadata also holds `source`, `frame_index` and `pts_seconds`. Leaving the loop
    releases what was opened here, and a live source in any case.

    Args:
        detector: Stays open; one that is shared is fine.
        source: Whatever `open_source` takes: a path, an address, the number of a camera, a folder
            or pattern of pictures, a stack or list of arrays, a generator, plain or asynchronous.
        policy: "every" loses no frame; "latest" detects in the newest frame there is and drops
            what it overtook. By default "latest" for cameras and addresses, which do not wait,
            and "every" for everything else.
        max_age_s: Drop frames that were read longer ago than this when their turn comes.
        stride: Detect in every `stride`-th frame only; the others are decoded and left out.
        max_in_flight: Most frames between decoder and result; by default twice what the detector
            takes at once, within 128 MB, or with "latest" one for each worker.
        track: Give every object a number that it keeps from frame to frame, in the metadata as
            `tracker_ids` and in tables as `tracker_id`; see `Tracks.follow`. Every source has
            numbers of its own.
        on_error: "raise" ends the run at the first frame that the detector fails on; "yield" puts
            an `ItemFailure` in the place of its result and goes on.
        progress: Whether to show a bar: frames per second, failures, and the time left where the
            source says how many frames it has.
        **settings: `confidence_threshold` and so on, as for `detect_async`.

    Raises:
        VideoOpenError: At once, if a file is no video; while iterating, if a stream or camera
            cannot be opened.
        SourceError: If the source is nothing that can be read.
        StreamLostError: While iterating, if a live source broke off and stays away.
        ValueError: If `stride` is below 1 or `policy` is unknown.
        MissingPackageError: If `track` is asked for and the extra `track` is not installed.

    Example:
        >>> async def count(detector):  # doctest: +SKIP
        ...     async for frame, result in detect_video(detector, "clip.mp4"):
        ...         print(frame.pts_seconds, len(result))
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    if policy not in (None, *get_args(Keep)):
        raise ValueError(f'policy must be "every" or "latest", got {policy!r}')
    opened = open_source(source)
    keep = policy or ("latest" if opened.is_live else "every")
    if max_in_flight is None:
        latest = keep == "latest"
        max_in_flight = detector.max_workers if latest else _default_in_flight(detector, opened)
    options = {"max_in_flight": max_in_flight, "on_error": on_error, **settings}
    run = VideoRun(
        detector,
        opened,
        options,
        policy=keep,
        max_age_s=max_age_s,
        stride=stride,
        tracks=make_tracks(track, opened),
        progress=progress,
    )
    run.closes_source = opened.is_live or opened is not source
    return run


class _Ticketed(NamedTuple):
    ticket: int  # of the ledger
    frame: Frame


class VideoRun:
    """The (frame, result) pairs of one `detect_video` call. Iterate it once.

    Attributes:
        source: What the frames come from.
        ledger: What became of every frame so far, what happened between them, and in the end
            whether the source was whole.
        policy: "every" or "latest".
        closes_source: Whether the source is closed when the run ends.
    """

    def __init__(
        self,
        detector: AsyncDetector,
        source: FrameSource,
        options: dict[str, Any],
        *,
        policy: Keep,
        max_age_s: float | None = None,
        stride: int = 1,
        tracks: Tracks | None = None,
        progress: bool = False,
    ) -> None:
        self.source = source
        self.policy = policy
        self.closes_source = False
        self.ledger = FrameLedger(source.source_id, source.expected_frames)
        self._tracks = tracks
        self._detector = detector
        self._options = options
        self._max_age_s = max_age_s
        self._stride = stride
        self._progress = progress
        self._waiting: deque[_Ticketed] = deque()
        self._ahead: ReadAhead[_Ticketed] | None = None
        self._terminated = False

    def terminate(self) -> None:
        """End the run from anywhere, at once; its loop ends when running detections are done.

        Idempotent and thread-safe. A network read that is blocked ends by itself within its
        time-out, on its own thread, and releases the stream then.
        """
        self._terminated = True
        if self.closes_source:
            self.source.close()
        if self._ahead is not None:
            self._ahead.stop()

    def _read_ahead(self) -> ReadAhead[_Ticketed]:
        self.source.on_event = self.ledger.note
        max_ahead = 1 if self.policy == "latest" else _FRAMES_AHEAD
        self._ahead = ReadAhead(
            self._frames(),
            max_ahead,
            keep=self.policy,
            on_skip=lambda item: self.ledger.drop(item.ticket, "newer"),
        )
        if self._terminated:
            self._ahead.stop()
        return self._ahead

    def _frames(self) -> Iterator[_Ticketed]:
        """The frames of the source; runs on the reading thread."""
        try:
            for count, frame in enumerate(self.source):
                self.ledger.source_id = self.ledger.source_id or frame.source_id
                now = time.perf_counter()
                ticket = self.ledger.capture(frame.frame_index, frame.pts_seconds, now)
                if count % self._stride:
                    self.ledger.drop(ticket, "stride")
                else:
                    yield _Ticketed(ticket, frame)
        except Exception as error:
            detail = without_credentials(describe(error))
            self.ledger.note(SourceEvent("failed", self.ledger.captured, detail))
            raise

    def _admit(self, item: _Ticketed) -> bool:
        """Whether the detector gets this frame, now that its turn has come."""
        age_s = self.ledger.take(item.ticket, time.perf_counter())
        if self._max_age_s is not None and age_s > self._max_age_s:
            self.ledger.drop(item.ticket, "age")
            return False
        self._waiting.append(item)
        return True

    def _settle(self, outcome: Outcome) -> tuple[Frame, Outcome]:
        ticket, frame = self._waiting.popleft()
        failed = isinstance(outcome, ItemFailure)
        self.ledger.settle(ticket, time.perf_counter(), failed=failed)
        return _pair(frame, outcome)

    def _finish(self) -> None:
        self.ledger.num_damaged = self.source.num_damaged
        self.ledger.expected_frames = self.source.expected_frames
        self.ledger.finish(self.source.status)
        if self._tracks is not None:
            self._tracks.close()

    def num_expected(self) -> int | None:
        """How many frames will come, where the source announces that."""
        expected = self.ledger.expected_frames
        return None if expected is None else -(-expected // self._stride)

    def __iter__(self) -> Iterator[tuple[Frame, Outcome]]:
        # The engine's own blocking iterator waits for the next frame before it hands out a
        # result; from a live source that may be long.
        if self.policy == "latest" or self.source.is_live:
            pairs = iterate_blocking(self._pairs_async(), self.terminate)
        else:
            pairs = self._pairs()
        if not self._progress:
            return pairs
        return counted(pairs, self.num_expected(), _is_failed, unit="frames")

    def __aiter__(self) -> AsyncGenerator[tuple[Frame, Outcome], None]:
        pairs = self._pairs_async()
        if not self._progress:
            return pairs
        return counted_async(pairs, self.num_expected(), _is_failed, unit="frames")

    def _pairs(self) -> Iterator[tuple[Frame, Outcome]]:
        def images() -> Iterator[RGBImage]:
            for item in items:
                if self._admit(item):
                    yield item.frame.image

        try:
            with self._read_ahead() as items:
                try:
                    for outcome in self._detector.map(images(), **self._options):
                        frame, outcome = self._settle(outcome)
                        if self._tracks is not None:
                            outcome = self._tracks.follow(frame, outcome)
                        yield frame, outcome
                finally:
                    self.terminate()
        finally:
            self._finish()

    async def _pairs_async(self) -> AsyncGenerator[tuple[Frame, Outcome], None]:
        async def images() -> AsyncIterator[RGBImage]:
            async for item in items:
                if self._admit(item):
                    yield item.frame.image

        if isinstance(self.source, PictureSource):
            self.source.run_on(asyncio.get_running_loop())
        try:
            async with aclosing(self._read_ahead()) as items:
                try:
                    outcomes: Any = self._detector.stream(images(), **self._options)
                    async with aclosing(outcomes):
                        async for outcome in outcomes:
                            frame, outcome = self._settle(outcome)
                            if self._tracks is not None:
                                outcome = await self._tracks.follow_async(frame, outcome)
                            yield frame, outcome
                finally:
                    self.terminate()
        finally:
            self._finish()


def _is_failed(pair: tuple[Frame, Outcome]) -> bool:
    return isinstance(pair[1], ItemFailure)


def _pair(frame: Frame, outcome: Outcome) -> tuple[Frame, Outcome]:
    if isinstance(outcome, ItemFailure):
        failure = replace(outcome, index=frame.frame_index, source=frame.source_id)
        return frame, failure
    facts = {"source": frame.source_id, "frame_index": frame.frame_index}
    return frame, outcome.with_metadata(**facts, pts_seconds=frame.pts_seconds)


def _default_in_flight(detector: AsyncDetector, source: FrameSource) -> int:
    wanted = 2 * max(detector.max_workers, detector.default_batch_size)
    if source.width is None or source.height is None:
        return wanted
    fitting = _IN_FLIGHT_BYTES // (source.width * source.height * 3)
    return max(detector.max_workers + 1, min(wanted, fitting))
