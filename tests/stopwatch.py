"""A stopwatch for bounds on what detkit does, on machines that others use as well.

It measures wall time, less the time in which the thread that made it stood in line for a CPU, as
the kernel counts it. On a machine with a free CPU that is nothing. Time spent blocked, asleep,
waiting for a lock or computing is counted in full. Where the kernel does not tell, it is a plain
stopwatch.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path


class Stopwatch:
    """Runs from its making.

    Args:
        process: Id of another process that is on the way as well. Its main thread's time in line
            is subtracted too.
    """

    def __init__(self, process: int | None = None) -> None:
        self._threads = [f"/proc/{os.getpid()}/task/{threading.get_native_id()}/schedstat"]
        if process is not None:
            self._threads.append(f"/proc/{process}/task/{process}/schedstat")
        self._waited_s = sum(map(_waited_s, self._threads))
        self._started = time.perf_counter()

    @property
    def wall_s(self) -> float:
        """Plain seconds."""
        return time.perf_counter() - self._started

    @property
    def elapsed_s(self) -> float:
        """Seconds, less those in line for a CPU."""
        return self.wall_s - (sum(map(_waited_s, self._threads)) - self._waited_s)


def _waited_s(thread: str) -> float:
    """How long a thread has stood in line for a CPU since its beginning."""
    with contextlib.suppress(OSError):  # not Linux, or the thread has ended
        return int(Path(thread).read_text().split()[1]) / 1e9
    return 0.0
