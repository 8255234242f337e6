"""The worker threads of one engine: born on demand, replaced when they die or hang, retired.

Owns the threads and their number; which object each of them calls is for the `Supply` to say.
What a worker works on comes from its `Host`, with which the pool shares one lock. Knows no queue,
no future and no event loop.

Methods whose name ends in `_locked` are called with the lock held.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from detkit.api.circuit import Circuit
from detkit.api.replica import DetectorFacts
from detkit.api.slot import Host, Slot
from detkit.api.supply import Supply
from detkit.api.thread_owner import own_this_thread, pool_of_this_thread
from detkit.api.waiting import wait_for
from detkit.api.watchdog import Watchdog
from detkit.api.workers import enter_window, replica_died, run_isolated
from detkit.threads import Thread

logger = logging.getLogger("detkit")


class WorkerPool:
    """At most `max_workers` threads around one detector.

    Args:
        host: Where work comes from and goes to.
        lock: The engine's lock.
        detector: What the workers call, each as `Supply` says.
        max_workers: How many threads there may be.
        hang_timeout_s: After this long inside one call a worker counts as hung. None: never.
    """

    def __init__(
        self,
        host: Host,
        lock: threading.RLock,
        detector: DetectorFacts,
        max_workers: int,
        hang_timeout_s: float | None,
    ) -> None:
        self._host = host
        self._lock = lock
        self._work = threading.Condition(lock)
        self._supply = Supply(detector, lock)
        self._circuit = Circuit()
        self._watchdog = Watchdog(self, lock, hang_timeout_s) if hang_timeout_s else None
        self.max_workers = max_workers
        self._max_replicas = sys.maxsize
        self._slots: list[Slot] = []
        self._threads: set[threading.Thread] = set()
        self._num_born = 0
        self._num_idle = 0

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
        return self._circuit.was_opened and self._circuit.is_open(time.monotonic())

    @property
    def num_deaths(self) -> int:
        """Workers that died or hung."""
        return self._circuit.num_deaths

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

    def replace_locked(self, detector: DetectorFacts) -> None:
        """Workers to come call this detector; those there are end after their batch."""
        self._supply.replace_locked(detector)
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
                threads = self._threads_locked()
            if not threads:
                return True
            for thread in threads:
                left_s = None if deadline is None else deadline - time.monotonic()
                if not wait_for(partial(self._has_left, thread), left_s):
                    return False

    def _threads_locked(self) -> set[threading.Thread]:
        watching = None if self._watchdog is None else self._watchdog.thread
        return {t for t in (*self._threads, watching) if t is not None}

    def _has_left(self, thread: threading.Thread, timeout_s: float) -> bool:
        """Wait for one thread; whether it has ended, or was given up meanwhile."""
        thread.join(timeout_s)
        with self._lock:
            if not thread.is_alive():
                self._threads.discard(thread)
            return thread not in self._threads_locked()

    # -- the life of a worker -----------------------------------------------------------------

    def _num_starting(self) -> int:
        return sum(slot.is_starting for slot in self._slots)

    def _give_birth_locked(self) -> None:
        """Start one more worker.

        An interrupt may come at any moment of this, after the thread has begun or before it. So
        a worker counts only when it has, and is entered by whichever of the two gets there.
        """
        slot = Slot(self._host, self._watchdog, self._num_born)
        thread = Thread(
            target=self._live, args=(slot,), name=f"detkit-worker-{slot.index}", daemon=True
        )
        slot.thread = thread
        self._threads = {t for t in self._threads if t.is_alive()}
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

    def _live(self, slot: Slot) -> None:
        own_this_thread(self)
        try:
            with self._lock:
                self._enter_locked(slot, threading.current_thread())
            ready = self._equip(slot)
            while ready and self._next_batch(slot):
                self._work_on_batch(slot)
        except BaseException as error:  # noqa: BLE001  whatever ends a worker must be told
            self._die(slot, error)
        finally:
            self._retire(slot)
            own_this_thread(None)
            # A traceback that somebody keeps leads back to this frame.
            del self, slot

    def _next_batch(self, slot: Slot) -> bool:
        with self._lock:
            slot.is_starting = False  # not before it asks: until then others leave it its share
            while True:
                surplus = len(self._slots) > min(self.max_workers, self._max_replicas)
                if slot.is_gone or slot.is_outdated or surplus:
                    return False
                slot.items = self._host.take_locked(self._num_idle + self._num_starting() + 1)
                if slot.items:
                    self.wake_locked(self._host.num_waiting_locked())  # what moved up meanwhile
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
        assert slot.replica is not None and slot.detector is not None
        done = run_isolated(slot.replica, slot.items, slot)
        enter_window("posting")
        died = replica_died(done)
        if died:
            self._count_death()
        self._host.settle(slot.index, done, slot.detector.facts)
        slot.items = ()
        del done
        enter_window("done")
        if died:
            self._equip(slot, again=True)

    def _equip(self, slot: Slot, *, again: bool = False) -> bool:
        """Give a worker its replica, or a fresh one. False if there can be no further one."""
        if self._supply.equip(slot, again=again):
            return True
        with self._lock:
            if slot.is_outdated:
                return False  # what could not be copied is no longer wanted
            self._max_replicas = max(1, len(self._slots) - 1)
            is_alone = len(self._slots) == 1
        if is_alone:  # the one detector there is hangs in a worker that was given up
            self._open_circuit()
        return False

    def _retire(self, slot: Slot) -> None:
        self._supply.take_back(slot)
        with self._lock:
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
        with self._lock:
            too_many = self._circuit.count_death(time.monotonic())
        if too_many:
            self._open_circuit()

    def _open_circuit(self) -> None:
        self._circuit.open(time.monotonic())
        self._host.circuit_opened()

    def call_starts_locked(self) -> list[tuple[Slot, float]]:
        """The workers inside the detector, and since when."""
        return [(s, s.call_started) for s in self._slots if s.call_started is not None]

    def abandon_locked(self, slot: Slot) -> None:
        """Give up on a hung call. Where nothing can take its place, the worker stays."""
        slot.call_started = None
        if slot.thread is not None and self._supply.has_more:
            self._bury_locked(slot)
            # Nobody waits for it any more, not even at shutdown.
            self._threads.discard(slot.thread)

    def abandoned(self, items: Sequence[Any], stack: str) -> None:
        """Tell the images of a hung call, and see to a successor."""
        self._count_death()
        self._host.hung(items, stack)
        self._find_successor()
