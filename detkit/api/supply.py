"""Which object each worker calls: the detector itself, a copy of it, or none that is left.

One worker calls the detector itself; each further one a `replicate()` of it, or the same object
where it is `thread_safe`. Shares the engine's lock. Knows no thread and no queue.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from detkit.api.replica import DetectorFacts, Replica
from detkit.api.slot import Slot
from detkit.detection.abstract import AbstractDetector
from detkit.errors import describe

logger = logging.getLogger("detkit")


class Supply:
    """Replicas of one detector for the workers of one pool.

    Args:
        detector: What the user gave.
        lock: The engine's lock.
    """

    def __init__(self, detector: DetectorFacts, lock: threading.RLock) -> None:
        self._lock = lock
        self._replicating = threading.Lock()
        self._facts = detector
        self._original_taken = False

    @property
    def has_more(self) -> bool:
        """Whether a further worker could have something to call."""
        detector = self._facts.detector
        return _can_replicate(detector) or _is_thread_safe(detector)

    def replace_locked(self, detector: DetectorFacts) -> None:
        """Workers to come call this detector."""
        self._facts = detector
        self._original_taken = False

    def equip(self, slot: Slot, *, again: bool) -> bool:
        """Give a worker its replica, or a fresh one. False if it has none."""
        with self._lock:
            slot.detector = self._facts
            takes_original = not (again or self._original_taken or slot.is_outdated)
            self._original_taken = self._original_taken or takes_original
        detector = slot.detector.detector
        if takes_original or _is_thread_safe(detector):
            slot.replica = Replica(detector)
            return True
        copy = self._copy(detector, slot)
        if copy is not None:
            slot.release_replica()
            slot.replica, slot.owns_replica = Replica(copy), True
            return True
        return again  # the same one once more: there is no other

    def take_back(self, slot: Slot) -> None:
        """A worker ends: its own copy is closed, the original is free for another."""
        has_original = slot.replica is not None and not slot.owns_replica
        slot.release_replica()
        with self._lock:
            if has_original and not slot.is_outdated:
                self._original_taken = False

    def _copy(self, detector: Any, slot: Slot) -> Any:
        if not _can_replicate(detector):
            return None
        with self._replicating:  # several libraries fail when two models are built at once
            try:
                return detector.replicate()
            except Exception as error:  # noqa: BLE001  the workers there are go on
                logger.warning("worker %d has no replica: %s", slot.index, describe(error))
                return None


def _can_replicate(detector: Any) -> bool:
    inherited = (None, AbstractDetector.replicate)
    return getattr(type(detector), "replicate", None) not in inherited


def _is_thread_safe(detector: Any) -> bool:
    return bool(getattr(detector, "thread_safe", False))
