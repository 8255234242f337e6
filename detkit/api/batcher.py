"""Which waiting images form the next batch, and when. Everything that decides this is here.

A pure state machine: no thread, no clock, no I/O. Time is an argument, and whoever calls it
holds a lock (`engine.py` does). Knows no detector and no future.

An interrupt (the Stop button) may end any function here where it calls another. What belongs
together is therefore stored in adjacent statements without a call between them.

Rules:

1. The oldest waiting image goes first, together with younger ones of the same `BatchKey`.
2. With `batch_timeout_s == 0` a batch is ready as soon as anybody asks: images pile up only
   while every worker is busy. Otherwise it is ready when full, or when its oldest image has
   waited `batch_timeout_s`.
3. No batch is larger than its key's own `batch_size`, else `max_batch_size`, nor larger than
   what is known to fit into memory.
4. Without a `batch_timeout_s`, what waits is divided evenly among the idle workers; with an
   explicit `batch_size` into no more batches than that needs, as each may cost a call to a device.
5. At most `max_queue_size` images wait. One more is blocked, rejected, or takes the place of
   the oldest, as `overflow` says. A blocked image moves up when there is space, in order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Literal, NamedTuple, TypeVar

from detkit.detection.abstract import DetectionSettings

Overflow = Literal["block", "reject", "drop_oldest"]


class BatchKey(NamedTuple):
    """What images must share to be detected together."""

    shape: Hashable
    settings: DetectionSettings | None = None
    batch_size: int | None = None


class Waiting:
    """What the batcher must know of one image that waits. The engine's items extend it."""

    __slots__ = ("key", "queued_at", "sequence")

    key: BatchKey
    queued_at: float
    sequence: int

    def __init__(self, key: BatchKey) -> None:
        self.key = key
        self.queued_at = 0.0
        self.sequence = -1


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Offer(Generic[W]):
    """What became of an offered image: it waits, it is blocked, or it was turned away."""

    accepted: bool
    blocked: bool = False
    dropped: W | None = None


_ACCEPTED: Offer[Waiting] = Offer(accepted=True)
_BLOCKED: Offer[Waiting] = Offer(accepted=True, blocked=True)
_REJECTED: Offer[Waiting] = Offer(accepted=False)


class Batcher(Generic[W]):
    """Queue and batching decision of one engine.

    Args:
        max_batch_size: Largest batch for images that name no `batch_size` of their own.
        batch_timeout_s: How long the oldest image may wait for company, in seconds.
        max_queue_size: How many images may wait.
        overflow: What happens to one more.
    """

    def __init__(
        self,
        max_batch_size: int,
        batch_timeout_s: float = 0.0,
        max_queue_size: int = 1024,
        overflow: Overflow = "block",
    ) -> None:
        self.max_batch_size = max_batch_size
        self.batch_timeout_s = batch_timeout_s
        self.max_queue_size = max_queue_size
        self.overflow: Overflow = overflow
        self.num_offered = 0
        self._queued: OrderedDict[int, W] = OrderedDict()
        self._buckets: dict[BatchKey, OrderedDict[int, W]] = {}
        self._blocked: OrderedDict[int, W] = OrderedDict()
        self._memory_limits: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """Number of images that wait in the queue, blocked ones not counted."""
        return len(self._queued)

    @property
    def num_blocked(self) -> int:
        """Number of images that wait for a place in the queue."""
        return len(self._blocked)

    @property
    def is_full(self) -> bool:
        """Whether one more image would overflow."""
        return len(self._queued) >= self.max_queue_size

    def offer(self, item: W, now: float) -> Offer[W]:
        """Take an image in, as far as there is space (rule 5)."""
        item.queued_at = now
        item.sequence = self.num_offered
        self.num_offered += 1
        if len(self._queued) < self.max_queue_size:
            self._enqueue(item)
            return _ACCEPTED  # type: ignore[return-value]  # holds no item, fits every W
        if self.overflow == "reject":
            return _REJECTED  # type: ignore[return-value]
        if self.overflow == "drop_oldest":
            oldest = next(iter(self._queued.values()))
            offer = Offer(accepted=True, dropped=oldest)
            self._enqueue(item)
            self._remove(oldest)
            return offer
        self._blocked[item.sequence] = item
        return _BLOCKED  # type: ignore[return-value]

    def discard(self, item: W) -> bool:
        """Take a waiting or blocked image out. False if it was in neither place."""
        if self._blocked.pop(item.sequence, None) is not None:
            return True
        if item.sequence not in self._queued:
            return False
        self._remove(item)
        self._promote()
        return True

    def everything(self) -> list[W]:
        """Every waiting and blocked image, oldest first."""
        return [*self._queued.values(), *self._blocked.values()]

    def next_batch(self, now: float, num_idle: int = 1, *, flush: bool = False) -> list[W]:
        """Take out the images of the next batch, oldest first; empty if none is ready.

        Args:
            now: The current time, on the clock that was given to `offer`.
            num_idle: Workers that could start a batch now, the one that asks included.
            flush: Whether to wait for nobody, because nobody else will come.
        """
        key = self._ready_key(now, flush)
        if key is None:
            return []
        bucket = self._buckets[key]
        size = min(self.limit(key), len(bucket))
        if num_idle > 1 and self.batch_timeout_s <= 0:
            size = min(size, self._even_share(key, len(bucket), num_idle))
        # A garbage collection may run at any of these lines and end a forgotten series on this very
        # thread, which discards its images: one that is gone meanwhile is nobody's to take.
        items = []
        for item in list(islice(bucket.values(), size)):
            if self._queued.pop(item.sequence, None) is not None:
                bucket.pop(item.sequence, None)
                items.append(item)
        if not bucket:
            self._buckets.pop(key, None)
        if self._blocked:
            self._promote()
        return items

    def ready_at(self) -> float | None:
        """When the oldest image's patience ends: the time to ask again. None if none waits."""
        if not self._queued:
            return None
        return next(iter(self._queued.values())).queued_at + self.batch_timeout_s

    def limit(self, key: BatchKey) -> int:
        """Largest batch that may be formed of images with this key (rule 3)."""
        size = key.batch_size if key.batch_size is not None else self.max_batch_size
        return min(size, self._memory_limits.get(key.shape, size))

    def remember_memory_limit(self, key: BatchKey, size: int) -> None:
        """Form no batch larger than `size` of this shape from now on."""
        known = self._memory_limits.get(key.shape, size)
        self._memory_limits[key.shape] = max(1, min(known, size))

    def forget_memory_limits(self) -> None:
        """Try full batches again, as after a change of the batch size."""
        self._memory_limits.clear()

    def _even_share(self, key: BatchKey, num_waiting: int, num_idle: int) -> int:
        """How many of those that wait are left for one of several idle workers (rule 4)."""
        num_batches = num_idle
        if key.batch_size is not None:
            num_batches = min(num_idle, -(-num_waiting // self.limit(key)))
        return -(-num_waiting // num_batches)

    def _ready_key(self, now: float, flush: bool) -> BatchKey | None:
        if not self._queued:
            return None
        oldest = next(iter(self._queued.values()))
        # The sum is compared, not the difference: it is what `ready_at` told the caller to wait
        # for, and the two may differ in the last bit.
        if flush or self.batch_timeout_s <= 0 or now >= oldest.queued_at + self.batch_timeout_s:
            return oldest.key
        return next(
            (k for k, bucket in self._buckets.items() if len(bucket) >= self.limit(k)), None
        )

    def _enqueue(self, item: W) -> None:
        bucket = self._buckets.get(item.key)
        if bucket is None:
            bucket = self._buckets[item.key] = OrderedDict()
        self._queued[item.sequence] = item
        bucket[item.sequence] = item

    def _remove(self, item: W) -> None:
        bucket = self._buckets[item.key]
        del self._queued[item.sequence]
        if item.sequence in bucket:
            del bucket[item.sequence]
        if not bucket and item.key in self._buckets:
            del self._buckets[item.key]

    def _promote(self) -> None:
        while self._blocked and len(self._queued) < self.max_queue_size:
            item = next(iter(self._blocked.values()))
            self._enqueue(item)
            del self._blocked[item.sequence]
