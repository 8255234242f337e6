"""A thread that several others may wait for. Knows nothing of what threads do."""

from __future__ import annotations

import threading
from typing import Any


class Thread(threading.Thread):
    """A `threading.Thread` whose `join` and `is_alive` may be called by several threads at once.

    Before Python 3.13 two of them that look at the moment the thread ends disturb each other: one
    raises AssertionError, the other "release unlocked lock". Here they wait for a sign given
    right before the end, and only the rest of the way is looked at, by one after the other.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._is_leaving = threading.Event()
        self._one_looks = threading.Lock()
        super().__init__(*args, **kwargs)

    def run(self) -> None:
        """See `threading.Thread`."""
        try:
            super().run()
        finally:
            self._is_leaving.set()

    def join(self, timeout: float | None = None) -> None:
        """See `threading.Thread`."""
        can_wait = self.ident is not None and self is not threading.current_thread()
        if can_wait and not self._is_leaving.wait(timeout):
            return
        with self._one_looks:
            super().join()

    def is_alive(self) -> bool:
        """See `threading.Thread`."""
        with self._one_looks:
            return super().is_alive()
