"""An interrupt at any moment, for tests that try every one there is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import detkit.api

ENGINE_FOLDER = detkit.api.__path__[0]
BEYOND = sys.maxsize


class Moments:
    """Counts the moments inside the engine at which this thread can be interrupted."""

    def __init__(self) -> None:
        self.num_passed = 0

    @contextmanager
    def interrupt_at(self, nth: int) -> Iterator[None]:
        """Raise KeyboardInterrupt at the `nth` of them; `BEYOND`: just count.

        The interpreter looks for signals where Python calls a function and where a built-in
        returns: just there a profile function is called.
        """

        def interrupt(frame: FrameType, event: str, _: object) -> None:
            in_engine = frame.f_code.co_filename.startswith(ENGINE_FOLDER)
            if in_engine and event in {"call", "c_return"}:
                self.num_passed += 1
                if self.num_passed == nth:
                    raise KeyboardInterrupt

        sys.setprofile(interrupt)
        try:
            yield
        finally:
            sys.setprofile(None)
