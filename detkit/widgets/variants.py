"""`Variants`: the detector of a benchmark, and copies of it that are loaded in another way.

Knows that a detector may have a `reload` method, which takes arguments of `load_model`; never a
widget or a measurement.
"""

from __future__ import annotations

import threading
from typing import Any

from detkit.api.async_detector import AsyncDetector
from detkit.errors import UnsupportedSettingError
from detkit.widgets.trials import Trial


class Variants:
    """Gives the detector for a trial. Keeps one copy, the latest: models are large.

    Args:
        live: The detector to measure; it is never changed.
    """

    def __init__(self, live: AsyncDetector) -> None:
        self._live = live
        self._reload = getattr(live.detector, "reload", None)
        self._lock = threading.Lock()
        self._options: dict[str, Any] = {}
        self._copy: AsyncDetector | None = None
        self._is_closed = False

    @property
    def can_reload(self) -> bool:
        """Whether the detector can be loaded in another way."""
        return callable(self._reload)

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Libraries that can load it."""
        return tuple(getattr(self._live.detector, "runtimes", ())) if self.can_reload else ()

    def take(self, trial: Trial) -> AsyncDetector:
        """The detector for a trial; loading one takes seconds, so not on an event loop.

        Raises:
            UnsupportedSettingError: If this detector cannot be loaded in another way.
            Exception: What loading raised.
        """
        options = trial.load_options
        if not options:
            return self._live
        if self._reload is None:
            raise UnsupportedSettingError(
                f"{type(self._live.detector).__name__} has no reload method, so it can only be "
                "measured as it is loaded"
            )
        with self._lock:
            if self._copy is None or options != self._options:
                self._let_go()
                self._copy = AsyncDetector(self._reload(**options), trial.max_workers)
                self._options = options
            if self._is_closed:
                self._let_go()
                raise RuntimeError("the panel was closed meanwhile")
            return self._copy

    def close(self) -> None:
        """Let go of the copy. Idempotent."""
        self._is_closed = True
        if self._lock.acquire(blocking=False):  # else `take` sees to it
            try:
                self._let_go()
            finally:
                self._lock.release()

    def _let_go(self) -> None:
        detector, self._copy = self._copy, None
        if detector is not None:
            detector.shutdown(wait=False, cancel_pending=True)
