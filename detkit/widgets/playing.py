"""The values that a `Player` deals in: a frame with its result, its state, and its orders.

Decides when a frame is due; time is an argument. No thread, no clock, no widget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from detkit.errors import ItemFailure
from detkit.results import DetectionResult
from detkit.video.frames import Frame

State = Literal["paused", "playing", "seeking", "ended", "closed"]

# Where a source has no clock.
_USUAL_FPS = 25.0
# Further behind than this, and lost time is not made up for: the detector is slower than the film.
_MAX_LAG_S = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A frame with what was found in it.

    Attributes:
        frame: The frame.
        outcome: Its result, or why there is none.
        fresh_at: When it came from the source or, if it was held back to keep time, when it was
            due; on the player's clock, in seconds.
    """

    frame: Frame
    outcome: DetectionResult | ItemFailure
    fresh_at: float


@dataclass
class Orders:
    """What the player was told and has not done yet. Guarded by the player's condition.

    Attributes:
        is_playing: Whether to go on after the next frame.
        num_steps: Frames to show all the same.
        seek_to: Frame to go to first.
        speed: Times the source's own; `None` is as fast as possible.
        is_closed: Whether to end.
        anchor: Clock and film time from which the following frames are due.
    """

    is_playing: bool = False
    num_steps: int = 0
    seek_to: int | None = None
    speed: float | None = 1.0
    is_closed: bool = False
    anchor: tuple[float, float] | None = None

    @property
    def is_moving(self) -> bool:
        """Whether another frame is wanted."""
        return self.is_playing or self.num_steps > 0

    def due_at(self, frame: Frame, now: float) -> float:
        """When this frame is to be shown, on the player's clock; `now` where nothing holds it."""
        if self.speed is None or not self.is_playing:
            return now
        pts = frame.pts_seconds if frame.pts_seconds is not None else frame.frame_index / _USUAL_FPS
        if self.anchor is None:
            self.anchor = (now, pts)
        started, first_pts = self.anchor
        due = started + (pts - first_pts) / self.speed
        if due < now - _MAX_LAG_S:
            self.anchor = (now, pts)
        return due
