"""What an engine counted: one frozen snapshot type, and the recorder that fills it.

Knows no thread and no clock: the engine calls the recorder under its lock and gives the time.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass

# Latency percentiles are taken over this many of the latest images.
_LATENCY_WINDOW = 4096
# Throughput is the mean over this many of the latest seconds.
_THROUGHPUT_WINDOW_S = 10.0


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """A snapshot of one engine.

    Every submitted image is in exactly one place:
    `submitted == succeeded + failed + cancelled + rejected + waiting + running`, where failed
    includes timed out and dropped ones and `waiting == queue_depth + blocked`.

    Attributes:
        submitted: Valid images handed in since the start.
        succeeded: Images with a result.
        failed: Images that ended with an error.
        cancelled: Images whose caller gave up, or that a shutdown swept away.
        rejected: Images refused because the queue was full.
        dropped: Images that a newer one replaced; part of `failed`.
        timed_out: Images whose `timeout_s` passed; part of `failed`.
        queue_depth: Images that wait now.
        blocked: Images that wait for a place in the queue now.
        running: Images inside the detector now.
        workers: Worker threads alive now.
        busy_workers: Workers that are detecting now.
        batches: Calls of the detector.
        batch_size_histogram: Number of calls for each batch size.
        latency_p50_s: Median time from submission to result of the latest images, in seconds;
            NaN before the first. The same for p95 and p99.
        throughput_per_s: Images finished per second over the latest ten seconds.
        out_of_memory: How often a batch had to be made smaller.
        worker_deaths: Workers that died or hung and were replaced.
        undeliverable: Results whose event loop was gone when they were ready.
        circuit_open: Whether new work is refused because workers keep dying.
    """

    submitted: int
    succeeded: int
    failed: int
    cancelled: int
    rejected: int
    dropped: int
    timed_out: int
    queue_depth: int
    blocked: int
    running: int
    workers: int
    busy_workers: int
    batches: int
    batch_size_histogram: dict[int, int]
    latency_p50_s: float
    latency_p95_s: float
    latency_p99_s: float
    throughput_per_s: float
    out_of_memory: int
    worker_deaths: int
    undeliverable: int
    circuit_open: bool


class Recorder:
    """Counters behind `EngineStatistics`. Not thread-safe: the engine's lock is."""

    def __init__(self) -> None:
        self.never_offered = 0
        self.succeeded = 0
        self.failed = 0
        self.cancelled = 0
        self.rejected = 0
        self.dropped = 0
        self.timed_out = 0
        self.out_of_memory = 0
        self.worker_deaths = 0
        self.undeliverable = 0
        self.batches: Counter[int] = Counter()
        self._latencies_s: deque[float] = deque(maxlen=_LATENCY_WINDOW)
        self._finished: deque[tuple[float, int]] = deque()

    def record_results(self, latencies_s: list[float], now: float) -> None:
        """Count images that got a result at `now`."""
        self.succeeded += len(latencies_s)
        self._latencies_s.extend(latencies_s)
        self._finished.append((now, len(latencies_s)))
        self._forget_old(now)

    def throughput_per_s(self, now: float) -> float:
        """Images per second since the oldest batch in the window."""
        self._forget_old(now)
        if len(self._finished) < 2:
            return 0.0
        # The first batch marks the start: its own images were worked on before it.
        elapsed = now - self._finished[0][0]
        count = sum(n for _, n in self._finished) - self._finished[0][1]
        return count / elapsed if elapsed > 0 else 0.0

    def percentiles_s(self, *ranks: float) -> list[float]:
        """Nearest-rank percentiles of the latest latencies, in seconds; NaN if there are none."""
        if not self._latencies_s:
            return [math.nan] * len(ranks)
        ordered = sorted(self._latencies_s)
        return [ordered[max(0, math.ceil(rank * len(ordered)) - 1)] for rank in ranks]

    def snapshot(
        self,
        now: float,
        *,
        offered: int,
        queue_depth: int,
        blocked: int,
        workers: int,
        busy_workers: int,
        worker_deaths: int,
        circuit_open: bool,
    ) -> EngineStatistics:
        """What was counted, together with what the queue and the workers say of this moment."""
        submitted = offered + self.never_offered
        ended = self.succeeded + self.failed + self.cancelled + self.rejected
        p50, p95, p99 = self.percentiles_s(0.5, 0.95, 0.99)
        return EngineStatistics(
            submitted=submitted,
            succeeded=self.succeeded,
            failed=self.failed,
            cancelled=self.cancelled,
            rejected=self.rejected,
            dropped=self.dropped,
            timed_out=self.timed_out,
            queue_depth=queue_depth,
            blocked=blocked,
            running=submitted - ended - queue_depth - blocked,
            workers=workers,
            busy_workers=busy_workers,
            batches=sum(self.batches.values()),
            batch_size_histogram=dict(sorted(self.batches.items())),
            latency_p50_s=p50,
            latency_p95_s=p95,
            latency_p99_s=p99,
            throughput_per_s=self.throughput_per_s(now),
            out_of_memory=self.out_of_memory,
            worker_deaths=worker_deaths,
            undeliverable=self.undeliverable,
            circuit_open=circuit_open,
        )

    def _forget_old(self, now: float) -> None:
        while self._finished and now - self._finished[0][0] > _THROUGHPUT_WINDOW_S:
            self._finished.popleft()
