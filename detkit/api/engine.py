"""The engine: one detector, its queue, its workers and its ledger, joined under one lock.

Decides what is taken in, and is where knobs, numbers and the end of it all meet. The batcher
decides what is worked on next, the pool works, the ledger knows what became of each image, the
replies deliver. Knows no event loop and no file. `AsyncDetector` is its public face.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from detkit.api.batcher import Batcher, BatchKey, Overflow
from detkit.api.items import Endings, Item, Letters
from detkit.api.ledger import Ledger
from detkit.api.lifetime import close_at_exit
from detkit.api.pool import WorkerPool
from detkit.api.replica import DetectorFacts, check_settings
from detkit.api.replies import Reply
from detkit.api.statistics import EngineStatistics
from detkit.api.thread_owner import pool_of_this_thread
from detkit.detection.abstract import DEFAULT_SETTINGS, DetectionSettings
from detkit.detection.threads import ThreadLayout, divide_threads, usable_cores
from detkit.errors import (
    CircuitOpenError,
    DetectorClosed,
    DetectorContractError,
    DetectorNotLoadedError,
    ForkedDetectorError,
    ReentrantCallError,
    WorkerDiedError,
    describe,
)
from detkit.images import RGBImage, validate_image


class Engine:
    """Queue, workers and bookkeeping round one detector. Thread-safe throughout."""

    def __init__(
        self,
        detector: Any,
        max_workers: int,
        default_batch_size: int,
        *,
        batch_timeout_s: float,
        max_queue_size: int,
        overflow: Overflow,
        hang_timeout_s: float | None,
        num_threads: int | None = None,
    ) -> None:
        self.facts = DetectorFacts(detector)
        self._given_threads = num_threads
        # Re-entrant, because a garbage collection inside it may run a finalizer that needs it.
        self._lock = threading.RLock()
        self.batcher: Batcher[Item] = Batcher(
            default_batch_size, batch_timeout_s, max_queue_size, overflow
        )
        self.ledger = Ledger(self._lock, self.batcher)
        self.pool = WorkerPool(self.ledger, self._lock, self.facts, max_workers, hang_timeout_s)
        self._last_key = BatchKey(None)
        self._is_forked = False
        self.share_threads()
        close_at_exit(self)

    # -- taking in ----------------------------------------------------------------------------

    def item(
        self,
        image: object,
        settings: DetectionSettings,
        batch_size: int | None,
        reply: Reply,
        token: Any,
    ) -> Item:
        """One image, checked, ready to be submitted; its outcome goes to `reply` with `token`.

        Raises:
            InvalidImageError: If it is not what an image should be.
            UnsupportedSettingError: If the detector cannot honour the settings.
            DetectorContractError: If the detector's own `batch_key` fails.
        """
        valid = validate_image(image)
        return Item(valid, self._key(valid, settings, batch_size), reply, token)

    def _key(
        self, image: RGBImage, settings: DetectionSettings, batch_size: int | None
    ) -> BatchKey:
        is_default = settings is DEFAULT_SETTINGS or settings == DEFAULT_SETTINGS
        if not is_default and not self.facts.accepts_settings:
            check_settings(settings)
        try:
            shape = self.facts.shape_key(image)
            last = self._last_key
            if is_default and batch_size is None and last.shape == shape:
                return last  # image after image the same; a gather makes thousands
            hash(shape)
        except Exception as error:
            raise DetectorContractError(f"batch_key failed: {describe(error)}") from error
        key = BatchKey(shape, None if is_default else settings, batch_size)
        if is_default and batch_size is None:
            self._last_key = key
        return key

    def check_open(self, *, waits: bool = True) -> None:
        """Refuse work that could never be done.

        Args:
            waits: Whether the caller is going to wait for it.

        Raises:
            ForkedDetectorError: In a forked child.
            ReentrantCallError: If one of this engine's own workers would wait.
            DetectorClosed: After shutdown.
            DetectorNotLoadedError: If the detector is not loaded.
            CircuitOpenError: While workers keep dying.
        """
        if self._is_forked:
            raise ForkedDetectorError(
                "this detector's threads belong to the parent process: make a new "
                "AsyncDetector in the child, or start it with the 'spawn' method"
            )
        if waits and pool_of_this_thread() is self.pool:
            raise ReentrantCallError(
                "a detector must not call the AsyncDetector whose worker it runs on"
            )
        if self.ledger.is_closed:
            raise DetectorClosed("the detector has been shut down")
        if not self.facts.is_loaded:
            raise DetectorNotLoadedError("the detector is not loaded: call load_model first")
        if self.pool.is_circuit_open:
            raise CircuitOpenError(
                f"{self.pool.num_deaths} workers died or hung; new work is refused for a while"
            )

    def submit(self, items: Sequence[Item]) -> None:
        """Take images in, after `check_open`. Each ends through its reply.

        Raises:
            DetectorClosed: After shutdown; then none was taken.
        """
        no_worker = ""
        turned_away: Endings = []
        letters: Letters = {}
        try:
            with self._lock:
                if self.ledger.is_closed:
                    raise DetectorClosed("the detector has been shut down")
                self.ledger.take_in_locked(items, turned_away)
                try:
                    self.pool.wake_locked(len(self.batcher))
                except RuntimeError as error:  # the system gives no thread, and there is no worker
                    no_worker = f"no worker thread could be started: {error}"
            self.ledger.deliver(turned_away, letters)
        except BaseException:  # others wait for these
            self.ledger.deliver(turned_away, letters)
            raise
        if no_worker:
            self.ledger.fail(items, lambda: WorkerDiedError(no_worker))

    def wait_for_space(self) -> None:
        """Block while the queue is full, if that is the declared overflow; never a worker."""
        if pool_of_this_thread() is not self.pool:
            self.ledger.wait_for_space()

    # -- knobs and numbers --------------------------------------------------------------------

    def statistics(self) -> EngineStatistics:
        """A consistent snapshot."""
        with self._lock:
            return self.ledger.recorder.snapshot(
                time.perf_counter(),
                offered=self.batcher.num_offered,
                queue_depth=len(self.batcher),
                blocked=self.batcher.num_blocked,
                workers=self.pool.num_workers,
                busy_workers=self.pool.num_busy,
                worker_deaths=self.pool.num_deaths,
                circuit_open=self.pool.is_circuit_open,
            )

    def set_knob(
        self,
        *,
        max_workers: int | None = None,
        batch_size: int | None = None,
        batch_timeout_s: float | None = None,
    ) -> None:
        """Change a setting while work is running."""
        with self._lock:
            if max_workers is not None:
                self.pool.max_workers = max_workers
            if batch_size is not None:
                self.batcher.max_batch_size = batch_size
                self.batcher.forget_memory_limits()
            if batch_timeout_s is not None:
                self.batcher.batch_timeout_s = batch_timeout_s
            self.pool.wake_all_locked()
            if not self.ledger.is_closed:
                self.pool.wake_locked(len(self.batcher))
        if max_workers is not None:
            self.share_threads()

    @property
    def threads(self) -> ThreadLayout:
        """CPU threads of all workers together, and how many workers have some of their own."""
        wanted = self._given_threads or self.facts.num_threads or usable_cores()
        return divide_threads(wanted, self.pool.max_workers)

    def share_threads(self) -> None:
        """Tell the detector how many threads and workers there are, if it wants to know."""
        self.facts.share_threads(self.threads.num_threads, self.pool.max_workers)

    def replace_detector(self, detector: Any) -> None:
        """Go on with another detector of the same kind; what is in a call ends with the old one.

        Raises:
            TypeError: If `detector` has no `detect` method.
        """
        facts = DetectorFacts(detector)
        facts.share_threads(self.threads.num_threads, self.pool.max_workers)
        with self._lock:
            self.facts = facts
            self._last_key = BatchKey(None)
            self.batcher.forget_memory_limits()
            self.pool.replace_locked(facts)
            if not self.ledger.is_closed:
                self.pool.wake_locked(len(self.batcher))

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self.ledger.is_closed

    def close(
        self, *, wait: bool, cancel_pending: bool = False, timeout_s: float | None = None
    ) -> bool:
        """Take no more work, and end the workers when what waits is done.

        Returns:
            False if a worker was still running when `timeout_s` had passed.
        """
        if self._is_forked:
            return True
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            self.ledger.close_locked()
            self.pool.wake_all_locked()
        if cancel_pending:
            self.ledger.sweep(lambda: DetectorClosed("shut down before this image's turn"))
        if not wait or self.pool.join(deadline):
            return True
        self.ledger.sweep(lambda: DetectorClosed("shut down before this image's turn"))
        return False

    def disown(self) -> None:
        """This is a forked child: the threads stayed behind, one of them perhaps with the lock."""
        self._is_forked = True
        self._lock = threading.RLock()
        self.ledger.disown(self._lock)
        self.pool.disown(self._lock)
