"""`Frame`: one picture of a video, with where and when it belongs.

Knows images only; never a container format, a detector or a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from detkit.images import RGBImage


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        image: uint8 RGB of shape (H, W, 3).
        source_id: Name of the source it came from; credentials are never part of it.
        frame_index: Position in the source, from 0. Gaps stand for frames that were left out.
        pts_seconds: Presentation time from the start of the source, or `None` where the source
            has no clock, as a folder of pictures.
    """

    image: RGBImage
    source_id: str
    frame_index: int
    pts_seconds: float | None

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        when = "" if self.pts_seconds is None else f" at {self.pts_seconds:.3f} s"
        return f"<Frame {self.frame_index}{when} of {self.source_id!r}, {width}×{height}>"
