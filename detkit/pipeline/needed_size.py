"""How much of a picture a detector looks at, and the way of its boxes back to the whole.

Knows frames, results and what a detector says of itself; never files or how anything is decoded.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from detkit.images import RGBImage
from detkit.results import DetectionResult
from detkit.scaled_decode import NeededSize, enlarged
from detkit.video.frames import Frame, size_of


class View(NamedTuple):
    """A frame, and the pixels that a detector sees of it. Make it where frames are read."""

    frame: Frame
    pixels: RGBImage

    @classmethod
    def of(cls, frame: Frame, needed_hw: NeededSize) -> View:
        """With no more pixels than needed."""
        return cls(frame, frame.reduced(needed_hw(frame.size_hw)))

    def in_frame(self, result: DetectionResult) -> DetectionResult:
        """A result of the pixels with boxes in pixels of the frame, whose image it shows."""
        found = enlarged(result, size_of(self.pixels), self.frame.size_hw)
        if found is result:
            return result
        frame = weakref.ref(self.frame)
        return found.with_image_from(lambda: None if (held := frame()) is None else held.image)


def needed_size(detector: Any) -> NeededSize:
    """What a detector needs of an image; all of it where it does not say."""
    scaled_hw = getattr(detector, "scaled_hw", None)
    if scaled_hw is None:
        return everything

    def needed_hw(image_hw: tuple[int, int]) -> tuple[int, int] | None:
        try:
            height, width = scaled_hw(image_hw) or image_hw
        except Exception:  # noqa: BLE001  the engine meets the same detector next and tells
            return None
        return height, width

    return needed_hw


def everything(image_hw: tuple[int, int]) -> None:
    """Needs every pixel of every image."""
