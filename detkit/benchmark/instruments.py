"""`Instruments`: the clocks, the sleep and the memory gauge that a benchmark reads.

The only file of this folder that touches the real time of the machine; everything else is handed
an `Instruments` and can therefore be run on simulated time. Knows no detector and no scenario.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_KIB = 1024


class MemoryGauge(Protocol):
    """Reads how much memory this process holds."""

    def reset(self) -> None:
        """Forget the peak so far, where the system allows it."""

    def peak_bytes(self) -> int | None:
        """Largest resident size since `reset`, in bytes; None where it cannot be known."""


class ProcessMemory:
    """Resident memory of this process, by what the operating system counts."""

    def reset(self) -> None:
        """Forget the peak so far; possible on Linux only, elsewhere the peak only grows."""
        try:
            # proc(5): writing 5 resets the peak resident size ("VmHWM") of the process.
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return

    def peak_bytes(self) -> int | None:
        """Largest resident size since `reset`, in bytes; None where it cannot be known."""
        try:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * _KIB
        except (OSError, ValueError):
            return _peak_since_start()
        return _peak_since_start()


def _peak_since_start() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # getrusage(2): kilobytes on Linux, bytes on macOS.
    return int(peak) if sys.platform == "darwin" else int(peak) * _KIB


@dataclass(frozen=True, slots=True)
class Instruments:
    """What a benchmark measures with.

    Attributes:
        clock: Seconds since any fixed moment, never going back.
        cpu_clock: Core-seconds that this process has used, all threads together.
        sleep: Waits for a number of seconds.
        memory: Tells the peak of the resident memory.
        collect: Collects garbage, before each round and outside its time, so that nobody pays
            for what another left behind.
    """

    clock: Callable[[], float] = time.perf_counter
    cpu_clock: Callable[[], float] = time.process_time
    sleep: Callable[[float], None] = time.sleep
    memory: MemoryGauge = field(default_factory=ProcessMemory)
    collect: Callable[[], object] = gc.collect

    def sleep_until(self, moment: float) -> None:
        """Wait until `clock` shows `moment`, in seconds; returns at once if it is past."""
        while (left := moment - self.clock()) > 0:
            self.sleep(left)
