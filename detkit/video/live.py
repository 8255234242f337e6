"""`LiveSource`: what does not wait for its reader, opened again when it breaks off.

Owns reconnecting, its delays, and one clock over all connections. A gap is an event; no frame is
ever made up for it. Knows nothing of networks, cameras or codecs: a subclass opens connections.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from detkit.errors import StreamLostError, VideoOpenError
from detkit.images import RGBImage
from detkit.video.decoded_picture import DecodedPicture
from detkit.video.frames import Frame, FrameSource, SourceEvent, Status, size_of

# Between the last frame before a gap and the first after it, where no clock says more.
_LEAST_STEP_S = 0.001


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How often and how patiently a lost source is opened again.

    Attributes:
        first_delay_s: Wait before the first attempt; each further one waits twice as long.
        max_delay_s: Longest wait, so that a source that is back is found within about 3 s.
        max_attempts: Attempts without a frame after which it counts as gone; `None` never ends.

    Example:
        >>> list(map(Reconnect().delay_s, range(5)))
        [0.25, 0.5, 1.0, 2.0, 2.0]
    """

    first_delay_s: float = 0.25
    max_delay_s: float = 2.0
    max_attempts: int | None = 30

    def delay_s(self, attempt: int) -> float:
        """The wait before an attempt, counted from 0."""
        return min(self.max_delay_s, self.first_delay_s * 2.0 ** min(attempt, 60))


class Connection(Protocol):
    """One opened device or stream. Only the thread that reads touches it.

    Attributes:
        fps: Frame rate, or `None`.
        is_finite: Whether the stream announces its end, as a file somewhere else does.
        expected_frames: How many such a file announces, or `None`.
        end: After the last picture: why there are no more, or "" where it came to its end.
        num_damaged: What could not be decoded cleanly.
    """

    fps: Fraction | None
    is_finite: bool
    expected_frames: int | None
    end: str

    @property
    def num_damaged(self) -> int:
        """See above."""

    def pictures(self) -> Iterator[tuple[RGBImage | DecodedPicture, float | None]]:
        """Pictures with their times in seconds from the first, where the stream has a clock."""

    def close(self) -> None:
        """Release it."""


class LiveSource(FrameSource):
    """A source that is opened when it is iterated, and again when it breaks off.

    `pts_seconds` go on over a gap by the time it took. A stream that announces its length is a
    file somewhere else: it is read once and not opened again.

    Args:
        source_id: Name, without credentials.
        reconnect: `None` to end at the first loss.
        clock: Seconds, steady.
        wait: Waits so many seconds, or until the source is closed; whether it is.

    Attributes:
        num_frames: Frames read by the latest iteration.

    Raises:
        VideoOpenError: While iterating, if it cannot be opened at first.
        StreamLostError: While iterating, if it broke off and stays away.
    """

    is_live = True
    # Of RTP video and MPEG-TS; times are in seconds on a clock that goes on over gaps.
    time_base = Fraction(1, 90_000)

    def __init__(
        self,
        source_id: str,
        *,
        reconnect: Reconnect | None = Reconnect(),
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self.source_id = source_id
        self.num_frames = 0
        self._reconnect = reconnect
        self._clock = clock
        self._closing = threading.Event()
        self._wait = self._closing.wait if wait is None else wait
        self._last_pts = -_LEAST_STEP_S
        self._last_at: float | None = None
        self._started_at = 0.0

    def connect(self) -> Connection:
        """Open it.

        Raises:
            VideoOpenError: If that fails.
        """
        raise NotImplementedError

    def __iter__(self) -> Iterator[Frame]:
        self.num_frames, self.num_damaged, self.status = 0, 0, "interrupted"
        self._last_pts, self._last_at = -_LEAST_STEP_S, None
        connection: Connection | None = None
        try:
            connection = self.connect()
            while not self._closing.is_set():
                self.fps = connection.fps
                self.expected_frames = connection.expected_frames
                before, damaged = self.num_frames, self.num_damaged
                for picture, pts in connection.pictures():
                    if self._closing.is_set():
                        return
                    yield self._frame(picture, pts, is_first=self.num_frames == before)
                    self.num_damaged = damaged + connection.num_damaged
                if self._closing.is_set():
                    return
                if connection.is_finite:
                    self.status = self._verdict(connection)
                    return
                lost, connection = connection, None
                lost.close()
                connection = self._connect_again(
                    lost.end or "the stream ended", self.num_frames == before
                )
                if connection is None:
                    return
        finally:
            if connection is not None:
                connection.close()

    _num_attempts = 0

    def _connect_again(self, why: str, was_fruitless: bool) -> Connection | None:
        """Another connection, or `None` if the source is closed meanwhile."""
        self.tell(SourceEvent("lost", self.num_frames, why))
        if not was_fruitless:
            self._num_attempts = 0
        policy = self._reconnect
        while policy is not None:
            if policy.max_attempts is not None and self._num_attempts >= policy.max_attempts:
                break
            delay_s = policy.delay_s(self._num_attempts)
            self._num_attempts += 1
            if self._wait(delay_s) or self._closing.is_set():
                return None
            try:
                return self.connect()
            except VideoOpenError as error:
                why = str(error)
                detail = f"attempt {self._num_attempts}: {why}"
                self.tell(SourceEvent("retry_failed", self.num_frames, detail))
        self.status = "truncated"
        tried = f", and {self._num_attempts} attempts to open it again failed" if policy else ""
        raise StreamLostError(
            f"{self.source_id}: lost after {self.num_frames} frames{tried} ({why})"
        )

    def _frame(
        self, picture: RGBImage | DecodedPicture, pts: float | None, is_first: bool
    ) -> Frame:
        now = self._clock()
        if self._last_at is None:
            self._started_at, self._offset_s = now, 0.0
        elif is_first:
            self._offset_s = now - self._started_at - (pts or 0.0)
            gap_s = now - self._last_at
            self.tell(SourceEvent("reconnected", self.num_frames, gap_s=gap_s))
        size_hw = size_of(picture)
        if self.height is not None and (self.height, self.width) != size_hw:
            detail = f"{self.width}×{self.height} became {size_hw[1]}×{size_hw[0]}"
            self.tell(SourceEvent("resized", self.num_frames, detail))
        self.height, self.width = size_hw
        seconds = now - self._started_at if pts is None else pts + self._offset_s
        seconds = max(seconds, self._last_pts + _LEAST_STEP_S)
        self._last_pts, self._last_at = seconds, now
        self.num_frames += 1
        return Frame(picture, self.source_id, self.num_frames - 1, seconds)

    _offset_s = 0.0

    def _verdict(self, connection: Connection) -> Status:
        if connection.end or self.num_frames < 0.99 * (connection.expected_frames or 0):
            return "truncated"
        return "corrupt" if connection.num_damaged else "complete"

    def close(self) -> None:
        """End a running iteration: at once while it waits, else at its next frame or time-out."""
        self._closing.set()

    def __repr__(self) -> str:
        size = "" if self.height is None else f", {self.width}×{self.height}"
        return f"<{type(self).__name__} {self.source_id!r}{size}, {self.num_frames} frames read>"
