"""One worker of a pool: what it works on, with which replica, and since when.

Says through `Host` what a pool needs of its engine. Knows no other worker and starts no thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

from detkit.api.replica import DetectorFacts, Facts, Replica
from detkit.api.watchdog import Watchdog
from detkit.api.workers import Done, enter_window
from detkit.errors import describe
from detkit.images import RGBImage

logger = logging.getLogger("detkit")


class Host(Protocol):
    """What the pool needs of its engine. Items are the engine's own; the pool hands them on."""

    def take_locked(self, num_idle: int) -> Sequence[Any]:
        """The next batch, empty if none is ready."""

    def num_waiting_locked(self) -> int:
        """Images that wait."""

    def patience_locked(self) -> float | None:
        """Seconds until a batch may become ready by itself; None if only news can make it so."""

    def is_finished_locked(self) -> bool:
        """Whether no work will ever come again."""

    def begin(self, items: Sequence[Any]) -> list[tuple[Any, RGBImage]]:
        """A call of the detector begins; see `BatchGuard`."""

    def settle(self, worker: int, done: Sequence[Done], facts: Facts) -> None:
        """These images have an outcome; `facts` says what the detector they went through does."""

    def lost(self, items: Sequence[Any], error: BaseException) -> None:
        """A worker died on these images."""

    def hung(self, items: Sequence[Any], stack: str) -> None:
        """A worker hangs in these images."""

    def out_of_memory(self, key: Any, limit: int) -> None:
        """See `BatchGuard`."""

    def circuit_opened(self) -> None:
        """Nothing that waits will be worked on."""


class Slot:
    """One worker: its thread, its replica, and what it is doing."""

    def __init__(self, host: Host, watchdog: Watchdog | None, index: int) -> None:
        self.index = index
        self.detector: DetectorFacts | None = None  # what the user gave, perhaps not the replica
        self.thread: threading.Thread | None = None
        self.replica: Replica | None = None
        self.items: Sequence[Any] = ()
        self.call_started: float | None = None
        self.is_starting = True
        self.is_gone = False
        self.is_outdated = False
        self.owns_replica = False
        self._host = host
        self._watchdog = watchdog

    def begin(self, items: Sequence[Any]) -> list[tuple[Any, RGBImage]]:
        """Implements `BatchGuard`."""
        enter_window("assembling")
        wanted = self._host.begin(items)
        if wanted:
            enter_window("calling")
            self.call_started = time.monotonic()
            if self._watchdog is not None:
                self._watchdog.call_began()
        return wanted

    def finish(self) -> None:
        """Implements `BatchGuard`."""
        self.call_started = None

    def release_replica(self) -> None:
        """Close the replica if it is the worker's own; never raises."""
        replica, self.replica = self.replica, None
        close = getattr(replica.detector, "close", None) if replica is not None else None
        if not self.owns_replica or close is None:
            return
        try:
            close()
        except BaseException as error:  # noqa: BLE001  the worker has to end all the same
            logger.warning("worker %d could not close its replica: %s", self.index, describe(error))

    def out_of_memory(self, key: Any, limit: int) -> None:
        """Implements `BatchGuard`."""
        self._host.out_of_memory(key, limit)
