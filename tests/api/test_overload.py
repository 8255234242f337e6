"""T26: a producer much faster than the detector costs no more memory than the queue may hold."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUEUE, WORKERS, BATCH = 8, 2, 2
FRAME_BYTES = 1080 * 1920 * 3

# In a process of its own: what this one holds would hide what the run needs.
RUN = """
import sys, threading, time
import numpy as np
from detkit import AsyncDetector
from detkit.errors import DroppedError, QueueFullError
from detkit.testing import FakeDetector, numbered_image

overflow, seconds, queue, workers, batch, leaks = sys.argv[1], *map(float, sys.argv[2:])
hw = (1080, 1920)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

kept, turns = [], threading.Semaphore(8)  # one for each image of the warm-up
def behave(images):
    if leaks:
        kept.extend(image.copy() for image in images)
    for _ in images:
        if overflow == "block":  # the producer is faster than this, and has to wait
            time.sleep(0.04)
        else:
            turns.acquire()
    return FakeDetector().detect_batch(images)

highest, is_over = 0, threading.Event()
def sample():
    global highest
    while not is_over.wait(0.05):
        highest = max(highest, resident())

ended = {"ok": 0, "rejected": 0, "dropped": 0, "other": 0}
lock = threading.Lock()
def count(future):
    error = future.exception()
    kind = {type(None): "ok", QueueFullError: "rejected", DroppedError: "dropped"}
    with lock:
        ended[kind.get(type(error), "other")] += 1

detector = AsyncDetector(FakeDetector(behaviour=behave), int(workers), int(batch),
                         max_queue_size=int(queue), overflow=overflow)
detector.detect_batch([numbered_image(n, hw) for n in range(8)])  # all that is made once
base, submitted = resident(), 0
sampler = threading.Thread(target=sample)
sampler.start()
end = time.monotonic() + seconds
while time.monotonic() < end or submitted < 100:
    future = detector.submit(numbered_image(submitted % 2**24, hw))
    future.add_done_callback(count)
    submitted += 1
    del future
    if submitted % 10 == 0:  # ten times as fast as the workers, however busy the machine is
        turns.release()
    if overflow != "block":
        time.sleep(0.002)
turns.release(1000)
detector.shutdown()
is_over.set()
sampler.join()
stats = detector.statistics()
print(dict(ended, grown=highest - base, submitted=submitted, counted=[stats.succeeded,
      stats.rejected, stats.dropped, stats.failed, stats.submitted]))
"""


def overloaded(overflow: str, seconds: float, *, leaks: bool = False) -> dict[str, Any]:
    numbers = (seconds, QUEUE, WORKERS, BATCH, int(leaks))
    done = subprocess.run(
        [sys.executable, "-c", RUN, overflow, *map(str, numbers)],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = ast.literal_eval(done.stdout)
    return found


def bound_bytes() -> float:
    return 1.5 * (QUEUE + WORKERS * BATCH) * FRAME_BYTES


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc"
)


@needs_proc
@pytest.mark.watchdog(150)
@pytest.mark.parametrize("overflow", ["block", "reject", "drop_oldest"])
def test_t26_a_fast_producer_costs_no_more_memory_than_the_queue(
    overflow: str, repetitions: Callable[[int, int], int]
) -> None:
    found = overloaded(overflow, repetitions(3, 60))
    print(f"{overflow}: {found['grown'] / 1e6:.0f} MB of {bound_bytes() / 1e6:.0f}, {found}")
    assert found["grown"] <= bound_bytes()
    total = found["submitted"] + 8  # and those of the warm-up
    turned_away = found["rejected"] + found["dropped"]
    failed = found["dropped"]
    assert found["other"] == 0
    assert found["ok"] + turned_away == found["submitted"]
    assert found["counted"] == [found["ok"] + 8, found["rejected"], found["dropped"], failed, total]
    assert (turned_away > found["ok"]) == (overflow != "block"), "it was no overload"


@needs_proc
@pytest.mark.watchdog(150)
def test_t26_the_check_finds_a_detector_that_keeps_its_images() -> None:
    assert overloaded("block", 3, leaks=True)["grown"] > bound_bytes()
