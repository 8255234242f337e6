"""The CPU threads of the process, and how calls of one network share them.

Decides numbers; starts no thread and imports no library. Time is an argument of what decides.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# A call counts as one of several if others overlapped it or did so this short while ago: between
# two images of a batch a worker is outside the network for some milliseconds.
CROWD_MEMORY_S = 0.1
_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores that this process may use: affinity, and in a container its quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _quota_cores()
    return cores if quota is None else max(1, min(cores, quota))


def _quota_cores() -> int | None:
    """Cores that control groups grant, rounded up; None without a limit."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # version 2
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return None if quota == "max" else math.ceil(int(quota) / int(period))
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # version 1
        micros = int((_CGROUP / "cpu/cpu.cfs_quota_us").read_text())
        period_us = int((_CGROUP / "cpu/cpu.cfs_period_us").read_text())
        return None if micros < 0 else math.ceil(micros / period_us)
    return None


class ThreadLayout(NamedTuple):
    """So many calls at once, and the threads of all of them together."""

    num_calls: int
    num_threads: int

    @property
    def threads_per_call(self) -> int:
        """Threads that each call has for itself."""
        return max(1, self.num_threads // self.num_calls)


def divide_threads(num_threads: int, num_workers: int) -> ThreadLayout:
    """The layout for so many workers: no call gets less than one thread.

    Example:
        >>> divide_threads(8, 3).threads_per_call
        2
        >>> divide_threads(2, 4)
        ThreadLayout(num_calls=2, num_threads=2)
    """
    return ThreadLayout(min(num_workers, num_threads), num_threads)


class ThreadPlan:
    """Which layout a call of a network takes; one object for all copies of it. Thread-safe.

    A lone call takes all threads, and calls that overlap divide them. So neither a lone caller nor
    a full pool pays for the other: YOLOv8n at 384x640 in bfloat16 on two cores with AMX gave 151
    images/s in one call on both cores, 196 in two calls on a core each, and 95 in one call that
    kept to one core.

    Args:
        num_threads: CPU threads of all calls together. None: as many as cores are usable.
    """

    def __init__(self, num_threads: int | None = None) -> None:
        self._lock = threading.Lock()
        self._num_threads = num_threads or usable_cores()
        self._num_workers = 1
        self._num_inside = 0
        self._crowded_at = -math.inf

    def share(self, num_threads: int, num_workers: int) -> None:
        """From the next call on, keep to these numbers.

        One worker never overlaps itself, so the word of an engine with one does not take from
        another engine on the same network what that one shares.
        """
        with self._lock:
            self._num_threads = num_threads
            if num_workers > 1:
                self._num_workers = num_workers

    @contextlib.contextmanager
    def call(self) -> Iterator[ThreadLayout]:
        """Hold this round a call of the network; gives the layout for it."""
        layout = self.enter(time.monotonic())
        try:
            yield layout
        finally:
            self.leave(time.monotonic())

    def enter(self, now: float) -> ThreadLayout:
        """A call begins."""
        with self._lock:
            self._num_inside += 1
            if self._num_inside > 1:
                self._crowded_at = now
            if now - self._crowded_at <= CROWD_MEMORY_S:
                return divide_threads(self._num_threads, self._num_workers)
            return ThreadLayout(1, self._num_threads)

    def leave(self, now: float) -> None:
        """A call ends."""
        with self._lock:
            if self._num_inside > 1:
                self._crowded_at = now
            self._num_inside -= 1

    def layouts(self) -> set[ThreadLayout]:
        """Those that calls may take from now on."""
        with self._lock:
            together = divide_threads(self._num_threads, self._num_workers)
            return {ThreadLayout(1, self._num_threads), together}
