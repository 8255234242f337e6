"""`VideoRun`: one run of a source through a detector, as pairs of frame and result.

Owns what runs beside what: reading and inference each have their own threads, with a bounded
number of frames between them, and every frame is entered in the ledger. Knows nothing of
containers, codecs or batches, nor of what a user may name as a source.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from detkit.addresses import without_credentials
from detkit.errors import ItemFailure, UnsupportedSettingError, describe
from detkit.images import RGBImage
from detkit.pipeline.background import iterate_blocking
from detkit.pipeline.needed_size import View, everything
from detkit.pipeline.tracking import Tracks
from detkit.progress import counted, counted_async
from detkit.results import DetectionResult
from detkit.scaled_decode import NeededSize
from detkit.video.frames import Frame, FrameSource, SourceEvent
from detkit.video.ledger import FrameLedger
from detkit.video.pictures import PictureSource
from detkit.video.read_ahead import Keep, ReadAhead

if TYPE_CHECKING:
    from detkit.api.async_detector import AsyncDetector

Outcome: TypeAlias = DetectionResult | ItemFailure

# Frames that the decoder may be ahead of the detector: it evens out key frames and batches.
_FRAMES_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a source is wanted; `None` is all of it.

    Attributes:
        max_frames: Frames that the detector gets.
        max_seconds: Time of the source; a live one also ends when so much time has passed.

    Raises:
        UnsupportedSettingError: If one of them is not above 0.
    """

    max_frames: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_frames", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UnsupportedSettingError(f"{name} must be above 0, got {value!r}")
        if self.max_frames is not None and self.max_frames % 1:
            raise UnsupportedSettingError(
                f"max_frames must be a whole number, got {self.max_frames!r}"
            )

    def num_expected(self, source: FrameSource, stride: int) -> int | None:
        """How many frames a run will detect in, as far as anybody knows."""
        known = [] if source.expected_frames is None else [source.expected_frames]
        if self.max_seconds is not None and source.fps:
            known.append(math.ceil(self.max_seconds * source.fps))
        counts = [-(-count // stride) for count in known]
        return min([*counts, *([self.max_frames] if self.max_frames else [])], default=None)


class _Ticketed(NamedTuple):
    ticket: int  # of the ledger
    view: View


class VideoRun:
    """The (frame, result) pairs of one `detect_video` call. Iterate it once.

    Attributes:
        source: What the frames come from.
        ledger: What became of every frame so far, what happened between them, and in the end
            whether the source was whole.
        policy: "every" or "latest".
        closes_source: Whether the source is closed when the run ends.
        needs_images: Whether every `Frame.image` will be asked for: then it is made while frames
            are read ahead.
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
        limits: Limits | None = None,
        tracks: Tracks | None = None,
        progress: bool = False,
        needed_hw: NeededSize = everything,
    ) -> None:
        self.source = source
        self.policy = policy
        self.closes_source = False
        self.needs_images = False
        self.ledger = FrameLedger(
            source.source_id, source.expected_frames, is_endless=source.is_live
        )
        self._tracks = tracks
        self._detector = detector
        self._options = options
        self._max_age_s = max_age_s
        self._stride = stride
        self._limits = limits or Limits()
        self._needed_hw = needed_hw
        self._num_admitted = 0
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
                if self._is_past_end(frame):
                    return
                self.ledger.source_id = self.ledger.source_id or frame.source_id
                now = time.perf_counter()
                ticket = self.ledger.capture(frame.frame_index, frame.pts_seconds, now)
                if count % self._stride:
                    self.ledger.drop(ticket, "stride")
                else:
                    if self.needs_images:
                        _ = frame.image  # converted here, and once
                    yield _Ticketed(ticket, View.of(frame, self._needed_hw))
        except Exception as error:
            detail = without_credentials(describe(error))
            self.ledger.note(SourceEvent("failed", self.ledger.captured, detail))
            raise

    def _is_past_end(self, frame: Frame) -> bool:
        end_s = self._limits.max_seconds
        if end_s is not None and frame.pts_seconds is None:
            raise UnsupportedSettingError(
                f"{frame.source_id}: these frames have no times, so that max_seconds says "
                "nothing; give max_frames"
            )
        return end_s is not None and (frame.pts_seconds or 0.0) >= end_s

    def _admit(self, item: _Ticketed) -> bool:
        """Whether the detector gets this frame, now that its turn has come."""
        age_s = self.ledger.take(item.ticket, time.perf_counter())
        if self._max_age_s is not None and age_s > self._max_age_s:
            self.ledger.drop(item.ticket, "age")
            return False
        self._waiting.append(item)
        self._num_admitted += 1
        return True

    def _has_enough(self) -> bool:
        return self._num_admitted == self._limits.max_frames

    def _settle(self, outcome: Outcome) -> tuple[Frame, Outcome]:
        ticket, view = self._waiting.popleft()
        failed = isinstance(outcome, ItemFailure)
        self.ledger.settle(ticket, time.perf_counter(), failed=failed)
        if isinstance(outcome, DetectionResult):
            outcome = view.in_frame(outcome)
        return _pair(view.frame, outcome)

    def _finish(self) -> None:
        self.ledger.num_damaged = self.source.num_damaged
        self.ledger.expected_frames = self.source.expected_frames
        self.ledger.finish(self.source.status)
        if self._tracks is not None:
            self._tracks.close()

    def num_expected(self) -> int | None:
        """How many frames will come, as far as anybody knows."""
        return self._limits.num_expected(self.source, self._stride)

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
                    yield item.view.pixels
                if self._has_enough():
                    return

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
                    yield item.view.pixels
                if self._has_enough():
                    return

        loop = asyncio.get_running_loop()
        if isinstance(self.source, PictureSource):
            self.source.run_on(loop)
        timer: asyncio.TimerHandle | None = None
        if self.source.is_live and self._limits.max_seconds is not None:
            # Also while no frame comes.
            timer = loop.call_later(self._limits.max_seconds, self.terminate)
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
            if timer is not None:
                timer.cancel()
            self._finish()


def _is_failed(pair: tuple[Frame, Outcome]) -> bool:
    return isinstance(pair[1], ItemFailure)


def _pair(frame: Frame, outcome: Outcome) -> tuple[Frame, Outcome]:
    if isinstance(outcome, ItemFailure):
        failure = replace(outcome, index=frame.frame_index, source=frame.source_id)
        return frame, failure
    facts = {"source": frame.source_id, "frame_index": frame.frame_index}
    return frame, outcome.with_metadata(**facts, pts_seconds=frame.pts_seconds)
