"""`Frame`: one picture of a video, with where and when it belongs; and what every source has.

Knows images only; never a container format, a detector or a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from detkit.images import RGBImage
from detkit.video.yuv import Planes

if TYPE_CHECKING:
    from typing_extensions import Self

Status = Literal["complete", "truncated", "corrupt", "interrupted"]
EventKind = Literal["lost", "retry_failed", "reconnected", "resized", "damaged", "failed"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        image: uint8 RGB of shape (H, W, 3).
        source_id: Name of the source it came from; credentials are never part of it.
        frame_index: Position in the source, from 0. Gaps stand for frames that were left out.
        pts_seconds: Presentation time from the start of the source, or `None` where the source
            has no clock, as a folder of pictures.
        planes: The same picture as it was decoded, read-only, where the source was told to
            `keep_planes` and has colours of the kind that `VideoSink` writes.
    """

    image: RGBImage
    source_id: str
    frame_index: int
    pts_seconds: float | None
    planes: Planes | None = None

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        when = "" if self.pts_seconds is None else f" at {self.pts_seconds:.3f} s"
        return f"<Frame {self.frame_index}{when} of {self.source_id!r}, {width}×{height}>"


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """Something that happened to a source between two frames.

    Attributes:
        kind: "lost" (a live source gave nothing more), "retry_failed" (it could not be opened
            again yet), "reconnected", "resized", "damaged" (something could not be decoded) or
            "failed" (the source ended with an error).
        frame_index: Index that the next frame has.
        detail: What was said about it, without credentials.
        gap_s: With "reconnected", the seconds without a frame.
    """

    kind: EventKind
    frame_index: int
    detail: str = ""
    gap_s: float | None = None


class FrameSource:
    """What frames come from. Every `iter()` starts anew where the source allows it.

    Use it in `with`; `close` ends a running iteration and is allowed from any thread.

    Attributes:
        source_id: Name, without credentials.
        can_restart: Whether it can be iterated more than once.
        is_live: Whether it goes on without waiting for its reader, as a camera does.
        fps: The average frame rate, exact, or `None`.
        time_base: The unit of the source's own clock in seconds, or `None`.
        width: Of the upright picture in pixels, or `None` while unknown.
        height: Likewise.
        expected_frames: As announced, or `None`.
        num_damaged: What the latest iteration could not decode cleanly.
        status: Verdict on the latest iteration.
        keep_planes: Whether frames also have their `planes`, for who draws into a video: half as
            much memory again. Sources that do not decode video have none.
        on_event: Told what happens between frames, on the thread that reads.
    """

    source_id: str = ""
    can_restart: bool = True
    is_live: bool = False
    fps: Fraction | None = None
    time_base: Fraction | None = None
    width: int | None = None
    height: int | None = None
    expected_frames: int | None = None
    num_damaged: int = 0
    status: Status = "interrupted"
    keep_planes: bool = False
    on_event: Callable[[SourceEvent], None] | None = None

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def close(self) -> None:
        """End running iterations at their next frame. Idempotent, returns at once."""

    def tell(self, event: SourceEvent) -> None:
        """Pass an event on to whoever listens."""
        if self.on_event is not None:
            self.on_event(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
