"""The engine: where images wait, who works on them, and how each of them ends.

Joins the batcher (which decides), the pool (which works) and the replies (which deliver) under
one lock, and keeps the promise that every accepted image ends exactly once. Knows no event loop
beyond its replies and no file. `AsyncDetector` is its public face.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from detkit.api.batcher import Batcher, BatchKey, Overflow
from detkit.api.lifetime import close_at_exit
from detkit.api.pool import WorkerPool, pool_of_this_thread
from detkit.api.replica import DetectorFacts, check_settings
from detkit.api.replies import Reply
from detkit.api.statistics import EngineStatistics, Recorder
from detkit.api.waiting import HEARTBEAT_S
from detkit.api.workers import Done, Failed, ImageItem, Outcome
from detkit.detection.abstract import DEFAULT_SETTINGS, DetectionSettings
from detkit.detection.threads import ThreadLayout, divide_threads, usable_cores
from detkit.errors import (
    CircuitOpenError,
    DetectionTimeoutError,
    DetectorClosed,
    DetectorContractError,
    DetectorNotLoadedError,
    DroppedError,
    ForkedDetectorError,
    QueueFullError,
    ReentrantCallError,
    Stage,
    WorkerDiedError,
    WorkerHungError,
    describe,
)
from detkit.images import RGBImage
from detkit.results import DetectionResult

WAITING, TAKEN, RUNNING, SETTLED = range(4)


class Item(ImageItem):
    """One image from submission to outcome."""

    __slots__ = ("image_hw", "queue_ms", "reply", "state", "token")

    def __init__(self, image: RGBImage, key: BatchKey, reply: Reply, token: Any) -> None:
        super().__init__(key)
        self.image = image
        self.image_hw: tuple[int, int] = image.shape[:2]
        self.reply: Reply | None = reply
        self.token = token
        self.state = WAITING
        self.queue_ms = 0.0


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
        self._space = threading.Condition(self._lock)
        self.batcher: Batcher[Item] = Batcher(
            default_batch_size, batch_timeout_s, max_queue_size, overflow
        )
        self._recorder = Recorder()
        self.pool = WorkerPool(self, self._lock, detector, max_workers, hang_timeout_s)
        self._closing = False
        self._last_key = BatchKey(None)
        self._is_forked = False
        self.share_threads()
        close_at_exit(self)

    # -- from the caller's side ---------------------------------------------------------------

    def key(self, image: RGBImage, settings: DetectionSettings, batch_size: int | None) -> BatchKey:
        """The batch key of a valid image.

        Raises:
            UnsupportedSettingError: If the detector cannot honour the settings.
            DetectorContractError: If the detector's own `batch_key` fails.
        """
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
        if self._closing:
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
        turned_away: list[tuple[Item, Failed]] = []
        no_worker = ""
        now = time.perf_counter()
        with self._lock:
            if self._closing:
                raise DetectorClosed("the detector has been shut down")
            for item in items:
                if item.state == SETTLED:  # its caller gave up before it came here
                    continue
                offer = self.batcher.offer(item, now)
                if not offer.accepted:
                    self._recorder.rejected += 1
                    text = f"the queue is full ({self.batcher.max_queue_size} images wait)"
                    turned_away.append((item, Failed("queue", QueueFullError(text))))
                    item.state = SETTLED
                elif offer.dropped is not None:
                    self._recorder.dropped += 1
                    self._recorder.failed += 1
                    text = "a newer image took this one's place in the queue"
                    turned_away.append((offer.dropped, Failed("queue", DroppedError(text))))
                    offer.dropped.state = SETTLED
            try:
                self.pool.wake_locked(len(self.batcher))
            except RuntimeError as error:  # the system gives no thread, and there is no worker yet
                no_worker = f"no worker thread could be started: {error}"
        if turned_away:
            self._deliver(turned_away)
        if no_worker:
            self._fail(items, lambda: WorkerDiedError(no_worker))

    def wait_for_space(self) -> None:
        """Block while the queue is full, if that is the declared overflow; never a worker."""
        if pool_of_this_thread() is self.pool:
            return
        with self._lock:
            while self.batcher.is_full and self.batcher.overflow == "block" and not self._closing:
                self._space.wait(HEARTBEAT_S)  # see `waiting`

    def cancel(self, items: Iterable[Item]) -> int:
        """Their callers gave up: what waits never reaches the detector.

        Returns:
            How many ended by this. Nothing is delivered for them any more.
        """
        num_ended = 0
        with self._lock:
            for item in items:
                if self._end_locked(item):
                    self._recorder.cancelled += 1
                    num_ended += 1
                    _release(item)
            self._space.notify_all()
        return num_ended

    def expire(self, items: Iterable[Item], timeout_s: float) -> None:
        """End what has no outcome yet with `DetectionTimeoutError`."""
        self._fail(
            items,
            lambda: DetectionTimeoutError(f"no result within {timeout_s:g} s"),
            timed_out=True,
        )

    def statistics(self) -> EngineStatistics:
        """A consistent snapshot."""
        with self._lock:
            return self._recorder.snapshot(
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
            if not self._closing:
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
            self.pool.replace_locked(detector)
            if not self._closing:
                self.pool.wake_locked(len(self.batcher))

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing

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
            self._closing = True
            self._space.notify_all()
            self.pool.wake_all_locked()
        if cancel_pending:
            self._sweep(lambda: DetectorClosed("shut down before this image's turn"))
        if not wait or self.pool.join(deadline):
            return True
        self._sweep(lambda: DetectorClosed("shut down before this image's turn"))
        return False

    def disown(self) -> None:
        """This is a forked child: the threads stayed behind, one of them perhaps with the lock."""
        self._is_forked = True
        self._lock = threading.RLock()
        self._space = threading.Condition(self._lock)
        self.pool.disown(self._lock)
        self._closing = True

    # -- from the workers' side ---------------------------------------------------------------

    def take_locked(self, num_idle: int) -> Sequence[Item]:
        """Implements `Host`."""
        now = time.perf_counter()
        items = self.batcher.next_batch(now, num_idle, flush=self._closing)
        for item in items:
            item.state = TAKEN
            item.queue_ms = (now - item.queued_at) * 1000
        if items:
            self._space.notify_all()
        return items

    def num_waiting_locked(self) -> int:
        """Implements `Host`."""
        return len(self.batcher)

    def patience_locked(self) -> float | None:
        """Implements `Host`."""
        ready_at = self.batcher.ready_at()
        return None if ready_at is None else max(0.0, ready_at - time.perf_counter())

    def is_finished_locked(self) -> bool:
        """Implements `Host`."""
        return self._closing and not len(self.batcher)

    def begin(self, items: Sequence[Item]) -> list[tuple[Item, RGBImage]]:
        """Implements `Host`: drop what was cancelled since it was taken."""
        wanted: list[tuple[Item, RGBImage]] = []
        with self._lock:
            for item in items:
                if item.state != SETTLED and item.image is not None:
                    item.state = RUNNING
                    # Whose caller gives up from here on loses its image; the call goes on.
                    wanted.append((item, item.image))
            if wanted:
                self._recorder.batches[len(wanted)] += 1
        return wanted

    def out_of_memory(self, key: BatchKey, limit: int) -> None:
        """Implements `Host`."""
        with self._lock:
            self._recorder.out_of_memory += 1
            self.batcher.remember_memory_limit(key, limit)

    def settle(self, worker: int, done: Sequence[Done]) -> None:
        """Implements `Host`: count, complete and deliver what a worker brought."""
        facts = self._detector_facts()
        outcomes = [(entry.item, self._completed(entry, worker, facts)) for entry in done]
        now = time.perf_counter()
        latencies_s: list[float] = []
        wanted: list[tuple[Item, Outcome]] = []
        with self._lock:
            for item, outcome in outcomes:
                if item.state == SETTLED:
                    continue
                item.state = SETTLED
                wanted.append((item, outcome))
                if isinstance(outcome, Failed):
                    self._recorder.failed += 1
                else:
                    latencies_s.append(now - item.queued_at)
            self._recorder.record_results(latencies_s, now)
        self._deliver(wanted)

    def lost(self, items: Sequence[Item], error: BaseException) -> None:
        """Implements `Host`."""

        def explain() -> BaseException:
            died = WorkerDiedError(f"the worker died: {describe(error)}")
            died.__cause__ = error
            return died

        self._fail(items, explain, stage="detect")

    def hung(self, items: Sequence[Item], stack: str) -> None:
        """Implements `Host`."""
        text = f"the detector did not return in time; it is at\n{stack}"
        self._fail(items, lambda: WorkerHungError(text), stage="detect")

    def circuit_opened(self) -> None:
        """Implements `Host`."""
        self._sweep(lambda: CircuitOpenError("too many workers died or hung in a short time"))

    def _detector_facts(self) -> dict[str, Any] | Exception:
        """What the detector says of itself, or what it raised when it was asked."""
        try:
            return self.facts.facts
        except Exception as error:  # noqa: BLE001  told with each result
            return error

    def _completed(self, done: Done, worker: int, facts: dict[str, Any] | Exception) -> Outcome:
        """An outcome with what the engine knows; what the detector said of itself stays."""
        item, outcome, inference_ms, batch_size = done
        if not isinstance(outcome, DetectionResult):
            return outcome
        try:
            if isinstance(facts, Exception):
                raise facts
            said = {
                "inference_ms": inference_ms,
                **facts,
                **outcome.metadata,
                "image_hw": item.image_hw,
                "queue_ms": item.queue_ms,
                "worker": worker,
                "batch_size": batch_size,
            }
            for key in outcome.metadata:
                if not isinstance(key, str):
                    raise TypeError(f"keys of metadata must be text, got {key!r}")
            return outcome.completed(said, item.image)
        except Exception as error:  # noqa: BLE001  names and metadata come from a stranger
            text = f"what the detector says of its results cannot be used: {describe(error)}"
            return Failed("detect", DetectorContractError(text))

    # -- endings ------------------------------------------------------------------------------

    def _end_locked(self, item: Item) -> bool:
        if item.state == SETTLED:
            return False
        if item.sequence < 0:
            self._recorder.never_offered += 1  # on its way here, and over already
        elif item.state == WAITING:
            self.batcher.discard(item)
        item.state = SETTLED
        return True

    def _sweep(self, explain: Callable[[], BaseException]) -> None:
        """End everything that waits."""
        with self._lock:
            swept = self.batcher.discard_all()
            for item in swept:
                item.state = SETTLED
            self._recorder.cancelled += len(swept)
            self._space.notify_all()
        self._deliver([(item, Failed("queue", explain())) for item in swept])

    def _fail(
        self,
        items: Iterable[Item],
        explain: Callable[[], BaseException],
        *,
        stage: Stage | None = None,
        timed_out: bool = False,
    ) -> None:
        failed: list[tuple[Item, Failed]] = []
        with self._lock:
            for item in items:
                where: Stage = stage or ("queue" if item.state == WAITING else "detect")
                if self._end_locked(item):
                    self._recorder.failed += 1
                    self._recorder.timed_out += timed_out
                    failed.append((item, Failed(where, explain())))
            self._space.notify_all()
        self._deliver(failed)

    def _deliver(self, outcomes: Sequence[tuple[Item, Outcome]]) -> None:
        by_reply: dict[Reply, list[tuple[Any, Outcome]]] = {}
        for item, outcome in outcomes:
            if item.reply is not None:
                pairs = by_reply.get(item.reply)
                if pairs is None:
                    pairs = by_reply[item.reply] = []
                pairs.append((item.token, outcome))
            _release(item)
        for reply, pairs in by_reply.items():
            lost = reply.deliver(pairs)
            if lost:
                with self._lock:
                    self._recorder.undeliverable += lost


def _release(item: Item) -> None:
    """Let go of what somebody who keeps the item would keep alive."""
    item.image = item.reply = item.token = None
