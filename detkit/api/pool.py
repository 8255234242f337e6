"""The worker threads of one engine: born on demand, replaced when they die or hang, retired.

Owns threads, replicas and the count of both. What a worker works on comes from its `Host`, the
engine, with which the pool shares one lock. Knows no queue, no future and no event loop.

Methods whose name ends in `_locked` are called with the lock held.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from detkit.api.replica import Replica
from detkit.api.waiting import wait_for
from detkit.api.watchdog import Watchdog
from detkit.api.workers import Done, enter_window, replica_died, run_isolated
from detkit.detection.abstract import AbstractDetector
from detkit.errors import describe
from detkit.images import RGBImage

logger = logging.getLogger("detkit")

# This many deaths within this time open the circuit: a detector that keeps dying would otherwise
# burn through a whole night's images.
MAX_DEATHS = 3
DEATH_WINDOW_S = 60.0
# How long new work is refused then, before one more try.
CIRCUIT_COOLDOWN_S = 30.0

_here = threading.local()


def pool_of_this_thread() -> WorkerPool | None:
    """The pool whose worker the calling thread is."""
    return getattr(_here, "pool", None)


def _has_ended(thread: threading.Thread, timeout_s: float) -> bool:
    thread.join(timeout_s)
    return not thread.is_alive()


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

    def settle(self, worker: int, done: Sequence[Done]) -> None:
        """These images have an outcome."""

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

    def __init__(self, host: Host, pool: WorkerPool, index: int) -> None:
        self.index = index
        self.thread: threading.Thread | None = None
        self.replica: Replica | None = None
        self.items: Sequence[Any] = ()
        self.call_started: float | None = None
        self.is_starting = True
        self.is_gone = False
        self.is_outdated = False
        self.owns_replica = False
        self._host = host
        self._pool = pool

    def begin(self, items: Sequence[Any]) -> list[tuple[Any, RGBImage]]:
        """Implements `BatchGuard`."""
        enter_window("assembling")
        wanted = self._host.begin(items)
        if wanted:
            enter_window("calling")
            self._pool.call_began(self)
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
        except Exception as error:  # noqa: BLE001  the worker has to end all the same
            logger.warning("worker %d could not close its replica: %s", self.index, describe(error))

    def out_of_memory(self, key: Any, limit: int) -> None:
        """Implements `BatchGuard`."""
        self._host.out_of_memory(key, limit)


class WorkerPool:
    """At most `max_workers` threads around one detector.

    Args:
        host: Where work comes from and goes to.
        lock: The engine's lock.
        detector: The first worker calls it itself; each further one calls a `replicate()` of it,
            or the same object where it is `thread_safe`. Where neither is possible there is one
            worker.
        max_workers: How many threads there may be.
        hang_timeout_s: After this long inside one call a worker counts as hung. None: never.
    """

    def __init__(
        self,
        host: Host,
        lock: threading.RLock,
        detector: Any,
        max_workers: int,
        hang_timeout_s: float | None,
    ) -> None:
        self._host = host
        self._lock = lock
        self._work = threading.Condition(lock)
        self._detector = detector
        self._watchdog = Watchdog(self, lock, hang_timeout_s) if hang_timeout_s else None
        self._can_replicate = _can_replicate(detector)
        self.max_workers = max_workers
        self._max_replicas = sys.maxsize
        self._original_taken = False
        self._replicating = threading.Lock()
        self._slots: list[Slot] = []
        self._threads: set[threading.Thread] = set()
        self._num_born = 0
        self._num_idle = 0
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)
        self.num_deaths = 0
        self._refuse_until = 0.0

    # -- asked by the engine ------------------------------------------------------------------

    @property
    def num_workers(self) -> int:
        """Workers alive."""
        return len(self._slots)

    @property
    def num_busy(self) -> int:
        """Workers inside a batch."""
        return sum(bool(slot.items) for slot in self._slots)

    @property
    def is_circuit_open(self) -> bool:
        """Whether new work is refused because workers keep dying."""
        return self._refuse_until > 0.0 and time.monotonic() < self._refuse_until

    def wake_locked(self, num_waiting: int) -> None:
        """There is work: wake idle workers, and give birth to more while they do not suffice."""
        if self._num_idle:
            self._work.notify(min(num_waiting, self._num_idle))
        target = min(self.max_workers, self._max_replicas)
        while len(self._slots) < target and num_waiting > self._num_idle + self._num_starting():
            self._give_birth_locked()

    def wake_all_locked(self) -> None:
        """Something else changed: let every worker look."""
        self._work.notify_all()
        if self._watchdog is not None:
            self._watchdog.look_locked()

    def replace_locked(self, detector: Any) -> None:
        """Workers to come call this detector; those there are end after their batch."""
        self._detector = detector
        self._can_replicate = _can_replicate(detector)
        self._original_taken = False
        self._max_replicas = sys.maxsize
        for slot in self._slots:
            slot.is_outdated = True
        self.wake_all_locked()

    def disown(self, lock: threading.RLock) -> None:
        """See `Engine.disown`."""
        self._lock = lock
        self._work = threading.Condition(lock)
        self._watchdog = None

    def join(self, deadline: float | None) -> bool:
        """Wait for every worker; False if some are alive at `deadline`.

        A worker that calls this, from a callback say, does not wait: two that wait for each other
        would do so for ever.
        """
        if pool_of_this_thread() is self:
            return True
        while True:
            with self._lock:
                self._forget_ended_locked()
                threads = set(self._threads)
                if self._watchdog is not None and self._watchdog.thread is not None:
                    threads.add(self._watchdog.thread)
            if not threads:
                return True
            for thread in threads:
                left_s = None if deadline is None else deadline - time.monotonic()
                if not wait_for(partial(_has_ended, thread), left_s):
                    return False

    # -- the life of a worker -----------------------------------------------------------------

    def _num_starting(self) -> int:
        return sum(slot.is_starting for slot in self._slots)

    def _give_birth_locked(self) -> None:
        """Start one more worker.

        An interrupt may come at any moment of this, after the thread has begun or before it. So
        a worker counts only when it has, and is entered by whichever of the two gets there.
        """
        slot = Slot(self._host, self, self._num_born)
        thread = threading.Thread(
            target=self._live, args=(slot,), name=f"detkit-worker-{slot.index}", daemon=True
        )
        slot.thread = thread
        self._forget_ended_locked()
        self._num_born += 1
        try:
            thread.start()
        except RuntimeError as error:
            self._max_replicas = max(1, len(self._slots))
            if not self._slots:
                raise
            logger.warning("no more worker threads: %s", error)
        else:
            self._enter_locked(slot, thread)

    def _enter_locked(self, slot: Slot, thread: threading.Thread) -> None:
        if slot not in self._slots:
            self._slots.append(slot)
        self._threads.add(thread)

    def _forget_ended_locked(self) -> None:
        self._threads = {t for t in self._threads if t.is_alive()}

    def _live(self, slot: Slot) -> None:
        self.own_this_thread()
        try:
            with self._lock:
                self._enter_locked(slot, threading.current_thread())
            try:
                ready = self._equip(slot)
            finally:
                slot.is_starting = False
            while ready and self._next_batch(slot):
                self._work_on_batch(slot)
        except BaseException as error:  # noqa: BLE001  whatever ends a worker must be told
            self._die(slot, error)
        finally:
            self._retire(slot)
            _here.pool = None
            # A traceback that somebody keeps leads back to this frame.
            del self, slot

    def _next_batch(self, slot: Slot) -> bool:
        with self._lock:
            while True:
                surplus = len(self._slots) > min(self.max_workers, self._max_replicas)
                if slot.is_gone or slot.is_outdated or surplus:
                    return False
                slot.items = self._host.take_locked(self._num_idle + self._num_starting() + 1)
                if slot.items:
                    return True
                if self._host.is_finished_locked():
                    self._work.notify_all()
                    return False
                self._num_idle += 1
                try:
                    self._work.wait(self._host.patience_locked())
                finally:
                    self._num_idle -= 1

    def _work_on_batch(self, slot: Slot) -> None:
        enter_window("dequeued")
        assert slot.replica is not None
        done = run_isolated(slot.replica, slot.items, slot)
        enter_window("posting")
        died = replica_died(done)
        if died:
            self._count_death()
        self._host.settle(slot.index, done)
        slot.items = ()
        del done
        enter_window("done")
        if died:
            self._equip(slot, again=True)

    def _equip(self, slot: Slot, *, again: bool = False) -> bool:
        """Give a worker its replica, or a fresh one. False if there can be no further one."""
        with self._lock:
            detector = self._detector
            takes_original = not (again or self._original_taken or slot.is_outdated)
            self._original_taken = self._original_taken or takes_original
        if takes_original or getattr(detector, "thread_safe", False):
            slot.replica = Replica(detector)
            return True
        copy = self._replicate(slot)
        if copy is not None:
            slot.release_replica()
            slot.replica, slot.owns_replica = Replica(copy), True
            return True
        if again:
            return True  # the same one once more: there is no other
        with self._lock:
            if slot.is_outdated:
                return False  # what could not be copied is no longer wanted
            self._max_replicas = max(1, len(self._slots) - 1)
            is_alone = len(self._slots) == 1
        if is_alone:  # the one detector there is hangs in a worker that was given up
            self._open_circuit()
        return False

    def _replicate(self, slot: Slot) -> Any:
        if not self._can_replicate:
            return None
        with self._replicating:  # several libraries fail when two models are built at once
            try:
                return self._detector.replicate()
            except Exception as error:  # noqa: BLE001  the workers there are go on
                logger.warning("worker %d has no replica: %s", slot.index, describe(error))
                return None

    def _retire(self, slot: Slot) -> None:
        has_original = slot.replica is not None and not slot.owns_replica
        slot.release_replica()
        with self._lock:
            if has_original and not slot.is_outdated:
                self._original_taken = False
            self._bury_locked(slot)
            self.wake_all_locked()
        self._find_successor()

    def _find_successor(self) -> None:
        """A worker is gone: another one for what waits, or an end to the waiting."""
        try:
            with self._lock:
                self.wake_locked(self._host.num_waiting_locked())
        except RuntimeError as error:  # the system gives no further thread, and there is none
            logger.warning("no worker thread: %s", error)
            self._open_circuit()

    def _bury_locked(self, slot: Slot) -> None:
        if not slot.is_gone:
            slot.is_gone = True
            self._slots.remove(slot)

    # -- death and hanging --------------------------------------------------------------------

    def _die(self, slot: Slot, error: BaseException) -> None:
        """The thread itself ends: its images are told; `_retire` sees to a successor."""
        items, slot.items = slot.items, ()
        if slot.is_gone:
            return
        self._count_death()
        self._host.lost(items, error)

    def _count_death(self) -> None:
        """Before anybody is told: who hears of it finds it counted, and the circuit as it is."""
        now = time.monotonic()
        with self._lock:
            self.num_deaths += 1
            self._deaths.append(now)
            too_many = len(self._deaths) == MAX_DEATHS and now - self._deaths[0] <= DEATH_WINDOW_S
        if too_many:
            self._open_circuit()

    def _open_circuit(self) -> None:
        self._refuse_until = time.monotonic() + CIRCUIT_COOLDOWN_S
        self._host.circuit_opened()

    def call_began(self, slot: Slot) -> None:
        """A worker enters the detector; watch it where a bound was set."""
        slot.call_started = time.monotonic()
        if self._watchdog is not None:
            self._watchdog.call_began()

    def call_starts_locked(self) -> list[tuple[Slot, float]]:
        """The workers inside the detector, and since when."""
        return [(s, s.call_started) for s in self._slots if s.call_started is not None]

    def abandon_locked(self, slot: Slot) -> None:
        """Give up on a hung call. Where nothing can take its place, the worker stays."""
        slot.call_started = None
        if slot.thread is not None and (
            self._can_replicate or getattr(self._detector, "thread_safe", False)
        ):
            self._bury_locked(slot)
            # Nobody waits for it any more, not even at shutdown.
            self._threads.discard(slot.thread)

    def own_this_thread(self) -> None:
        """Whoever waits for the pool on this thread would wait for ever."""
        _here.pool = self

    def abandoned(self, items: Sequence[Any], stack: str) -> None:
        """Tell the images of a hung call, and see to a successor."""
        self._count_death()
        self._host.hung(items, stack)
        self._find_successor()


def _can_replicate(detector: Any) -> bool:
    inherited = (None, AbstractDetector.replicate)
    return getattr(type(detector), "replicate", None) not in inherited
