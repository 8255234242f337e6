"""`Submitted`: the frames of a source that are read, on their way through the detector, in order.

Owns the reading ahead and the futures; everything here happens on the player's thread, but for
`abandon`, `end` and `num_skipped`. Knows frames and the detector; nothing of orders, time or
widgets.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detkit.errors import DetectorClosed, ItemFailure
from detkit.pipeline.needed_size import View, needed_size
from detkit.results import DetectionResult
from detkit.scaled_decode import NeededSize
from detkit.video.frames import Frame, FrameSource
from detkit.video.read_ahead import ReadAhead

if TYPE_CHECKING:
    from detkit.api.async_detector import AsyncDetector

_FRAMES_AHEAD = 4
# So that workers have something to do while the interpreter draws for the page: without them two
# workers lost 15 % to a visible preview, with them 10 %.
_SPARE_FRAMES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A frame that was handed to the detector.

    Attributes:
        view: The frame, and what the detector sees of it.
        fresh_at: When it came from the source, in seconds of the player's clock.
        future: Its result to come.
    """

    view: View
    fresh_at: float
    future: Future[DetectionResult]

    @property
    def frame(self) -> Frame:
        """The frame."""
        return self.view.frame

    def outcome(self) -> DetectionResult | ItemFailure:
        """Its result or why there is none, once the future is done.

        Raises:
            DetectorClosed: If no frame after this one can be detected either.
        """
        error = self.future.exception()
        if error is None:
            return self.view.in_frame(self.future.result())
        if isinstance(error, DetectorClosed):
            raise error
        return ItemFailure(self.frame.frame_index, "detect", error, self.frame.source_id)


class Submitted:
    """Reads and submits: a few more than twice as many frames as workers, of a live source one.

    Args:
        source: Iterable of `Frame`.
        detector: Stays open.
        confidence_threshold: Lowest score asked of it.
        clock: Seconds, steady.
        on_done: Called on any thread when a frame is detected.

    Attributes:
        can_rewind: Whether the source can be read again.
    """

    def __init__(
        self,
        source: Iterable[Frame],
        detector: AsyncDetector,
        confidence_threshold: float,
        clock: Callable[[], float],
        on_done: Callable[[object], None],
    ) -> None:
        self._source = source
        self._detector = detector
        self._confidence_threshold = confidence_threshold
        self._clock = clock
        self._on_done = on_done
        self.can_rewind = getattr(source, "can_restart", not isinstance(source, Iterator))
        self._is_live = getattr(source, "is_live", False)
        self._frames: ReadAhead[View] | None = None
        self._entries: deque[Entry] = deque()
        self._abandoned = threading.Event()  # set: skipping to a frame is no longer wanted
        self._late_error: Exception | None = None

    @property
    def first(self) -> Entry | None:
        """The next frame to show."""
        return self._entries[0] if self._entries else None

    @property
    def num_skipped(self) -> int:
        """Frames that a live source gave and nobody could take."""
        frames = self._frames
        return 0 if frames is None else frames.num_skipped

    def take_first(self) -> None:
        """The first is shown now; the next takes its place."""
        self._entries.popleft()

    def fill(self, is_closed: Callable[[], bool]) -> None:
        """Submit frames until the workers have enough to do."""
        if self._frames is None:
            self._frames = self._read(iter(self._source))
        # Waiting for a second live frame would make the first one old.
        window = 1 if self._is_live else 2 * self._detector.max_workers + _SPARE_FRAMES
        while len(self._entries) < window and not is_closed():
            if self._late_error is not None:
                return
            try:
                view = next(self._frames, None)
            except Exception as error:  # noqa: BLE001  told after the frames that came before it
                self._late_error = error
                return
            if view is None:
                return
            fresh_at = self._clock()
            future = self._detector.submit(
                view.pixels, confidence_threshold=self._confidence_threshold
            )
            future.add_done_callback(self._on_done)
            self._entries.append(Entry(view, fresh_at, future))

    def _read(self, frames: Iterator[Frame]) -> ReadAhead[View]:
        views = _views(frames, needed_size(self._detector.detector))
        if self._is_live:
            return ReadAhead(views, 1, keep="latest")
        return ReadAhead(views, _FRAMES_AHEAD)

    def raise_late_error(self) -> None:
        """What broke off the reading, once every frame before it was shown."""
        if self._late_error is not None:
            error, self._late_error = self._late_error, None
            raise error

    def reopen(self, target: int) -> None:
        """Read again, from the frame `target` on."""
        self.drop(keep_source=not self.can_rewind)
        self._abandoned = threading.Event()
        self._frames = self._read(_from(self._source, target, self._abandoned))

    def abandon(self) -> None:
        """End skipping to a frame, from any thread."""
        self._abandoned.set()

    def end(self) -> None:
        """Nothing more is wanted, from any thread: a read of a live source that is blocked ends."""
        self.abandon()
        frames = self._frames
        if self._is_live and frames is not None:
            frames.stop()
            if isinstance(self._source, FrameSource):
                self._source.close()

    def drop(self, *, keep_source: bool) -> None:
        """Take back what is not detected yet, and let go of the source or keep its place."""
        for entry in self._entries:
            entry.future.cancel()
        self._entries.clear()
        if self._frames is not None and not keep_source:
            self._frames.close()
            self._frames = None


def _views(frames: Iterator[Frame], needed_hw: NeededSize) -> Iterator[View]:
    """What the detector sees of each; closed with it, `frames` is too."""
    try:
        for frame in frames:
            yield View.of(frame, needed_hw)
    finally:
        close = getattr(frames, "close", None)
        if close is not None:
            close()


def _from(frames: Iterable[Frame], target: int, abandoned: threading.Event) -> Iterator[Frame]:
    """The frames from `target` on; ends early when nobody wants them any more."""
    for index, frame in enumerate(frames):
        if abandoned.is_set():
            return
        if index >= target:
            yield frame
