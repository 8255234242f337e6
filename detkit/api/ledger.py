"""What becomes of each image: how it is taken in, taken out, and how it ends, exactly once.

Owns the state of every item and each way from one state to the next, counted and told. Shares the
engine's lock; what it tells is told without it. Knows no thread and no event loop: workers come
to it as to their `Host`, outcomes leave through replies.

Methods whose name ends in `_locked` are called with the lock held.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from detkit.api.batcher import Batcher, BatchKey
from detkit.api.completion import completed
from detkit.api.replica import Facts
from detkit.api.replies import Reply
from detkit.api.statistics import Recorder
from detkit.api.waiting import HEARTBEAT_S
from detkit.api.workers import Done, Failed, ImageItem, Outcome
from detkit.errors import (
    CircuitOpenError,
    DetectionTimeoutError,
    DroppedError,
    QueueFullError,
    Stage,
    WorkerDiedError,
    WorkerHungError,
    describe,
)
from detkit.images import RGBImage

WAITING, TAKEN, SETTLED = range(3)


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

    def release(self) -> None:
        """Let go of what somebody who keeps the item would keep alive."""
        self.image = self.reply = self.token = None


class Ledger:
    """Where each image of one engine is, and what has become of it.

    Args:
        lock: The engine's lock.
        batcher: The queue, under that lock.
    """

    def __init__(self, lock: threading.RLock, batcher: Batcher[Item]) -> None:
        self._lock = lock
        self._space = threading.Condition(lock)
        self._batcher = batcher
        self.recorder = Recorder()
        self.is_closed = False

    # -- from the caller's side ---------------------------------------------------------------

    def take_in_locked(self, items: Sequence[Item], turned_away: list[tuple[Item, Failed]]) -> None:
        """Let images wait; adds those that a full queue turned away to the list, for `deliver`."""
        now = time.perf_counter()
        for item in items:
            if item.state == SETTLED:  # its caller gave up before it came here
                continue
            offer = self._batcher.offer(item, now)
            if not offer.accepted:
                self.recorder.rejected += 1
                text = f"the queue is full ({self._batcher.max_queue_size} images wait)"
                turned_away.append((item, Failed("queue", QueueFullError(text))))
                item.state = SETTLED
            elif offer.dropped is not None:
                self.recorder.dropped += 1
                self.recorder.failed += 1
                text = "a newer image took this one's place in the queue"
                turned_away.append((offer.dropped, Failed("queue", DroppedError(text))))
                offer.dropped.state = SETTLED

    def wait_for_space(self) -> None:
        """Block while the queue is full, if that is the declared overflow."""
        batcher = self._batcher
        with self._lock:
            while batcher.is_full and batcher.overflow == "block" and not self.is_closed:
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
                    self.recorder.cancelled += 1
                    num_ended += 1
                    item.release()
            self._space.notify_all()
        return num_ended

    def expire(self, items: Iterable[Item], timeout_s: float) -> None:
        """End what has no outcome yet with `DetectionTimeoutError`."""
        self.fail(
            items,
            lambda: DetectionTimeoutError(f"no result within {timeout_s:g} s"),
            timed_out=True,
        )

    def close_locked(self) -> None:
        """Nothing more is taken in; who waits for space need not wait any longer."""
        self.is_closed = True
        self._space.notify_all()

    def disown(self, lock: threading.RLock) -> None:
        """See `Engine.disown`."""
        self._lock = lock
        self._space = threading.Condition(lock)
        self.is_closed = True

    # -- from the workers' side ---------------------------------------------------------------

    def take_locked(self, num_idle: int) -> Sequence[Item]:
        """Implements `Host`."""
        now = time.perf_counter()
        items = self._batcher.next_batch(now, num_idle, flush=self.is_closed)
        for item in items:
            item.state = TAKEN
            item.queue_ms = (now - item.queued_at) * 1000
        if items:
            self._space.notify_all()
        return items

    def num_waiting_locked(self) -> int:
        """Implements `Host`."""
        return len(self._batcher)

    def patience_locked(self) -> float | None:
        """Implements `Host`."""
        ready_at = self._batcher.ready_at()
        return None if ready_at is None else max(0.0, ready_at - time.perf_counter())

    def is_finished_locked(self) -> bool:
        """Implements `Host`."""
        return self.is_closed and not len(self._batcher)

    def begin(self, items: Sequence[Item]) -> list[tuple[Item, RGBImage]]:
        """Implements `Host`: drop what was cancelled since it was taken."""
        with self._lock:
            # Whose caller gives up from here on loses its image; the call goes on.
            wanted = [(i, i.image) for i in items if i.state != SETTLED and i.image is not None]
            if wanted:
                self.recorder.batches[len(wanted)] += 1
        return wanted

    def out_of_memory(self, key: BatchKey, limit: int) -> None:
        """Implements `Host`."""
        with self._lock:
            self.recorder.out_of_memory += 1
            self._batcher.remember_memory_limit(key, limit)

    def settle(self, worker: int, done: Sequence[Done], facts: Facts) -> None:
        """Implements `Host`: count, complete and deliver what a worker brought."""
        outcomes = [(entry.item, completed(entry, worker, facts)) for entry in done]
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
                    self.recorder.failed += 1
                else:
                    latencies_s.append(now - item.queued_at)
            self.recorder.record_results(latencies_s, now)
        self.deliver(wanted)

    def lost(self, items: Sequence[Item], error: BaseException) -> None:
        """Implements `Host`."""

        def explain() -> BaseException:
            died = WorkerDiedError(f"the worker died: {describe(error)}")
            died.__cause__ = error
            return died

        self.fail(items, explain, stage="detect")

    def hung(self, items: Sequence[Item], stack: str) -> None:
        """Implements `Host`."""
        text = f"the detector did not return in time; it is at\n{stack}"
        self.fail(items, lambda: WorkerHungError(text), stage="detect")

    def circuit_opened(self) -> None:
        """Implements `Host`."""
        self.sweep(lambda: CircuitOpenError("too many workers died or hung in a short time"))

    # -- endings ------------------------------------------------------------------------------

    def _end_locked(self, item: Item) -> bool:
        if item.state == SETTLED:
            return False
        if item.sequence < 0:
            self.recorder.never_offered += 1  # on its way here, and over already
        elif item.state == WAITING:
            self._batcher.discard(item)
        item.state = SETTLED
        return True

    def sweep(self, explain: Callable[[], BaseException]) -> None:
        """End everything that waits."""
        with self._lock:
            swept = self._batcher.discard_all()
            for item in swept:
                item.state = SETTLED
            self.recorder.cancelled += len(swept)
            self._space.notify_all()
        self.deliver([(item, Failed("queue", explain())) for item in swept])

    def fail(
        self,
        items: Iterable[Item],
        explain: Callable[[], BaseException],
        *,
        stage: Stage | None = None,
        timed_out: bool = False,
    ) -> None:
        """End what has no outcome yet with an error of its own for each image.

        Args:
            items: What is to end.
            explain: Makes the error.
            stage: Where it happened. None: in the queue, or in the detector, as each item says.
            timed_out: Whether to count it as timed out too.
        """
        failed: list[tuple[Item, Failed]] = []
        with self._lock:
            for item in items:
                where: Stage = stage or ("queue" if item.state == WAITING else "detect")
                if self._end_locked(item):
                    self.recorder.failed += 1
                    self.recorder.timed_out += timed_out
                    failed.append((item, Failed(where, explain())))
            self._space.notify_all()
        self.deliver(failed)

    def deliver(self, outcomes: Sequence[tuple[Item, Outcome]]) -> None:
        """Tell whoever waits for these, once for all images that share a reply."""
        by_reply: dict[Reply, list[tuple[Any, Outcome]]] = {}
        for item, outcome in outcomes:
            if item.reply is not None:
                pairs = by_reply.get(item.reply)
                if pairs is None:
                    pairs = by_reply[item.reply] = []
                pairs.append((item.token, outcome))
            item.release()
        for reply, pairs in by_reply.items():
            lost = reply.deliver(pairs)
            if lost:
                with self._lock:
                    self.recorder.undeliverable += lost
