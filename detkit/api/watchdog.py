"""Notices a call of the detector that does not come back, and says where it is stuck.

One thread per engine, started only where a bound was set, asleep until the earliest call is due.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from typing import Any

from detkit.api.thread_owner import own_this_thread
from detkit.threads import Thread

logger = logging.getLogger("detkit")


class Watchdog:
    """Watches the workers of one pool.

    Args:
        pool: Says which calls are running, and gives up on one; see `WorkerPool`.
        lock: The lock that the pool is under.
        hang_timeout_s: How long one call may take, in seconds.
    """

    def __init__(self, pool: Any, lock: threading.RLock, hang_timeout_s: float) -> None:
        self._pool = pool
        self._lock = lock
        self._changed = threading.Condition(lock)
        self._hang_timeout_s = hang_timeout_s
        self.thread: threading.Thread | None = None

    def call_began(self) -> None:
        """A worker entered the detector."""
        with self._lock:
            if self.thread is None:
                thread = Thread(target=self._watch, name="detkit-watchdog", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the system gives none: perhaps for the next call
                    logger.warning("no thread for the watchdog: %s", error)
                    return
                self.thread = thread
            self._changed.notify()

    def look_locked(self) -> None:
        """Something changed; the pool may be empty."""
        self._changed.notify()

    def _watch(self) -> None:
        own_this_thread(self._pool)
        while True:
            with self._lock:
                overdue = self._overdue_locked()
                while not overdue and self._pool.num_workers:
                    self._changed.wait(self._patience_locked())
                    overdue = self._overdue_locked()
                if not overdue:
                    self.thread = None
                    return
                stuck = [(list(slot.items), stack_of(slot.thread)) for slot in overdue]
                for slot in overdue:
                    self._pool.abandon_locked(slot)
            for items, stack in stuck:
                self._pool.abandoned(items, stack)

    def _overdue_locked(self) -> list[Any]:
        limit = time.monotonic() - self._hang_timeout_s
        return [slot for slot, since in self._pool.call_starts_locked() if since <= limit]

    def _patience_locked(self) -> float | None:
        starts: list[float] = [since for _, since in self._pool.call_starts_locked()]
        if not starts:
            return None
        return max(0.0, min(starts) + self._hang_timeout_s - time.monotonic())


def stack_of(thread: threading.Thread | None) -> str:
    """Where a thread is in its Python code, as text."""
    frame = sys._current_frames().get(thread.ident or 0) if thread is not None else None
    return "".join(traceback.format_stack(frame)) if frame is not None else "an unknown place"
