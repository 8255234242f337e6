"""`Frame`: one picture of a video, with where and when it belongs; and what every source has.

Knows pixels and decoded pictures; never a container format, a detector or a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from detkit.images import RGBImage
from detkit.video.decoded_picture import DecodedPicture
from detkit.video.yuv import Planes

if TYPE_CHECKING:
    from typing_extensions import Self

Status = Literal["complete", "truncated", "corrupt", "interrupted"]
EventKind = Literal["lost", "retry_failed", "reconnected", "resized", "damaged", "failed"]


class Frame:
    """One frame of a source.

    Args:
        image: uint8 RGB of shape (H, W, 3), or a picture that is made that when it is asked for.
        source_id: Name of the source it came from; credentials are never part of it.
        frame_index: Position in the source, from 0. Gaps stand for frames that were left out.
        pts_seconds: Presentation time from the start of the source, or `None` where the source
            has no clock, as a folder of pictures.
    """

    __slots__ = ("__weakref__", "_picture", "frame_index", "pts_seconds", "source_id")

    def __init__(
        self,
        image: RGBImage | DecodedPicture,
        source_id: str,
        frame_index: int,
        pts_seconds: float | None,
    ) -> None:
        self._picture = image
        self.source_id = source_id
        self.frame_index = frame_index
        self.pts_seconds = pts_seconds

    @property
    def image(self) -> RGBImage:
        """The picture as uint8 RGB of shape (H, W, 3); of a video converted when first asked for.

        1280 x 720 then takes 0.7 ms.
        """
        picture = self._picture
        return picture.rgb() if isinstance(picture, DecodedPicture) else picture

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return size_of(self._picture)

    @property
    def planes(self) -> Planes | None:
        """The picture as it was decoded, if its colours are of the kind that `VideoSink` writes.

        Read-only; `None` where they are not, and where the picture came as RGB.
        """
        picture = self._picture
        return picture.planes if isinstance(picture, DecodedPicture) else None

    def reduced(self, size_hw: tuple[int, int] | None) -> RGBImage:
        """The picture in a smaller size, where that saves work, else `image`.

        Args:
            size_hw: The height and width that will do; `None` for every pixel.
        """
        picture = self._picture
        if size_hw is None or size_hw == self.size_hw or not isinstance(picture, DecodedPicture):
            return self.image
        is_smaller = all(new <= old for new, old in zip(size_hw, self.size_hw, strict=True))
        return picture.scaled_rgb(size_hw) if is_smaller else picture.rgb()

    def at(self, pts_seconds: float | None) -> Frame:
        """The same frame at another time."""
        return Frame(self._picture, self.source_id, self.frame_index, pts_seconds)

    def __reduce__(self) -> tuple[Any, ...]:
        return Frame, (self.image, self.source_id, self.frame_index, self.pts_seconds)

    def __repr__(self) -> str:
        height, width = self.size_hw
        when = "" if self.pts_seconds is None else f" at {self.pts_seconds:.3f} s"
        return f"<Frame {self.frame_index}{when} of {self.source_id!r}, {width}×{height}>"


def size_of(picture: RGBImage | DecodedPicture) -> tuple[int, int]:
    """Height and width in pixels."""
    if isinstance(picture, DecodedPicture):
        return picture.size_hw
    height, width = picture.shape[:2]
    return height, width


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
