"""Who is who from frame to frame: results of a stream in, the same with `tracker_ids` out.

Owns one set of tracks for each source, its clock and the trails that objects leave. The decisions
are ByteTrack's, as the package `trackers` has it; it is imported when tracking is asked for.
Knows frames and results; never a detector: frames come here in order, after detection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from detkit.errors import ItemFailure, MissingPackageError, UnsupportedSettingError
from detkit.results import DetectionResult
from detkit.video.frames import Frame

Outcome: TypeAlias = "DetectionResult | ItemFailure"

NO_TRACK = -1
# Where a source does not say how many frames a second it has.
_USUAL_FPS = 25.0
# The ByteTrack paper (arXiv:2110.06864, section 4.1) starts tracks 0.1 above the score that parts
# its two rounds of matching.
_START_MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """How objects are followed.

    Attributes:
        start_confidence: Lowest score with which a new object is believed, in [0, 1]; weaker
            boxes only carry on with tracks that are there. The lower, the more objects get a
            number, and the more of them are none.
        lost_s: How long an object may be hidden and still get its number back, in seconds.
        min_iou: Least overlap of a box with where its track is expected, in [0, 1].
        num_trail_points: Most points in the trail of one object.

    Raises:
        UnsupportedSettingError: If a number is outside its range.
    """

    start_confidence: float = 0.5
    lost_s: float = 1.0
    min_iou: float = 0.1
    num_trail_points: int = 32

    def __post_init__(self) -> None:
        for name in ("start_confidence", "min_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise UnsupportedSettingError(
                    f"{name} must be in [0, 1], got {getattr(self, name)!r}"
                )
        if not 0 < self.lost_s < float("inf"):
            raise UnsupportedSettingError(f"lost_s must be above 0, got {self.lost_s!r}")
        if self.num_trail_points < 0:
            raise UnsupportedSettingError(
                f"num_trail_points must not be negative, got {self.num_trail_points!r}"
            )


class Tracks:
    """Follows the objects of one run; each `source_id` has tracks of its own.

    Frames must come in order, one call at a time. Frames that were left out on the way are a
    longer step of time, no loss of the track; after `lost_s` it is one.

    Args:
        settings: How objects are followed.
        fps: Frames per second of the source; sets how far an object may move per second.

    Raises:
        MissingPackageError: If the package `trackers` is not installed.
    """

    def __init__(
        self, settings: TrackSettings | None = None, fps: Fraction | float | None = None
    ) -> None:
        self._settings = settings or TrackSettings()
        self._fps = float(fps) if fps else _USUAL_FPS
        self._streams: dict[str, _Stream] = {}
        self._thread: ThreadPoolExecutor | None = None
        _require_trackers()

    def follow(self, frame: Frame, outcome: Outcome) -> Outcome:
        """The result with `tracker_ids` and `tracker_trails` in its metadata.

        `tracker_ids` is an int64 array, one number per box, from 1 in the order of appearance;
        -1 for a box that belongs to no track, as an object's first one. `tracker_trails` maps
        the numbers to the `(K, 2)` float32 centres of their last boxes, the newest last. A
        failure passes as it is.
        """
        if isinstance(outcome, ItemFailure):
            return outcome
        stream = self._streams.get(frame.source_id)
        if stream is None:
            stream = self._streams[frame.source_id] = _Stream(self._settings, self._fps)
        return stream.follow(frame, outcome)

    async def follow_async(self, frame: Frame, outcome: Outcome) -> Outcome:
        """`follow` on a thread of its own: a crowd of 300 takes some 10 ms."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="detkit-track")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self.follow, frame, outcome)

    def close(self) -> None:
        """End the thread. Idempotent."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)


class _Stream:
    """The tracks of one source."""

    def __init__(self, settings: TrackSettings, fps: float) -> None:
        from trackers import ByteTrackTracker

        self._tracker = ByteTrackTracker(
            frame_rate=fps,
            lost_track_buffer=max(1, round(30 * settings.lost_s)),  # in frames of 1/30 s
            track_activation_threshold=settings.start_confidence,
            high_conf_det_threshold=max(0.0, settings.start_confidence - _START_MARGIN),
            minimum_iou_threshold=settings.min_iou,
        )
        self._clock = _Clock(fps)
        self._trails = _Trails(settings.num_trail_points, settings.lost_s)

    def follow(self, frame: Frame, result: DetectionResult) -> DetectionResult:
        now_s = self._clock.read(frame)
        ids = self._assign(result, now_s)
        trails = self._trails.extend(ids, result.boxes, now_s)
        return result.with_metadata(tracker_ids=ids, tracker_trails=trails)

    def _assign(self, result: DetectionResult, now_s: float) -> npt.NDArray[np.int64]:
        import supervision

        # The tracker hands boxes back in an order of its own; each carries its place.
        place = np.arange(len(result))
        boxes = supervision.Detections(
            xyxy=result.boxes.astype(np.float64),
            confidence=result.scores,
            class_id=result.classes,
            data={"place": place},
        )
        tracked = self._tracker.update(boxes, timestamp=now_s)
        ids = np.full(len(result), NO_TRACK, np.int64)
        if len(tracked):
            numbers = np.asarray(tracked.tracker_id)
            ids[tracked.data["place"]] = np.where(numbers < 0, NO_TRACK, numbers + 1)
        return ids


class _Clock:
    """The time of a stream in seconds, which only ever goes forward.

    A live source that was opened again may start its own time anew.
    """

    def __init__(self, fps: float) -> None:
        self._step_s = 1 / fps
        self._offset_s = 0.0
        self._last_s = float("-inf")

    def read(self, frame: Frame) -> float:
        given = frame.pts_seconds
        time_s = self._offset_s + (frame.frame_index * self._step_s if given is None else given)
        if time_s <= self._last_s:
            correction_s = self._last_s + self._step_s - time_s
            self._offset_s += correction_s
            time_s += correction_s
        self._last_s = time_s
        return time_s


class _Trails:
    """The last centres of every object that was seen lately."""

    def __init__(self, num_points: int, lost_s: float) -> None:
        self._num_points = num_points
        self._lost_s = lost_s
        self._points: dict[int, deque[npt.NDArray[np.float32]]] = {}
        self._seen_s: dict[int, float] = {}

    def extend(
        self, ids: npt.NDArray[np.int64], boxes: npt.NDArray[np.float32], now_s: float
    ) -> dict[int, npt.NDArray[np.float32]]:
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        for number, centre in zip(ids.tolist(), centres, strict=True):
            if number != NO_TRACK:
                points = self._points.setdefault(number, deque(maxlen=self._num_points))
                points.append(centre)
                self._seen_s[number] = now_s
        for number in [n for n, seen_s in self._seen_s.items() if now_s - seen_s > self._lost_s]:
            del self._points[number], self._seen_s[number]
        return {
            number: np.array(self._points[number], dtype=np.float32).reshape(-1, 2)
            for number in ids.tolist()
            if number != NO_TRACK
        }


def make_tracks(track: bool | TrackSettings, source: object) -> Tracks | None:
    """What `track=` of a call asks for; a source that knows its `fps` sets the pace.

    Raises:
        MissingPackageError: If it is not `False` and the package `trackers` is not installed.
    """
    if track is False:
        return None
    settings = track if isinstance(track, TrackSettings) else None
    return Tracks(settings, getattr(source, "fps", None))


def _require_trackers() -> None:
    try:
        import trackers  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "tracking needs the package trackers: pip install 'detkit[track]'"
        ) from error
