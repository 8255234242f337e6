"""A live source that gives what a test tells it to, once, and holds nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from fractions import Fraction

from detkit.images import RGBImage
from detkit.video import LiveSource

Timed = tuple[RGBImage, "float | None"]


class ToldCamera(LiveSource):
    """Connects once.

    Args:
        pictures: Yields pictures and their times; given this camera.
        is_finite: Whether it announces an end.

    Attributes:
        closed: Set by `close`.
    """

    def __init__(
        self, pictures: Callable[[ToldCamera], Iterator[Timed]], *, is_finite: bool = False
    ) -> None:
        super().__init__("cam", reconnect=None)
        self.closed = threading.Event()
        self._pictures, self._is_finite = pictures, is_finite

    def connect(self) -> _Connection:
        return _Connection(self._pictures(self), self._is_finite)

    def close(self) -> None:
        super().close()
        self.closed.set()


class _Connection:
    fps: Fraction | None = None
    expected_frames: int | None = None
    end = ""
    num_damaged = 0

    def __init__(self, pictures: Iterator[Timed], is_finite: bool) -> None:
        self._pictures, self.is_finite = pictures, is_finite

    def pictures(self) -> Iterator[Timed]:
        yield from self._pictures

    def close(self) -> None:
        """Nothing is held."""
